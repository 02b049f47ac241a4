"""What a conversion is asked to do, and what it says of itself."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlpf_stream.columns import DETECTORS, Mode, Role
from mlpf_stream.convert.settings import Settings, digest_of
from mlpf_stream.errors import ConfigError
from mlpf_stream.manifest import Manifest

TITLE = "particle-flow dataset"
LICENCE = "see the licence of the source files"


@dataclass(frozen=True, slots=True)
class Card:
    """What a dataset says of itself in words; None and nothing: as before, else a default."""

    title: str | None = None
    licence: str | None = None
    creators: tuple[str, ...] = ()
    sources_doi: tuple[str, ...] = ()

    def applied(self, manifest: Manifest) -> Manifest:
        """Return a manifest that says so; names and DOIs are added to those that it has."""
        return manifest.model_copy(
            update={
                "title": self.title or manifest.title or TITLE,
                "licence": self.licence or manifest.licence or LICENCE,
                "creators": tuple(dict.fromkeys((*manifest.creators, *self.creators))),
                "sources_doi": tuple(dict.fromkeys((*manifest.sources_doi, *self.sources_doi))),
            }
        )


@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """One conversion, as the command line asks for it.

    `role` holds for all processes that `roles` does not name; `ray` is the address of a cluster, or
    `local` for one of its own, and None for processes of this machine.
    """

    sources: Sequence[str]
    out: str
    mode: Mode = "clusters"
    detector: str = "clic"
    process: str | None = None
    role: Role | None = None
    roles: Mapping[str, Role] = dataclasses.field(default_factory=dict)
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    field: float | None = None
    tracker_hits: bool = False
    workers: int | None = None
    ray: str | None = None
    card: Card = Card()
    max_skipped: float = 0.05
    max_bad_files: int = 0
    overwrite: bool = False
    append: bool = False

    @property
    def settings(self) -> Settings:
        """What decides how events are read and stored."""
        return Settings(
            mode=self.mode,
            detector=self.detector,
            field=self.field,
            tracker_hits=self.tracker_hits,
        )

    def identity(self, files: Sequence[tuple[str, str]]) -> str:
        """Return the digest of this request for files of these names and identities."""
        words = (
            f"{self.process} {self.role} {sorted(self.roles.items())} "
            f"{sorted(self.weights.items())} {self.card}"
        )
        # The same request to another release of this software is the same request.
        settings = self.settings.model_copy(update={"software": ""})
        return digest_of(settings, words, *(f"{name} {file_id}" for name, file_id in files))

    def check(self) -> None:
        """Refuse settings that mean nothing, before any work.

        Raises:
            ConfigError: names the option.
        """
        if self.detector not in DETECTORS:
            known = ", ".join(DETECTORS)
            raise ConfigError(f"expected --detector of {known}, found {self.detector!r}")
        if self.field is not None and (not math.isfinite(self.field) or self.field == 0):
            raise ConfigError(f"expected --field in tesla, not zero, found {self.field}")
        if self.tracker_hits and self.mode != "hits":
            raise ConfigError(f"expected --mode hits with --tracker-hits, found {self.mode!r}")
        if not 0 <= self.max_skipped <= 1:
            raise ConfigError(f"expected --max-skipped from 0 to 1, found {self.max_skipped}")
        if self.max_bad_files < 0:
            raise ConfigError(f"expected --max-bad-files of 0 or more, found {self.max_bad_files}")
        if self.append and self.overwrite:
            raise ConfigError("expected --append or --overwrite, found both; give one of them")
        for name, weight in self.weights.items():
            if not math.isfinite(weight) or weight < 0:
                raise ConfigError(f"expected --weight {name}=W with W >= 0, found {weight}")


@dataclass(frozen=True, slots=True)
class ConvertSummary:
    """What a conversion made.

    `converted` events were converted by this call; those of `resumed` groups were there from a
    call that did not end. `known` files were in the dataset already. Without work, `note` says why.
    """

    manifest: Manifest
    url: str
    seconds: float
    converted: int = 0
    resumed: int = 0
    known: int = 0
    note: str = ""

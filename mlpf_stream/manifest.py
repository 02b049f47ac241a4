"""The dataset manifest: what a dataset holds. Written last: its presence means completeness.

`convert` writes it, everyone else reads it. Pure data: reading and writing bytes is `storage`.
"""

import hashlib
import json
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlpf_stream.columns import CLASSES, DATASET_FORMAT, SCHEMA_VERSION, Mode, Role, Split
from mlpf_stream.errors import SchemaError

MANIFEST_NAME: Final = "manifest.json"
VERSIONS_FOLDER: Final = "manifests"
"""Every version of the manifest, by number; `manifest.json` is the newest."""
HISTOGRAM_BIN: Final = 16
"""Width of a bin of the length histograms, in elements."""


class Entry(BaseModel):
    """A part of the manifest: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeatureEntry(Entry):
    """One feature with its statistics over split train.

    `log_*` are of log(max(x, 0) + 1e-3) where the network sees the logarithm, else 0.
    """

    name: str
    unit: str
    count: int = Field(ge=0)
    mean: float
    std: float
    min: float
    max: float
    log_mean: float
    log_std: float


class KindEntry(Entry):
    """One element kind: its features in stored order and how often it occurs, over all splits."""

    name: str
    features: tuple[FeatureEntry, ...]
    elements: int = Field(ge=0)
    targets: dict[str, int]
    unlinked: int = Field(0, ge=0)


class ProcessEntry(Entry):
    """One physics process: its role, mixing weight and events."""

    name: str
    role: Role
    weight: float = Field(1.0, ge=0)
    events: int = Field(ge=0)


class ShardEntry(Entry):
    """One shard and its index: sizes, sha256 digests, events, histogram of event lengths."""

    name: str
    bytes: int
    sha256: str
    index_bytes: int
    index_sha256: str
    events: int
    packs: int
    length_histogram: tuple[int, ...]


class SourceEntry(Entry):
    """One source file: where its events came from and what was left out."""

    name: str
    file_id: str
    bytes: int
    process: str
    events: int
    skipped: dict[str, int] = {}
    candidates: Literal["stored", "rule_based"] = "stored"
    generator: dict[str, str | int | float] = {}


class QuarantineEntry(Entry):
    """One source file that was left out as a whole, and why."""

    name: str
    file_id: str
    bytes: int
    reason: str


class TruthEntry(Entry):
    """How the targets came about, in counts over all events."""

    unlinked_tracks: int = 0
    unlinked_clusters: int = 0
    clusters: int = 0
    clusters_shared: int = 0
    clusters_without_target: int = 0
    merged_particles: int = 0
    dropped_particles: int = 0
    dropped_energy: float = Field(0.0, description="GeV")
    dangling_hits: int = 0

    @property
    def shared_fraction(self) -> float:
        """Return the part of the clusters that hold two particles."""
        return self.clusters_shared / max(self.clusters, 1)

    @property
    def untargeted_fraction(self) -> float:
        """Return the part of the clusters that carry no target."""
        return self.clusters_without_target / max(self.clusters, 1)


class Manifest(Entry):
    """Everything a reader must know before it opens a shard."""

    format: str = DATASET_FORMAT
    schema_version: int = SCHEMA_VERSION
    version: int = Field(1, ge=1, description="counts appends")
    title: str
    licence: str
    creators: tuple[str, ...] = ()
    sources_doi: tuple[str, ...] = ()
    detector: str
    mode: Mode
    field: float = Field(description="solenoid field [T]")
    field_source: Literal["option", "file", "detector"]
    kinds: tuple[KindEntry, ...]
    classes: tuple[str, ...] = CLASSES
    processes: tuple[ProcessEntry, ...]
    splits: dict[Split, int]
    events: int
    elements: int
    skipped: dict[str, int]
    truth: TruthEntry
    truth_source: Literal["hits", "clusters", "none"]
    missing_features: tuple[str, ...]
    shards: tuple[ShardEntry, ...]
    files: tuple[SourceEntry, ...]
    quarantined: tuple[QuarantineEntry, ...] = ()
    requests: tuple[str, ...] = Field((), description="digest of the request of each version")

    @property
    def digest(self) -> str:
        """Return 16 hex digits that name this content."""
        tree = self.model_dump(mode="json")
        for name in ("quarantined", "requests"):  # what datasets of the first release lack
            if not tree[name]:
                del tree[name]
        text = json.dumps(tree, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def class_counts(self) -> dict[str, int]:
        """Return the target elements of every class over all splits and kinds."""
        return {
            name: sum(kind.targets.get(name, 0) for kind in self.kinds) for name in self.classes
        }

    def to_json(self) -> str:
        """Return the manifest as it stands on disk."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Self:
        """Read a manifest, refusing other formats and other versions.

        Raises:
            SchemaError: not JSON, of another format or schema version, or with wrong fields.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise SchemaError(f"expected JSON in {where!r}, found none ({error})") from error
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != DATASET_FORMAT:
            msg = f"expected a dataset of format {DATASET_FORMAT!r}, found {found!r} in {where!r}"
            raise SchemaError(msg)
        if raw.get("schema_version") != SCHEMA_VERSION:
            msg = (
                f"expected schema version {SCHEMA_VERSION}, found {raw.get('schema_version')!r} "
                f"in {where!r}; convert the source files again with this version of mlpf"
            )
            raise SchemaError(msg)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            msg = f"manifest {where!r} is not valid: {place}: {first['msg']}"
            raise SchemaError(msg) from error


def version_path(version: int) -> str:
    """Return where version number `version` of the manifest lies below the dataset."""
    return f"{VERSIONS_FOLDER}/{version:06d}.json"


def length_histogram(lengths: list[int]) -> tuple[int, ...]:
    """Count event lengths in bins of `HISTOGRAM_BIN` elements, the last bin being the longest."""
    counts = [0] * (max(lengths, default=0) // HISTOGRAM_BIN + 1)
    for length in lengths:
        counts[length // HISTOGRAM_BIN] += 1
    return tuple(counts)

"""`mlpf convert`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from mlpf_stream.cli.output import Json, emit
from mlpf_stream.columns import Role
from mlpf_stream.errors import ConfigError

if TYPE_CHECKING:
    from mlpf_stream.convert import ConvertSummary


class Mode(StrEnum):
    """Element kinds of a dataset."""

    CLUSTERS = "clusters"
    HITS = "hits"


Sources = Annotated[list[str], typer.Argument(help="ROOT files, globs, folders, or s3:// prefixes")]
Out = Annotated[
    str,
    typer.Option(help="dataset to write: s3:// or a path; on a cluster all must see it"),
]
ModeOption = Annotated[Mode, typer.Option(help="element kinds")]
TrackerHits = Annotated[
    bool, typer.Option("--tracker-hits", help="in mode hits: hits of the tracker too")
]
Detector = Annotated[str, typer.Option(help="clic, cld or ild")]
Process = Annotated[
    str | None,
    typer.Option(
        help="physics process of all files",
        show_default="as written in each file, else NAME of p8_ee_NAME_ecm*",
    ),
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option(
        help="train or ood (never trained on), for all or as NAME=ROLE for one process",
        show_default="ood for WW, ZH and pile-up, else train",
    ),
]
Weight = Annotated[
    list[str] | None,
    typer.Option(help="NAME=W: an event of process NAME is seen W times an epoch"),
]
FieldOption = Annotated[
    float | None,
    typer.Option(
        help="solenoid field [T]", show_default="measured in each file, else the detector's"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="groups at once", show_default="1; with --ray all CPUs"),
]
Ray = Annotated[
    str | None,
    typer.Option(help="work on Ray: local, auto, or HOST:PORT; its nodes must see all files"),
]
Title = Annotated[
    str | None, typer.Option(help="title of the dataset", show_default="particle-flow dataset")
]
Licence = Annotated[
    str | None, typer.Option(help="licence", show_default="that of the source files")
]
Creator = Annotated[list[str] | None, typer.Option(help="who made it; repeatable")]
Doi = Annotated[list[str] | None, typer.Option(help="DOI of the sources; repeatable")]
MaxSkipped = Annotated[float, typer.Option(min=0, max=1, help="largest part of the events to skip")]
MaxBadFiles = Annotated[
    int, typer.Option(min=0, help="most files that may be left out because they are corrupt")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace a dataset, once the new one is whole")
]
Append = Annotated[
    bool, typer.Option("--append", help="add the files that a dataset does not have yet")
]


def convert(
    sources: Sources,
    out: Out,
    mode: ModeOption = Mode.CLUSTERS,
    tracker_hits: TrackerHits = False,
    detector: Detector = "clic",
    process: Process = None,
    role: RoleOption = None,
    weight: Weight = None,
    field: FieldOption = None,
    workers: Workers = None,
    ray: Ray = None,
    title: Title = None,
    licence: Licence = None,
    creator: Creator = None,
    doi: Doi = None,
    max_skipped: MaxSkipped = 0.05,
    max_bad_files: MaxBadFiles = 0,
    overwrite: Overwrite = False,
    append: Append = False,
    as_json: Json = False,
) -> None:
    """Convert EDM4HEP files to a dataset of shards with truth targets.

    Killed and started again, it goes on where it was.
    """
    from mlpf_stream.convert import Card, ConvertRequest
    from mlpf_stream.convert import convert as run

    common, roles = _roles(role or ())
    request = ConvertRequest(
        sources=sources,
        out=out,
        mode=mode.value,
        detector=detector,
        tracker_hits=tracker_hits,
        process=process,
        role=common,
        roles=roles,
        weights=_weights(weight or ()),
        field=field,
        workers=workers,
        ray=ray,
        card=Card(title, licence, tuple(creator or ()), tuple(doi or ())),
        max_skipped=max_skipped,
        max_bad_files=max_bad_files,
        overwrite=overwrite,
        append=append,
    )
    summary = run(request)
    emit(_payload(summary), _in_words(summary), as_json)


def _roles(texts: Sequence[str]) -> tuple[Role | None, dict[str, Role]]:
    """Return the role of all processes, if one was given, and those of single ones."""
    common: Role | None = None
    roles: dict[str, Role] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        role = next((known for known in get_args(Role) if known == value), None)
        if role is None or bool(name) != bool(equals):
            raise ConfigError(f"expected --role train, ood or NAME=ood, found {text!r}")
        if name:
            roles[name] = role
        else:
            common = role
    return common, roles


def _weights(texts: Sequence[str]) -> dict[str, float]:
    """Return the mixing weight of each process that was given one."""
    weights = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"expected --weight NAME=W with a number W, found {text!r}")
    return weights


def _payload(summary: "ConvertSummary") -> dict[str, object]:
    """Return what a program wants to know."""
    manifest = summary.manifest
    return {
        "manifest": f"{summary.url.rstrip('/')}/manifest.json",
        "version": manifest.version,
        "events": manifest.events,
        "shards": len(manifest.shards),
        "elements": manifest.elements,
        "skipped": dict(manifest.skipped),
        "quarantined": [entry.model_dump() for entry in manifest.quarantined],
        "events_per_second": summary.converted / max(summary.seconds, 1e-9),
        "converted": summary.converted,
        "resumed": summary.resumed,
        "known_files": summary.known,
        "note": summary.note,
        "truth": manifest.truth.model_dump(),
    }


def _in_words(summary: "ConvertSummary") -> Sequence[str]:
    """Say what a conversion made."""
    manifest = summary.manifest
    truth = manifest.truth
    lines = [
        f"{manifest.events} events, {manifest.elements} elements, {len(manifest.shards)} shards "
        f"(version {manifest.version}); skipped {dict(manifest.skipped) or 'none'}; "
        f"unlinked tracks {truth.unlinked_tracks}",
        f"clusters that hold two particles: {truth.shared_fraction:.0%}, "
        f"without target: {truth.untargeted_fraction:.0%}",
    ]
    lines += [f"left out {entry.name}: {entry.reason}" for entry in manifest.quarantined]
    if summary.resumed:
        lines.append(f"{summary.resumed} groups of files were done before and taken as they were")
    return [summary.note, *lines] if summary.note else lines

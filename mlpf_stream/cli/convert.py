"""`mlpf convert`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit
from mlpf_stream.manifest import Manifest


class Mode(StrEnum):
    """Element kinds of a dataset."""

    CLUSTERS = "clusters"
    HITS = "hits"


class Role(StrEnum):
    """What a process is for."""

    TRAIN = "train"
    OOD = "ood"


def convert(
    sources: Annotated[list[str], typer.Argument(help="ROOT files, globs or folders")],
    out: Annotated[str, typer.Option(help="dataset to write: local path or s3://")],
    mode: Annotated[Mode, typer.Option(help="element kinds")] = Mode.CLUSTERS,
    detector: Annotated[str, typer.Option(help="clic, cld or ild")] = "clic",
    process: Annotated[
        str | None,
        typer.Option(
            help="physics process of all files",
            show_default="as written in each file, else NAME of p8_ee_NAME_ecm*",
        ),
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(help="ood: never trained on", show_default="ood for WW and ZH, else train"),
    ] = None,
    field: Annotated[
        float | None,
        typer.Option(
            help="solenoid field [T]", show_default="measured in each file, else the detector's"
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="files read at once")] = 1,
    title: Annotated[str, typer.Option(help="title in the manifest")] = "particle-flow dataset",
    max_skipped: Annotated[
        float, typer.Option(min=0, max=1, help="largest part of the events to skip")
    ] = 0.05,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a dataset")] = False,
    as_json: Json = False,
) -> None:
    """Convert EDM4HEP files to a dataset of shards with truth targets."""
    from mlpf_stream.convert import ConvertRequest
    from mlpf_stream.convert import convert as run

    request = ConvertRequest(
        sources=sources,
        out=out,
        mode=mode.value,
        detector=detector,
        process=process,
        role=role.value if role else None,
        field=field,
        workers=workers,
        title=title,
        max_skipped=max_skipped,
        overwrite=overwrite,
    )
    summary = run(request)
    payload = {
        "manifest": f"{out.rstrip('/')}/manifest.json",
        "events": summary.manifest.events,
        "shards": len(summary.manifest.shards),
        "elements": summary.manifest.elements,
        "skipped": dict(summary.manifest.skipped),
        "events_per_second": summary.manifest.events / max(summary.seconds, 1e-9),
        "truth": summary.manifest.truth.model_dump(),
    }
    emit(payload, _in_words(summary.manifest), as_json)


def _in_words(manifest: Manifest) -> Sequence[str]:
    """Say what a conversion made."""
    truth = manifest.truth
    return [
        f"{manifest.events} events, {manifest.elements} elements, {len(manifest.shards)} shards; "
        f"skipped {dict(manifest.skipped) or 'none'}; unlinked tracks {truth.unlinked_tracks}",
        f"clusters that hold two particles: {truth.shared_fraction:.0%}, "
        f"without target: {truth.untargeted_fraction:.0%}",
    ]

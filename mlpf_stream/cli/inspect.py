"""`mlpf inspect`."""

import json
from enum import StrEnum
from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit


class Mode(StrEnum):
    """Element kinds of a ROOT file's events."""

    CLUSTERS = "clusters"
    HITS = "hits"


def inspect(
    url: Annotated[str, typer.Argument(help="dataset, ROOT file, checkpoint or run folder")],
    verify: Annotated[
        bool, typer.Option("--verify", help="read and check every byte of a dataset or checkpoint")
    ] = False,
    physics: Annotated[
        bool, typer.Option("--physics", help="judge the physics gates; exit 3 if one fails")
    ] = False,
    croissant: Annotated[
        bool, typer.Option("--croissant", help="print a dataset's Croissant description, JSON-LD")
    ] = False,
    events: Annotated[
        int, typer.Option(min=1, help="--physics: events to look at, spread over all processes")
    ] = 2000,
    detector: Annotated[
        str, typer.Option(help="--physics of a ROOT file: clic, cld or ild")
    ] = "clic",
    mode: Annotated[
        Mode, typer.Option(help="--physics of a ROOT file: element kinds")
    ] = Mode.CLUSTERS,
    field: Annotated[
        float | None,
        typer.Option(
            help="--physics of a ROOT file: solenoid field [T]",
            show_default="measured in the file, else the detector's",
        ),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option(
            help="--physics of a ROOT file: physics process",
            show_default="as written in the file, else NAME of p8_ee_NAME_ecm*",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is in a dataset, a ROOT file or a checkpoint."""
    from mlpf_stream.inspect import SampleRequest, describe_dataset, judge_physics
    from mlpf_stream.inspect import inspect as run

    if croissant:
        described = describe_dataset(url)
        emit(described, [json.dumps(described, indent=2)], as_json)
        return
    tree = run(url, verify=verify)
    lines = [f"{key:28} {json.dumps(value)}" for key, value in tree.items() if value is not None]
    if not physics:
        emit(tree, lines, as_json)
        return
    from mlpf_stream.inspect.judgement import check, table

    judgements = judge_physics(url, SampleRequest(events, detector, mode.value, field, process))
    emit({**tree, "physics": judgements.as_json()}, [*lines, "", *table(judgements)], as_json)
    check(judgements)

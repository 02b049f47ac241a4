"""`mlpf display`."""

from enum import StrEnum
from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit


class Mode(StrEnum):
    """Element kinds of a ROOT file's events."""

    CLUSTERS = "clusters"
    HITS = "hits"


def display(
    url: Annotated[str, typer.Argument(help="dataset or ROOT file")],
    event: Annotated[
        str | None,
        typer.Option(
            help="key or number of the event",
            show_default="the first of split test; of a ROOT file the first",
        ),
    ] = None,
    out: Annotated[str, typer.Option(help="HTML file to write")] = "event.html",
    model: Annotated[
        str | None, typer.Option(help="checkpoint or run folder whose candidates are shown too")
    ] = None,
    detector: Annotated[str, typer.Option(help="of a ROOT file: clic, cld or ild")] = "clic",
    mode: Annotated[Mode, typer.Option(help="of a ROOT file: element kinds")] = Mode.CLUSTERS,
    field: Annotated[
        float | None,
        typer.Option(
            help="of a ROOT file: solenoid field [T]",
            show_default="measured in the file, else the detector's",
        ),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option(
            help="of a ROOT file: physics process",
            show_default="as written in the file, else NAME of p8_ee_NAME_ecm*",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw one event as an interactive 3-D page that needs no network."""
    from mlpf_stream.display import DisplayRequest
    from mlpf_stream.display import display as run
    from mlpf_stream.display.choice import EventRequest

    wanted = EventRequest(url, event, detector, mode.value, field, process)
    shown = run(DisplayRequest(wanted, out, model))
    place = f"number {shown.number}" + (f" of split {shown.split}" if shown.split else "")
    payload: dict[str, object] = {
        "file": shown.file,
        "event": shown.key,
        "number": shown.number,
        "split": shown.split or None,
    }
    emit(payload, [f"{shown.file}: event {shown.key} ({place})"], as_json)

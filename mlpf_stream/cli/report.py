"""`mlpf report`."""

from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit


def report(
    folders: Annotated[list[str], typer.Argument(help="run folders or evaluations; two compare")],
    out: Annotated[str, typer.Option(help="HTML file to write")] = "report.html",
    as_json: Json = False,
) -> None:
    """Draw what evaluate and train wrote as one page that needs no network."""
    from mlpf_stream.report import report as run

    file = run(folders, out)
    emit({"file": file}, [f"report {file}"], as_json)

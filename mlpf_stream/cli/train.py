"""`mlpf train`."""

from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit, number
from mlpf_stream.config import load_recipe


def train(
    recipe: Annotated[str, typer.Argument(help="YAML recipe, see recipes/")],
    overrides: Annotated[list[str] | None, typer.Argument(help="such as train.steps=200")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the newest checkpoint of run.dir, if any")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model as the recipe says."""
    loaded = load_recipe(recipe, overrides or [])
    from mlpf_stream.train import train as run
    from mlpf_stream.train.launch import STOPPED

    summary = run(loaded, resume=resume)
    payload = {
        "checkpoint": summary.checkpoint,
        "steps": summary.steps,
        "events": summary.events,
        "first_loss": summary.first_loss,
        "last_loss": summary.last_loss,
        "valid_loss": summary.valid_loss,
        "events_per_second": summary.events_per_second,
        "data_wait_fraction": summary.data_wait_fraction,
        "parameters": summary.parameters,
        "ranks": summary.ranks,
        "launcher": summary.launcher,
        "engine": summary.engine,
    }
    lines = [
        f"{summary.steps} steps, {summary.events} events at {summary.events_per_second:.0f}/s, "
        f"waited {summary.data_wait_fraction:.1%} for data",
        f"loss {number(summary.first_loss)} -> {number(summary.last_loss)}, "
        f"valid {number(summary.valid_loss)}",
        f"checkpoint {summary.checkpoint}",
    ]
    emit(payload, lines, as_json)
    if summary.stopped:
        raise typer.Exit(STOPPED)

"""What a verb prints: lines for a person, or one JSON object on one line for a program."""

import json
import math
from collections.abc import Sequence
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="print one JSON object on one line of stdout")]


def emit(payload: dict[str, object], lines: Sequence[str], as_json: bool) -> None:
    """Print the result for a program or for a person."""
    if as_json:
        typer.echo(json.dumps(_finite(payload)))
    else:
        typer.echo("\n".join(lines))


def _finite(value: object) -> object:
    """Replace numbers that JSON cannot hold by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def number(value: float | None) -> str:
    """Return a loss for people."""
    return "none" if value is None else f"{value:.4f}"

"""`mlpf schema`."""

from pathlib import Path
from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit
from mlpf_stream.config import recipe_schema


def schema(
    out: Annotated[str, typer.Option(help="folder for the schemas")] = ".",
    as_json: Json = False,
) -> None:
    """Write the JSON schema of recipes: every key with its range, default and meaning."""
    path = Path(out) / "recipe.schema.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe_schema() + "\n", encoding="utf-8")
    emit({"files": [str(path)]}, [str(path)], as_json)

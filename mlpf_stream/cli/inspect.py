"""`mlpf inspect`."""

import json
from typing import Annotated

import typer

from mlpf_stream.cli.output import Json, emit


def inspect(
    url: Annotated[str, typer.Argument(help="dataset, ROOT file, checkpoint or run folder")],
    verify: Annotated[
        bool, typer.Option("--verify", help="read and check every byte of a dataset or checkpoint")
    ] = False,
    croissant: Annotated[
        bool, typer.Option("--croissant", help="print a dataset's Croissant description, JSON-LD")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is in a dataset, a ROOT file or a checkpoint."""
    from mlpf_stream.inspect import describe_dataset
    from mlpf_stream.inspect import inspect as run

    if croissant:
        described = describe_dataset(url)
        emit(described, [json.dumps(described, indent=2)], as_json)
        return
    tree = run(url, verify=verify)
    lines = [f"{key:28} {json.dumps(value)}" for key, value in tree.items() if value is not None]
    emit(tree, lines, as_json)

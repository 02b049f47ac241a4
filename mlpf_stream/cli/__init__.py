"""The command line `mlpf VERB`: options in, one verb's body called, exit code out.

One file per verb. Every verb imports its body when it runs, so that `mlpf --help` is quick and a
missing optional package is named only where it is needed. With `--json` exactly one object goes to
stdout on one line; logs, progress and errors go to stderr.
"""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from mlpf_stream import __version__
from mlpf_stream.cli.convert import convert
from mlpf_stream.cli.display import display
from mlpf_stream.cli.download import download
from mlpf_stream.cli.evaluate import evaluate
from mlpf_stream.cli.inspect import inspect
from mlpf_stream.cli.report import report
from mlpf_stream.cli.schema import schema
from mlpf_stream.cli.simulate import simulate
from mlpf_stream.cli.train import train
from mlpf_stream.errors import ConfigError, MissingExtraError, MlpfError

app = typer.Typer(
    name="mlpf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train particle-flow models on streams of collision events.",
    epilog="Exit codes: 0 ok, 1 a bug, 2 bad input or config, 3 data, 4 device or cluster, "
    "5 training failed, 143 stopped on request after a checkpoint.",
)

VERBS = (simulate, download, convert, inspect, display, train, evaluate, report, schema)
"""In the order of a first walk through the house."""

EXTRAS = {"torch": "train", "safetensors": "train", "ray": "ray", "numba": "simulate"}
"""Extras of the optional packages that several modules import; the others say it themselves."""


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="print the version and stop"
        ),
    ] = False,
) -> None:
    """Hold the options of all verbs."""


for _verb in VERBS:
    app.command()(_verb)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and leave with its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        app(args=arguments, prog_name="mlpf")
    except MlpfError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _fail(MissingExtraError(package, EXTRAS[package]))
    except OSError as error:
        if error.errno is None:
            raise
        _fail(ConfigError(_explain(error)))


def _fail(error: MlpfError) -> NoReturn:
    """Say what went wrong and leave."""
    typer.echo(f"error: {error}", err=True)
    sys.exit(error.exit_code)


def _explain(error: OSError) -> str:
    """Say what the operating system refused: a folder that is a file, no permission, no space."""
    place = f" of {str(error.filename)!r}" if error.filename else ""
    return (
        f"expected reading or writing{place} to work, found {error.strerror!r}; "
        "check the path, its permissions and the space on its disk"
    )

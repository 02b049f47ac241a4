"""The command line `mlpf VERB`: options in, one verb's body called, exit code out.

Every verb imports its body when it runs, so that `mlpf --help` is quick and a missing optional
package is named only where it is needed. With `--json` exactly one object goes to stdout on one
line; logs, progress and errors go to stderr.
"""

import json
import logging
import math
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from mlpf_stream import __version__
from mlpf_stream.columns import GUNS, PROCESSES
from mlpf_stream.config import PhysicsConfig, load_recipe, recipe_schema
from mlpf_stream.errors import ConfigError, MissingExtraError, MlpfError
from mlpf_stream.manifest import Manifest

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

Json = Annotated[bool, typer.Option("--json", help="print one JSON object on one line of stdout")]


class Mode(StrEnum):
    """Element kinds of a dataset."""

    CLUSTERS = "clusters"
    HITS = "hits"


class Role(StrEnum):
    """What a process is for."""

    TRAIN = "train"
    OOD = "ood"


class Split(StrEnum):
    """Which events to read."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    ALL = "all"


EXTRAS = {"torch": "train", "safetensors": "train", "ray": "ray"}
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


@app.command()
def simulate(
    process: Annotated[str, typer.Option(help=f"{', '.join((*PROCESSES, *GUNS))}")],
    out: Annotated[str, typer.Option(help="folder for the ROOT files")],
    events: Annotated[int, typer.Option(min=1, help="events to make")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="same seed, same events")] = 1,
    detector: Annotated[str, typer.Option(help="detector to simulate")] = "clic",
    pileup: Annotated[float, typer.Option(min=0, help="mean overlaid events")] = 0.0,
    files: Annotated[int, typer.Option(min=1, help="files to spread the events over")] = 4,
    multiplicity: Annotated[int, typer.Option(min=1, help="gun particles per event")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="processes at work")] = 1,
    as_json: Json = False,
) -> None:
    """Make EDM4HEP files: Pythia 8 or guns, and a fast CLIC-like detector (no full simulation)."""
    from mlpf_stream.simulate.simulate import SimulateRequest
    from mlpf_stream.simulate.simulate import simulate as run

    request = SimulateRequest(
        process=process,
        events=events,
        seed=seed,
        out=out,
        detector=detector,
        pileup=pileup,
        files=files,
        multiplicity=multiplicity,
        workers=workers,
    )
    summary = run(request)
    payload = {"files": list(summary.files), "events": summary.events, "seconds": summary.seconds}
    payload["calibration"] = dict(summary.calibration)
    rate = summary.events / max(summary.seconds, 1e-9)
    _emit(
        payload, [f"{summary.events} events in {len(summary.files)} files, {rate:.0f}/s"], as_json
    )


@app.command()
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
    _emit(payload, _in_words(summary.manifest), as_json)


def _in_words(manifest: Manifest) -> Sequence[str]:
    """Say what a conversion made."""
    truth = manifest.truth
    return [
        f"{manifest.events} events, {manifest.elements} elements, {len(manifest.shards)} shards; "
        f"skipped {dict(manifest.skipped) or 'none'}; unlinked tracks {truth.unlinked_tracks}",
        f"clusters that hold two particles: {truth.shared_fraction:.0%}, "
        f"without target: {truth.untargeted_fraction:.0%}",
    ]


@app.command()
def inspect(
    url: Annotated[str, typer.Argument(help="dataset, ROOT file, checkpoint or run folder")],
    verify: Annotated[
        bool, typer.Option("--verify", help="read and check every byte of a dataset or checkpoint")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is in a dataset, a ROOT file or a checkpoint."""
    from mlpf_stream.inspect import inspect as run

    tree = run(url, verify=verify)
    lines = [f"{key:28} {json.dumps(value)}" for key, value in tree.items() if value is not None]
    _emit(tree, lines, as_json)


@app.command()
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
        f"loss {_number(summary.first_loss)} -> {_number(summary.last_loss)}, "
        f"valid {_number(summary.valid_loss)}",
        f"checkpoint {summary.checkpoint}",
    ]
    _emit(payload, lines, as_json)
    if summary.stopped:
        raise typer.Exit(STOPPED)


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="checkpoint, run folder, or 'baseline'")],
    data: Annotated[str, typer.Option(help="dataset")],
    out: Annotated[str, typer.Option(help="folder for evaluation.json")],
    split: Annotated[Split, typer.Option(help="events to judge on")] = Split.TEST,
    jet_radius: Annotated[float, typer.Option(help="R of the e+e- algorithm [rad]")] = 0.7,
    as_json: Json = False,
) -> None:
    """Judge a checkpoint, or the rule-based baseline, on jets and momenta per process."""
    from mlpf_stream.evaluate import EvaluateRequest
    from mlpf_stream.evaluate import evaluate as run
    from mlpf_stream.evaluate.evaluate import measures_tree, table

    request = EvaluateRequest(
        checkpoint=checkpoint,
        data=data,
        out=out,
        split=split.value,
        physics=_physics(jet_radius),
    )
    evaluation = run(request)
    payload = {
        "evaluation": evaluation.path,
        "processes": measures_tree(evaluation.processes),
        "events": evaluation.events,
        "events_per_second": evaluation.events_per_second,
    }
    _emit(payload, table(evaluation.processes), as_json)


@app.command()
def report(
    folders: Annotated[list[str], typer.Argument(help="run folders or evaluations; two compare")],
    out: Annotated[str, typer.Option(help="HTML file to write")] = "report.html",
    as_json: Json = False,
) -> None:
    """Draw what evaluate and train wrote as one page that needs no network."""
    from mlpf_stream.report import report as run

    file = run(folders, out)
    _emit({"file": file}, [f"report {file}"], as_json)


@app.command()
def schema(
    out: Annotated[str, typer.Option(help="folder for the schemas")] = ".",
    as_json: Json = False,
) -> None:
    """Write the JSON schema of recipes: every key with its range, default and meaning."""
    path = Path(out) / "recipe.schema.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe_schema() + "\n", encoding="utf-8")
    _emit({"files": [str(path)]}, [str(path)], as_json)


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


def _physics(jet_radius: float) -> PhysicsConfig:
    """Return the settings of the judgement."""
    try:
        return PhysicsConfig(jet_radius=jet_radius)
    except ValidationError as error:
        msg = f"expected --jet-radius above 0 rad, found {jet_radius}; the published value is 0.7"
        raise ConfigError(msg) from error


def _number(value: float | None) -> str:
    """Return a loss for people."""
    return "none" if value is None else f"{value:.4f}"


def _emit(payload: dict[str, object], lines: Sequence[str], as_json: bool) -> None:
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

"""`mlpf evaluate`."""

from enum import StrEnum
from typing import Annotated

import typer
from pydantic import ValidationError

from mlpf_stream.cli.output import Json, emit
from mlpf_stream.config import PhysicsConfig
from mlpf_stream.errors import ConfigError


class Split(StrEnum):
    """Which events to read."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    ALL = "all"


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
    emit(payload, table(evaluation.processes), as_json)


def _physics(jet_radius: float) -> PhysicsConfig:
    """Return the settings of the judgement."""
    try:
        return PhysicsConfig(jet_radius=jet_radius)
    except ValidationError as error:
        msg = f"expected --jet-radius above 0 rad, found {jet_radius}; the published value is 0.7"
        raise ConfigError(msg) from error

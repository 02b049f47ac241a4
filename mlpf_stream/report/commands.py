"""The commands that make a report again, as far as its files tell."""

import shlex
from typing import Final

from mlpf_stream.report.comparison import Comparison
from mlpf_stream.report.datacard import data_cards
from mlpf_stream.report.folder import Folder
from mlpf_stream.report.records import DataCard, EvaluationRecord, Scalar

SIMULATE: Final = (
    "process", "events", "seed", "detector", "pileup", "files", "multiplicity",
)  # fmt: skip


def commands(comparison: Comparison) -> list[str]:
    """Return a line for every verb that was called, in order."""
    lines: list[str] = []
    for _, card in data_cards(comparison):
        lines += [_simulate(settings) for settings in card.generators if "process" in settings]
    for evaluation in comparison.evaluations:
        if evaluation.dataset is not None:
            lines.append(_convert(evaluation, evaluation.dataset))
    for folder in comparison.folders:
        lines += _train(folder)
        lines += _evaluate(folder)
    lines.append(_command("report", *(folder.path for folder in comparison.folders)))
    return list(dict.fromkeys(lines))


def _simulate(settings: dict[str, Scalar]) -> str:
    options = [
        part for name in SIMULATE if name in settings for part in (f"--{name}", settings[name])
    ]
    return _command("simulate", *options, "--out", "SOURCES")


def _convert(evaluation: EvaluationRecord, card: DataCard) -> str:
    return _command(
        "convert", "SOURCES", "--out", evaluation.data, "--mode", card.mode,
        "--detector", card.detector, "--title", card.title,
    )  # fmt: skip


def _train(folder: Folder) -> list[str]:
    if folder.training is None or not folder.training.recipe:
        return []
    return [_command("train", f"{folder.path.rstrip('/')}/recipe.yaml", "run.dir=RUN")]


def _evaluate(folder: Folder) -> list[str]:
    evaluation = folder.evaluation
    if evaluation is None or folder.evaluation_path is None:
        return []
    return [
        _command(
            "evaluate", evaluation.checkpoint, "--data", evaluation.data, "--split",
            evaluation.split, "--jet-radius", evaluation.physics.get("jet_radius", 0.7),
            "--out", folder.evaluation_path.rpartition("/")[0],
        )
    ]  # fmt: skip


def _command(*words: object) -> str:
    """Return a command that a shell reads as meant."""
    return shlex.join(["mlpf", *map(str, words)])

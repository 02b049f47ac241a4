"""Folders to report on: a run of training, an evaluation, or a run with evaluations inside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.report.records import (
    EvaluationRecord,
    OutcomeRecord,
    Scalar,
    StepRecord,
    SummaryRecord,
)

EVALUATION: Final = ("evaluation.json", "evaluation/evaluation.json")
"""Where an evaluation may lie below a folder; the first that is there counts."""
METRICS: Final = "metrics.jsonl"
SUMMARY: Final = "summary.json"
RECIPE: Final = "recipe.yaml"
OUTCOME: Final = "outcome.json"

Sections = dict[str, dict[str, Scalar]]
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Training:
    """What a run wrote: its recipe, its steps, how it ended. Parts of a running run are None."""

    steps: tuple[StepRecord, ...]
    recipe: Sections
    summary: SummaryRecord | None
    outcome: OutcomeRecord | None


@dataclass(frozen=True, slots=True)
class Folder:
    """One argument of `mlpf report`: at least one of the two is there."""

    path: str
    evaluation_path: str | None
    evaluation: EvaluationRecord | None
    training: Training | None

    @property
    def kind(self) -> str | None:
        """Return the kind of network, None if only the baseline was judged."""
        if self.evaluation is not None and self.evaluation.model is not None:
            return self.evaluation.model.kind
        if self.training is not None and "model" in self.training.recipe:
            return str(self.training.recipe["model"].get("kind"))
        return None


def open_folder(path: str) -> Folder:
    """Read what evaluate and train wrote into a folder.

    Raises:
        MissingDataError: no such folder, or nothing of an evaluation or a training in it.
        SchemaError: a file in it is not what evaluate or train writes.
    """
    root = Path(path)
    if not root.is_dir():
        msg = (
            f"expected a folder at {path!r}, found {'a file' if root.exists() else 'nothing'}; "
            "give the folder of a run or of an evaluation"
        )
        raise MissingDataError(msg)
    found = next((root / name for name in EVALUATION if (root / name).is_file()), None)
    training = _open_training(root)
    if found is None and training is None:
        msg = (
            f"expected {EVALUATION[0]} or {METRICS} in {path!r}, found neither; "
            "make them with 'mlpf evaluate' or 'mlpf train'"
        )
        raise MissingDataError(msg)
    evaluation = _read(found, EvaluationRecord) if found else None
    if evaluation is not None and found is not None:
        _check_histograms(evaluation, found)
    return Folder(path, str(found) if found else None, evaluation, training)


def _open_training(root: Path) -> Training | None:
    """Return what a run wrote, None if there is no run."""
    if not (root / METRICS).is_file():
        return None
    summary, outcome = root / SUMMARY, root / OUTCOME
    return Training(
        steps=_read_steps(root / METRICS),
        recipe=_read_recipe(root / RECIPE),
        summary=_read(summary, SummaryRecord) if summary.is_file() else None,
        outcome=_read(outcome, OutcomeRecord) if outcome.is_file() else None,
    )


def _read(path: Path, record: type[R]) -> R:
    """Read one JSON file."""
    try:
        return record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _refuse(path, error) from error


def _read_steps(path: Path) -> tuple[StepRecord, ...]:
    """Read a journal; a last line that a kill cut short is left out."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    steps = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            steps.append(StepRecord.model_validate_json(line))
        except ValidationError as error:
            if number < len(lines):
                raise _refuse(path, error, f" line {number}") from error
    return tuple(steps)


def _read_recipe(path: Path) -> Sections:
    """Read the settings of a run, section by section."""
    if not path.is_file():
        return {}
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"expected YAML in {str(path)!r}, found none ({error}); restore the file"
        raise SchemaError(msg) from error
    if not isinstance(tree, dict) or not all(isinstance(part, dict) for part in tree.values()):
        raise SchemaError(f"expected a recipe in {str(path)!r}, found other YAML; restore the file")
    return tree


def _check_histograms(evaluation: EvaluationRecord, path: Path) -> None:
    """Refuse histograms whose counts do not fit their bins."""
    for process, parts in (evaluation.histograms or {}).items():
        for name, spectra in parts.items():
            for part in (spectra.jet, spectra.met, spectra.momentum):
                if len(part.counts) != part.edges.bins or part.edges.first >= part.edges.last:
                    msg = (
                        f"expected {part.edges.bins} counts between rising edges in histograms "
                        f"{process} {name} of {str(path)!r}, found {len(part.counts)}; "
                        "run 'mlpf evaluate' again"
                    )
                    raise SchemaError(msg)


def _refuse(path: Path, error: ValidationError, line: str = "") -> SchemaError:
    """Say what is wrong with a file."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return SchemaError(
        f"expected what mlpf writes in {str(path)!r}{line}, found at {place or 'its start'}: "
        f"{first['msg']}; write it again with 'mlpf evaluate' or 'mlpf train'"
    )

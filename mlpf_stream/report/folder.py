"""Folders to report on: a run of training, an evaluation, or a run with evaluations inside."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.report.journals import Journal, read_journal, refuse
from mlpf_stream.report.records import (
    EvaluationRecord,
    OutcomeRecord,
    Scalar,
    StepRecord,
    SummaryRecord,
    TimingRecord,
)
from mlpf_stream.storage import Store, open_store

EVALUATION: Final = ("evaluation.json", "evaluation/evaluation.json")
"""Where an evaluation may lie below a folder; the first that is there counts."""
METRICS: Final = "metrics.jsonl"
TIMING: Final = "timing.jsonl"
SUMMARY: Final = "summary.json"
RECIPE: Final = "recipe.yaml"
OUTCOME: Final = "outcome.json"

Sections = dict[str, dict[str, Scalar]]
R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Training:
    """What a run wrote: steps, times, recipe, how it ended. Parts of a running run are None.

    `cut` counts the lines of its journals that a kill cut short.
    """

    steps: tuple[StepRecord, ...]
    timing: tuple[TimingRecord, ...]
    recipe: Sections
    summary: SummaryRecord | None
    outcome: OutcomeRecord | None
    cut: int


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


def open_folder(url: str) -> Folder:
    """Read what evaluate and train wrote into a folder, local or in object storage.

    Raises:
        ConfigError: a URL that this version does not know.
        MissingDataError: nothing of an evaluation or a training is there.
        SchemaError: a file in it is not what evaluate or train writes.
    """
    store = open_store(url)
    found = next((name for name in EVALUATION if store.exists(name)), None)
    training = _open_training(store)
    if found is None and training is None:
        msg = (
            f"expected {EVALUATION[0]} or {METRICS} below {url!r}, found neither; give the folder "
            "of a run or of an evaluation, made with 'mlpf train' or 'mlpf evaluate'"
        )
        raise MissingDataError(msg)
    if found is None:
        return Folder(url, None, None, training)
    evaluation = _read(store, found, EvaluationRecord)
    _check_histograms(evaluation, _where(store, found))
    return Folder(url, _where(store, found), evaluation, training)


def _open_training(store: Store) -> Training | None:
    """Return what a run wrote, None if there is no run."""
    if not store.exists(METRICS):
        return None
    steps = _read_lines(store, METRICS, StepRecord)
    timing = _read_lines(store, TIMING, TimingRecord)
    return Training(
        steps=steps.lines,
        timing=_last_word(timing.lines),
        recipe=_read_recipe(store),
        summary=_read(store, SUMMARY, SummaryRecord) if store.exists(SUMMARY) else None,
        outcome=_read(store, OUTCOME, OutcomeRecord) if store.exists(OUTCOME) else None,
        cut=steps.cut + timing.cut,
    )


def _where(store: Store, name: str) -> str:
    return f"{store.url.rstrip('/')}/{name}"


def _read(store: Store, name: str, record: type[R]) -> R:
    """Read one JSON file."""
    try:
        return record.model_validate_json(store.read(name))
    except ValidationError as error:
        raise refuse(_where(store, name), error) from error


def _read_lines(store: Store, name: str, record: type[R]) -> Journal[R]:
    """Read a journal, empty where an older run has none."""
    if not store.exists(name):
        return Journal((), 0)
    return read_journal(store.read(name), record, _where(store, name))


def _last_word(lines: Iterable[TimingRecord]) -> tuple[TimingRecord, ...]:
    """Drop lines of steps that a resumed run computed again."""
    kept: list[TimingRecord] = []
    for line in lines:
        while kept and kept[-1].step >= line.step:
            kept.pop()
        kept.append(line)
    return tuple(kept)


def _read_recipe(store: Store) -> Sections:
    """Read the settings of a run, section by section."""
    if not store.exists(RECIPE):
        return {}
    where = _where(store, RECIPE)
    try:
        tree = yaml.safe_load(store.read(RECIPE).decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"expected YAML in {where!r}, found none ({error}); restore the file"
        raise SchemaError(msg) from error
    if not isinstance(tree, dict) or not all(isinstance(part, dict) for part in tree.values()):
        raise SchemaError(f"expected a recipe in {where!r}, found other YAML; restore the file")
    return tree


def _check_histograms(evaluation: EvaluationRecord, where: str) -> None:
    """Refuse histograms whose counts do not fit their bins."""
    for process, parts in (evaluation.histograms or {}).items():
        for name, spectra in parts.items():
            for part in (spectra.jet, spectra.met, spectra.momentum):
                if len(part.counts) != part.edges.bins or part.edges.first >= part.edges.last:
                    msg = (
                        f"expected {part.edges.bins} counts between rising edges in histograms "
                        f"{process} {name} of {where!r}, found {len(part.counts)}; "
                        "run 'mlpf evaluate' again"
                    )
                    raise SchemaError(msg)

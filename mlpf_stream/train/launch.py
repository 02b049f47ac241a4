"""Open everything a run needs, run the loop, and say how it ended."""

import json
import logging
import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mlpf_stream.columns import CLASSES, DETECTORS, MODE_KINDS
from mlpf_stream.config import Recipe, dump_recipe
from mlpf_stream.device import describe, open_device, seed_everything, set_threads
from mlpf_stream.errors import ConfigError, MlpfError, ResumeError
from mlpf_stream.infer.checkpoint import list_checkpoints
from mlpf_stream.manifest import Manifest
from mlpf_stream.models.encoder import FeatureStatistics, KindStatistics
from mlpf_stream.models.network import Network, build_network
from mlpf_stream.shards.index import DatasetIndex, open_dataset
from mlpf_stream.storage import open_store
from mlpf_stream.stream.planner import Planner
from mlpf_stream.train.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    restore_optimizer,
)
from mlpf_stream.train.journal import METRICS_FILE, Journal, read_journal
from mlpf_stream.train.loop import Position, Run, run_training
from mlpf_stream.train.step import build_optimizer

log = logging.getLogger(__name__)

RECIPE_FILE = "recipe.yaml"
OUTCOME_FILE = "outcome.json"
SUMMARY_FILE = "summary.json"
STOPPED = 143
"""Exit code of a run that was asked to stop and did, after a checkpoint."""


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """How a run ended; losses are means over the first and last tenth of the steps."""

    checkpoint: str
    steps: int
    events: int
    first_loss: float
    last_loss: float
    valid_loss: float
    events_per_second: float
    data_wait_fraction: float
    parameters: int
    stopped: bool


def train(recipe: Recipe, *, resume: bool = False) -> TrainSummary:
    """Train as the recipe says; write checkpoints, journal and outcome under `run.dir`.

    Raises:
        ConfigError: the folder holds a run already, or the recipe and the dataset do not fit.
        ResumeError: the checkpoint belongs to another recipe or dataset.
        TrainingError: training failed; `outcome.json` tells whether trying again may help.
    """
    folder = Path(recipe.run.dir)
    if not resume and list_checkpoints(folder):
        msg = f"expected no run in {str(folder)!r}, found one; give --resume, or another run.dir"
        raise ConfigError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _stop_on_signal() as asked:
            run = _open_run(recipe, folder, asked, resume=resume)
            (folder / RECIPE_FILE).write_text(dump_recipe(recipe), encoding="utf-8")
            with Journal(folder, run.position.step) as journal:
                run_training(run, journal)
    except MlpfError as error:
        _write_outcome(folder, error.exit_code, retryable=error.retryable, message=str(error))
        raise
    code = STOPPED if run.stopped else 0
    _write_outcome(folder, code, retryable=run.stopped, message="stopped" if code else "done")
    summary = _summarise(run)
    text = json.dumps(asdict(summary))
    (folder / SUMMARY_FILE).write_text(text, encoding="utf-8")
    return summary


def _open_run(recipe: Recipe, folder: Path, asked: Sequence[int], *, resume: bool) -> Run:
    """Open dataset, device, network and optimiser, fresh or from the newest checkpoint."""
    index = open_dataset(open_store(recipe.data.url))
    device = open_device(recipe.train.device)
    set_threads(recipe.train.threads)
    seed_everything(recipe.run.seed)
    checkpoint = latest_checkpoint(folder) if resume else None
    if checkpoint is None:
        network, position = fresh_network(recipe, index.manifest), Position()
    else:
        _check_resume(recipe, index, checkpoint)
        network, position = checkpoint.network, _position(checkpoint)
    network.to(device).train()
    optimizer = build_optimizer(network, recipe.train)
    if checkpoint is not None:
        restore_optimizer(network, optimizer, checkpoint.optimizer)
        log.info("resuming from %s", checkpoint.folder)
    log.info(
        "%s, %s parameters, %s, %s train events of %s",
        recipe.model.kind,
        f"{network.parameter_count:,}",
        describe(device),
        f"{int(index.in_split('train').sum()):,}",
        recipe.data.url,
    )
    return Run(
        recipe=recipe,
        index=index,
        planner=Planner(index, recipe.stream, recipe.run.seed),
        network=network,
        optimizer=optimizer,
        folder=folder,
        position=position,
        stop_requested=lambda: bool(asked),
        checkpoint=checkpoint.folder if checkpoint else None,
    )


def fresh_network(recipe: Recipe, manifest: Manifest) -> Network:
    """Build a network with the dataset's statistics, detector, field and class fractions."""
    kinds = MODE_KINDS[manifest.mode]
    statistics = {}
    for kind in kinds:
        entry = next(entry for entry in manifest.kinds if entry.name == kind.name)
        columns = {
            name: np.array([getattr(f, name) for f in entry.features], np.float32)
            for name in ("mean", "std", "log_mean", "log_std")
        }
        statistics[kind.name] = KindStatistics(*columns.values())
    counts = [manifest.class_counts[name] for name in CLASSES]
    prior = [count / max(sum(counts), 1) for count in counts]
    detector = DETECTORS[manifest.detector]
    return build_network(recipe.model, FeatureStatistics(statistics), detector, prior)


def _check_resume(recipe: Recipe, index: DatasetIndex, checkpoint: Checkpoint) -> None:
    """Refuse to continue another run: other data, another model, another order of events."""
    state = checkpoint.state
    if state.dataset != index.digest:
        msg = (
            f"expected dataset {state.dataset} as in checkpoint {str(checkpoint.folder)!r}, found "
            f"{index.digest} at {recipe.data.url!r}; resume on the dataset the run began with"
        )
        raise ResumeError(msg)
    before = Recipe.model_validate_json(state.recipe)
    for name in ("model", "stream", "loss"):
        old, new = getattr(before, name), getattr(recipe, name)
        if old != new:
            raise ResumeError(f"expected {name} as in the checkpoint: {old!r}, found {new!r}")
    if before.run.seed != recipe.run.seed:
        msg = f"expected run.seed {before.run.seed} as in the checkpoint, found {recipe.run.seed}"
        raise ResumeError(msg)


def _position(checkpoint: Checkpoint) -> Position:
    state = checkpoint.state
    return Position(state.step, state.epoch, state.step_in_epoch, state.events, state.seconds)


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """Collect SIGTERM instead of dying of it: the loop checkpoints and ends."""
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _summarise(run: Run) -> TrainSummary:
    lines = read_journal(run.folder / METRICS_FILE)
    losses = [line["loss"] for line in lines if "loss" in line]
    valid = [line["valid_loss"] for line in lines if "valid_loss" in line]
    part = min(len(losses), max(3, len(losses) // 10))
    position = run.position
    return TrainSummary(
        checkpoint=str(run.checkpoint),
        steps=position.step,
        events=position.events,
        first_loss=float(np.mean(losses[:part])) if losses else math.nan,
        last_loss=float(np.mean(losses[-part:])) if losses else math.nan,
        valid_loss=valid[-1] if valid else math.nan,
        events_per_second=position.events / max(position.seconds, 1e-9),
        data_wait_fraction=run.waited / max(run.worked, 1e-9),
        parameters=run.network.parameter_count,
        stopped=run.stopped,
    )


def _write_outcome(folder: Path, code: int, *, retryable: bool, message: str) -> None:
    outcome = {"code": code, "retryable": retryable, "message": message}
    (folder / OUTCOME_FILE).write_text(json.dumps(outcome) + "\n", encoding="utf-8")

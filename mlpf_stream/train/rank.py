"""One rank of a run: open everything, train, say how it went."""

import json
import logging
import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from mlpf_stream.columns import CLASSES, DETECTORS, MODE_KINDS
from mlpf_stream.config import Recipe, dump_recipe
from mlpf_stream.device import describe, seed_everything, set_threads
from mlpf_stream.errors import ResumeError
from mlpf_stream.infer.checkpoint import RECIPE_FILE
from mlpf_stream.manifest import Manifest
from mlpf_stream.models.encoder import FeatureStatistics, KindStatistics
from mlpf_stream.models.network import Network, build_network
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.storage import Store
from mlpf_stream.stream.plan import share_range, shares
from mlpf_stream.stream.planner import Planner
from mlpf_stream.stream.window import WindowReader
from mlpf_stream.train.checkpoint import Checkpoint, latest_checkpoint, restore_optimizer
from mlpf_stream.train.journal import METRICS_FILE, Journal, read_journal
from mlpf_stream.train.loop import Position, Run, run_training
from mlpf_stream.train.observer import Observer
from mlpf_stream.train.step import build_learner
from mlpf_stream.train.world import World

log = logging.getLogger(__name__)

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """How a run ended; losses are means over the first and last tenth of the steps."""

    checkpoint: str
    steps: int
    events: int
    first_loss: float | None
    last_loss: float | None
    valid_loss: float | None
    events_per_second: float
    data_wait_fraction: float
    parameters: int
    stopped: bool
    ranks: int
    launcher: str
    engine: str


@dataclass(frozen=True, slots=True)
class RankTask:
    """What a launcher hands to a rank: the run, who it is, how it reads, who watches."""

    recipe: Recipe
    store: Store
    index: DatasetIndex
    world: World
    read: WindowReader
    observer: Observer
    threads: int
    resume: bool


def run_rank(task: RankTask) -> TrainSummary:
    """Train as one rank; rank 0 writes recipe, journal, checkpoints and summary.

    Raises:
        ResumeError: the checkpoint belongs to another recipe or dataset.
        TrainingError: training failed.
    """
    run = _open_run(task)
    if task.world.rank == 0:
        task.store.write(RECIPE_FILE, dump_recipe(task.recipe).encode())
        with Journal(task.store, run.position.step) as run.journal:
            run_training(run)
    else:
        run_training(run)
    summary = _summarise(run)
    if task.world.rank == 0:
        task.store.write(SUMMARY_FILE, json.dumps(asdict(summary)).encode() + b"\n")
    return summary


def _open_run(task: RankTask) -> Run:
    """Open network and optimiser, fresh or from the newest checkpoint."""
    recipe, index, world = task.recipe, task.index, task.world
    set_threads(task.threads)
    seed_everything(recipe.run.seed)
    checkpoint = _common_checkpoint(task) if task.resume else None
    if checkpoint is None:
        network, position = fresh_network(recipe, index.manifest), Position()
    else:
        _check_resume(recipe, index, checkpoint)
        network, position = checkpoint.network, _position(checkpoint)
        log.info("resuming from %s", checkpoint.url)
        if position.step >= recipe.train.steps:
            log.warning("nothing to do: %d of %d steps are done", position.step, recipe.train.steps)
    network.to(world.device).train()
    learner = build_learner(network, world, recipe.train, recipe.loss)
    if checkpoint is not None:
        restore_optimizer(network, learner.optimizer, checkpoint.optimizer)
    log.info(
        "%s, %s parameters, rank %d of %d, %s, engine %s, %s train events of %s",
        recipe.model.kind,
        f"{network.parameter_count:,}",
        world.rank,
        world.size,
        describe(world.device),
        recipe.engine,
        f"{int(index.in_split('train').sum()):,}",
        recipe.data.url,
    )
    own = share_range(shares(recipe.stream.micro_batches, world.size), world.rank)
    return Run(
        recipe=recipe,
        index=index,
        planner=Planner(index, recipe.stream, recipe.run.seed, own, recipe.data.weights),
        read=task.read,
        learner=learner,
        store=task.store,
        observer=task.observer,
        position=position,
        checkpoint=checkpoint.url if checkpoint else "",
    )


def _common_checkpoint(task: RankTask) -> Checkpoint | None:
    """Return the newest readable checkpoint.

    Raises:
        ResumeError: the ranks do not see the same one.
    """
    checkpoint = latest_checkpoint(task.store)
    steps = task.world.gather([checkpoint.state.step if checkpoint else -1.0])[:, 0]
    if (steps != steps[0]).any():
        seen = ", ".join(f"rank {rank}: {int(step)}" for rank, step in enumerate(steps))
        msg = (
            f"expected all ranks to see the same checkpoints in {task.store.url!r}, found newest "
            f"steps {seen}; give a run.dir that all nodes share, such as s3://bucket/run"
        )
        raise ResumeError(msg)
    return checkpoint


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
    detector = replace(DETECTORS[manifest.detector], field=manifest.field)
    return build_network(recipe.model, FeatureStatistics(statistics), detector, prior)


PLANNED_BY = ("layout", "buckets", "row_budget", "micro_batches", "window_mb")
"""What of the stream section decides which events come when; the rest may change on resume."""


def _check_resume(recipe: Recipe, index: DatasetIndex, checkpoint: Checkpoint) -> None:
    """Refuse to continue another run: other data, another model, another order of events."""
    state = checkpoint.state
    if state.dataset != index.digest:
        msg = (
            f"expected dataset {state.dataset} as in checkpoint {checkpoint.url!r}, found "
            f"{index.digest} at {recipe.data.url!r}; resume on the dataset the run began with"
        )
        raise ResumeError(msg)
    before = Recipe.model_validate_json(state.recipe)
    for name in ("model", "loss"):
        old, new = getattr(before, name), getattr(recipe, name)
        if old != new:
            raise ResumeError(f"expected {name} as in the checkpoint: {old!r}, found {new!r}")
    for name in PLANNED_BY:
        old, new = getattr(before.stream, name), getattr(recipe.stream, name)
        if old != new:
            msg = f"expected stream.{name} = {old!r} as in the checkpoint, found {new!r}"
            raise ResumeError(msg)
    if before.data.weights != recipe.data.weights:
        old, new = before.data.weights, recipe.data.weights
        raise ResumeError(f"expected data.weights = {old} as in the checkpoint, found {new}")
    if before.run.seed != recipe.run.seed:
        msg = f"expected run.seed {before.run.seed} as in the checkpoint, found {recipe.run.seed}"
        raise ResumeError(msg)


def _position(checkpoint: Checkpoint) -> Position:
    state = checkpoint.state
    return Position(state.step, state.epoch, state.step_in_epoch, state.events, state.seconds)


def _summarise(run: Run) -> TrainSummary:
    lines = read_journal(run.store, METRICS_FILE) if run.journal else []
    losses = [line["loss"] for line in lines if "loss" in line]
    valid = [line["valid_loss"] for line in lines if "valid_loss" in line]
    part = min(len(losses), max(3, len(losses) // 10))
    position = run.position
    return TrainSummary(
        checkpoint=run.checkpoint,
        steps=position.step,
        events=position.events,
        first_loss=_mean(losses[:part]),
        last_loss=_mean(losses[-part:]),
        valid_loss=_mean(valid[-1:]),
        events_per_second=position.events / max(position.seconds, 1e-9),
        data_wait_fraction=run.waited / max(run.worked, 1e-9),
        parameters=run.learner.network.parameter_count,
        stopped=run.stopped,
        ranks=run.learner.world.size,
        launcher=run.recipe.train.launcher,
        engine=run.recipe.engine,
    )


def _mean(values: list[float]) -> float | None:
    """Return the mean, or None where there is none."""
    mean = float(np.mean(values)) if values else math.nan
    return mean if math.isfinite(mean) else None

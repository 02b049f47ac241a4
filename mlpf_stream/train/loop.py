"""The training loop of one rank: reads top to bottom."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from mlpf_stream.columns import Split
from mlpf_stream.config import Recipe
from mlpf_stream.models.network import Network
from mlpf_stream.progress import progress
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.stream.collate import BatchShape
from mlpf_stream.stream.direct import stream_steps
from mlpf_stream.stream.planner import Planner
from mlpf_stream.stream.steps import RankPlan, Step
from mlpf_stream.train.checkpoint import TrainState, save_checkpoint
from mlpf_stream.train.journal import Journal
from mlpf_stream.train.step import train_step, valid_step


@dataclass(frozen=True, slots=True)
class Position:
    """Where training stands: the next step, counted from the start of the run and of the epoch."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    events: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """Everything the loop works on."""

    recipe: Recipe
    index: DatasetIndex
    planner: Planner
    network: Network
    optimizer: torch.optim.Optimizer
    folder: Path
    position: Position
    stop_requested: Callable[[], bool]
    valid_loss: float = float("nan")
    checkpoint: Path | None = None
    waited: float = 0.0
    worked: float = 0.0
    stopped: bool = False

    @property
    def shape(self) -> BatchShape:
        """The fixed shape of every batch."""
        return BatchShape(self.recipe.stream.row_budget, self.recipe.model.block)


def run_training(run: Run, journal: Journal) -> None:
    """Train until the recipe's last step, or until a stop is requested.

    Raises:
        NonFiniteLossError: names the step and its events; checkpoints before it stay.
    """
    config = run.recipe.train
    if run.position.step >= config.steps:
        return
    begun, before = time.perf_counter(), run.position.seconds
    with (
        closing(_all_steps(run)) as steps,
        progress(config.steps, "step", "train", done=run.position.step) as bar,
    ):
        for step in _timed(steps, run):
            number = run.position.step
            metrics = train_step(run.network, run.optimizer, step, number, config, run.recipe.loss)
            run.worked = time.perf_counter() - begun
            run.position = _advance(run.position, step, before + run.worked)
            journal.keys(number, step.epoch, step.keys, whole=config.log_keys)
            if number % config.log_every == 0:
                journal.metrics(number, {"epoch": step.epoch, **asdict(metrics)})
            bar.update()
            bar.set_postfix(loss=f"{metrics.loss:.4f}", refresh=False)
            _after_step(run, journal)
            if run.stopped or run.position.step >= config.steps:
                return


def _after_step(run: Run, journal: Journal) -> None:
    """Validate and checkpoint when due; a requested stop checkpoints at once."""
    config, done = run.recipe.train, run.position.step
    last = done >= config.steps
    run.stopped = run.stop_requested() and not last
    if last or done % config.valid_every == 0:
        run.valid_loss = validate(run)
        journal.metrics(done - 1, {"epoch": run.position.epoch, "valid_loss": run.valid_loss})
    if last or run.stopped or done % config.checkpoint_every == 0:
        journal.flush()
        run.checkpoint = save_checkpoint(
            run.folder, run.network, run.optimizer, _state(run), config.keep_checkpoints
        )


def validate(run: Run) -> float:
    """Return the loss over (at most `valid_events` of) split valid; NaN without such events."""
    if not run.index.in_split("valid").any():
        return float("nan")
    run.network.eval()
    totals, rows, particles, events = [0.0, 0.0, 0.0], 0, 0, 0
    with closing(_epoch_steps(run, "valid", 0, 0)) as steps:
        for step in steps:
            for i, value in enumerate(valid_step(run.network, step, run.recipe.loss)):
                totals[i] += value
            rows += step.rows_of_step
            particles += step.particles_of_step
            events += len(step.keys)
            if events >= run.recipe.train.valid_events:
                break
    run.network.train()
    weights = run.recipe.loss
    per_particle = weights.charge * totals[1] + weights.regression * totals[2]
    return weights.classification * totals[0] / max(rows, 1) + per_particle / max(particles, 1)


def _all_steps(run: Run) -> Generator[Step, None, None]:
    """Yield steps epoch after epoch, from the run's position on."""
    epoch, start = run.position.epoch, run.position.step_in_epoch
    while True:
        yield from _epoch_steps(run, "train", epoch, start)
        epoch, start = epoch + 1, 0


def _epoch_steps(run: Run, split: Split, epoch: int, start: int) -> Generator[Step, None, None]:
    """Yield the steps of one epoch from step `start` on."""
    stream = run.recipe.stream
    rank = RankPlan(run.planner.plan(split, epoch), range(stream.micro_batches), start)
    return stream_steps(run.index, rank, run.shape, read_ahead=stream.read_ahead)


def _advance(position: Position, step: Step, seconds: float) -> Position:
    """Return the position after a step; the end of an epoch is found by the next plan."""
    same = step.epoch == position.epoch
    return Position(
        step=position.step + 1,
        epoch=step.epoch,
        step_in_epoch=(position.step_in_epoch if same else 0) + 1,
        events=position.events + len(step.keys),
        seconds=seconds,
    )


def _timed(steps: Iterator[Step], run: Run) -> Iterator[Step]:
    """Pass steps through, adding up the time spent waiting for them."""
    while True:
        before = time.perf_counter()
        step = next(steps)
        run.waited += time.perf_counter() - before
        yield step


def _state(run: Run) -> TrainState:
    position = run.position
    return TrainState(
        step=position.step,
        epoch=position.epoch,
        step_in_epoch=position.step_in_epoch,
        events=position.events,
        seconds=position.seconds,
        recipe=run.recipe.model_dump_json(),
        dataset=run.index.digest,
    )

"""The training loop of one rank: reads top to bottom."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field

from mlpf_stream.config import Recipe
from mlpf_stream.models.artifact import parameter_digest
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.storage import Store
from mlpf_stream.stream.collate import BatchShape
from mlpf_stream.stream.planner import Planner
from mlpf_stream.stream.rank_plan import RankPlan, route
from mlpf_stream.stream.steps import Step, stream_steps
from mlpf_stream.stream.window import WindowReader
from mlpf_stream.train.checkpoint import TrainState, save_checkpoint
from mlpf_stream.train.journal import Journal
from mlpf_stream.train.observer import Observer
from mlpf_stream.train.step import Learner, train_step, valid_step


@dataclass(frozen=True, slots=True)
class Position:
    """Where training stands: the next step, counted from the start of the run and of the epoch."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    events: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Tally:
    """Sums over the steps since the last line of timing.jsonl, over all ranks; rank 0's clock."""

    events: int = 0
    rows: int = 0
    computed_rows: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """Everything the loop works on; only rank 0 has a journal."""

    recipe: Recipe
    index: DatasetIndex
    planner: Planner
    read: WindowReader
    learner: Learner
    store: Store
    observer: Observer
    position: Position
    journal: Journal | None = None
    checkpoint: str = ""
    waited: float = 0.0
    worked: float = 0.0
    stopped: bool = False
    tally: Tally = field(default_factory=Tally)
    valid_steps: list[Step] = field(default_factory=list)

    @property
    def shape(self) -> BatchShape:
        """The fixed shape of every batch."""
        return BatchShape(self.recipe.stream.row_budget, self.recipe.model.block)


def run_training(run: Run) -> None:
    """Train until the recipe's last step, or until a stop is requested.

    Raises:
        NonFiniteLossError: names the step and its events; checkpoints before it stay.
        TrainingError: the ranks do not hold the same parameters any more.
    """
    config = run.recipe.train
    before, last = run.position.seconds, time.perf_counter()
    with closing(_train_steps(run)) as steps:
        for step in _timed(steps, run):
            number = run.position.step
            metrics = train_step(run.learner, step, number)
            now = time.perf_counter()
            _count(run.tally, step, now - last)
            run.worked, last = run.worked + now - last, now
            run.position = _advance(run.position, step, before + run.worked)
            if run.journal:
                run.journal.keys(number, step.epoch, step.keys, whole=config.log_keys)
            if number % config.log_every == 0:
                _log(run, {"epoch": step.epoch, **asdict(metrics)})
            run.observer.step_done(run.position.step, metrics.loss)
            _after_step(run, metrics.loss)
            if run.stopped:
                return


def _log(run: Run, metrics: dict[str, float | int | str]) -> None:
    """Write the metrics of the step just done, and the timing since the last line of it."""
    if run.journal:
        run.journal.metrics(run.position.step - 1, metrics)
    _log_timing(run)


def _log_timing(run: Run) -> None:
    """Write the timing since the last such line, if any step was done since."""
    if run.journal and run.tally.events:
        run.journal.timing(run.position.step - 1, asdict(run.tally))
    run.tally = Tally()


def _after_step(run: Run, loss: float) -> None:
    """Validate and checkpoint when due; a requested stop checkpoints at once."""
    config, done = run.recipe.train, run.position.step
    last = done >= config.steps
    run.stopped = run.learner.world.any(run.observer.stop_requested()) and not last
    if last or done % config.valid_every == 0:
        valid_loss = validate(run)
        if run.journal:
            line = {"epoch": run.position.epoch, "valid_loss": valid_loss}
            run.journal.metrics(done - 1, line)
    if last or run.stopped or done % config.checkpoint_every == 0:
        commit(run)
        run.observer.checkpoint_done(run.checkpoint, done, loss)


def commit(run: Run) -> None:
    """Write a checkpoint: rank 0 writes it, after all ranks have shown the same parameters."""
    network, world = run.learner.network, run.learner.world
    world.check_same(parameter_digest(network), f"parameters after step {run.position.step}")
    _log_timing(run)
    if run.journal:
        run.journal.flush()
        run.checkpoint = save_checkpoint(
            run.store,
            network,
            run.learner.optimizer,
            _state(run),
            run.recipe.train.keep_checkpoints,
        )


def validate(run: Run) -> float:
    """Return the loss over (at most `valid_events` of) split valid; NaN without such events.

    The steps are read once and kept, up to `valid_cache_mb`.
    """
    if not run.index.in_split("valid").any():
        return float("nan")
    network, world = run.learner.network, run.learner.world
    network.eval()
    totals, rows, particles = [0.0, 0.0, 0.0], 0, 0
    with closing(_valid_steps(run)) as steps:
        for step in steps:
            totals = [a + b for a, b in zip(totals, valid_step(run.learner, step), strict=True)]
            rows += step.rows_of_step
            particles += step.particles_of_step
    network.train()
    classification, charge, regression = world.sum(totals)
    weights = run.learner.weights
    per_particle = weights.charge * charge + weights.regression * regression
    return weights.classification * classification / max(rows, 1) + per_particle / max(particles, 1)


def _train_steps(run: Run) -> Generator[Step, None, None]:
    """Yield steps epoch after epoch, from the run's position to the recipe's last step."""
    here, left = run.position, run.recipe.train.steps - run.position.step

    def plans() -> Iterator[RankPlan]:
        def plan_of(epoch: int) -> RankPlan:
            return run.planner.rank_plan("train", epoch)

        return route(plan_of, here.epoch, here.step_in_epoch, left)

    return stream_steps(run.read, run.index, plans, run.shape)


def _valid_steps(run: Run) -> Generator[Step, None, None]:
    """Yield the first steps of split valid that hold `valid_events` events."""
    if run.valid_steps:
        yield from run.valid_steps
        return
    config = run.recipe.train
    whole = run.planner.rank_plan("valid", 0)
    steps, events = 0, 0
    while steps < whole.plan.steps and events < config.valid_events:
        events += len(whole.plan.step_events(steps))
        steps += 1

    def plans() -> Iterator[RankPlan]:
        return route(lambda _: whole, 0, 0, steps)

    kept: list[Step] = []
    room = config.valid_cache_mb * 1e6
    for step in stream_steps(run.read, run.index, plans, run.shape):
        yield step
        room -= sum(batch.nbytes for batch in step.batches)
        kept = [*kept, step] if room > 0 else []
    run.valid_steps = kept if room > 0 else []


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


def _count(tally: Tally, step: Step, seconds: float) -> None:
    tally.events += len(step.keys)
    tally.rows += step.rows_of_step
    tally.computed_rows += step.computed_rows_of_step
    tally.seconds += seconds


def _timed(steps: Iterator[Step], run: Run) -> Iterator[Step]:
    """Pass steps through, adding up the time spent waiting for them."""
    while True:
        before = time.perf_counter()
        step = next(steps, None)
        waited = time.perf_counter() - before
        run.waited += waited
        run.tally.wait_seconds += waited
        if step is None:
            return
        yield step


def _state(run: Run) -> TrainState:
    position = run.position
    return TrainState(
        step=position.step,
        epoch=position.epoch,
        step_in_epoch=position.step_in_epoch,
        events=position.events,
        seconds=position.seconds,
        ranks=run.learner.world.size,
        recipe=run.recipe.model_dump_json(),
        dataset=run.index.digest,
        version=run.index.manifest.version,
    )

"""A rank inside a worker of Ray Train: where its data come from, whom it tells, how it fails."""

import json
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlpf_stream.config import Recipe
from mlpf_stream.device import open_device
from mlpf_stream.errors import MissingExtraError, MlpfError, error_tree
from mlpf_stream.shards.index import DatasetIndex, open_dataset
from mlpf_stream.storage import Store, open_store
from mlpf_stream.stream.direct import DirectReader
from mlpf_stream.stream.window import WindowReader
from mlpf_stream.train.rank import RankTask, run_rank
from mlpf_stream.train.world import World

try:
    import ray
    import ray.train
    from ray.exceptions import RayError

    from mlpf_stream.ray_cluster import typed_cause
    from mlpf_stream.stream.ray_data import RayDataReader
except ImportError as error:
    raise MissingExtraError("ray[train,data]", "ray") from error

DATASET: Final = "train"
"""The name under which Ray Train knows the data; the plan, not a Dataset, says what they are."""
FAILURE_FILE: Final = "failure.json"
"""Written by a rank whose error another try would only repeat."""
STATISTICS_FOLDER: Final = "ray_data"
"""Ray Data's operator statistics, one folder per rank."""
POINTER_FILE: Final = "pointer.json"
"""What Ray Train keeps of a checkpoint: where the run keeps the checkpoint itself."""


class PlannedData(ray.train.DataConfig):
    """Hands every rank the means to read its own part of the plan, instead of a share of rows.

    Ray Train asks at each start of the ranks, with their number at that time. The stream itself
    begins in the rank, when it knows its checkpoint.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self._recipe = recipe

    def configure(
        self, datasets: dict[str, Any], world_size: int, *_: object, **__: object
    ) -> list[dict[str, Any]]:
        """Return a planned shard for each rank under the name of the dataset."""
        return [dict.fromkeys(datasets, PlannedShard(self._recipe)) for _ in range(world_size)]


class Statistics:
    """Ray Data's operator statistics of one rank: gathered, and written as one object per flush.

    The readers of training and validation add to it from threads of their own.
    """

    def __init__(self, run: Store, rank: int) -> None:
        self._run = run
        self._folder = f"{STATISTICS_FOLDER}/rank-{rank:04d}"
        self._texts: list[str] = []
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Note the statistics of one segment."""
        with self._lock:
            self._texts.append(f"{text}\n")

    def flush(self) -> None:
        """Write what was noted since the last flush."""
        with self._lock:
            texts, self._texts = self._texts, []
        if texts:
            self._run.write(f"{self._folder}/{time.time_ns()}.txt", "".join(texts).encode())


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """What `ray.train.get_dataset_shard` gives a rank."""

    recipe: Recipe

    def reader(self, index: DatasetIndex, statistics: Statistics) -> WindowReader:
        """Return the engine of the recipe; Ray Data's says how it went."""
        if self.recipe.engine == "direct":
            return DirectReader(index.store, index.kinds, self.recipe.stream.read_ahead)
        mode = index.manifest.mode
        return RayDataReader(self.recipe.data.url, mode, self.recipe.ray, statistics.add)


def ray_rank(config: dict[str, Any]) -> None:
    """Run one rank: what Ray Train calls in each worker, again after each loss of a rank."""
    shard: PlannedShard = ray.train.get_dataset_shard(DATASET)
    recipe = shard.recipe
    run = open_store(recipe.run.dir)
    if run.exists(FAILURE_FILE):
        return  # the command line reads it and raises; another try would only repeat it
    context = ray.train.get_context()
    device = open_device(recipe.train.device)
    world = World(context.get_world_rank(), context.get_world_size(), device)
    index = open_dataset(open_store(recipe.data.url), recipe.data.version)
    statistics = Statistics(run, world.rank)
    task = RankTask(
        recipe=recipe,
        store=run,
        index=index,
        world=world,
        read=shard.reader(index, statistics),
        observer=RayObserver(config["conductor"], statistics, world.rank),
        threads=recipe.train.threads or max(1, int(recipe.ray.cpus_per_rank)),
        # A rank that Ray Train started anew finds the checkpoints of the ranks before it; a fresh
        # run has none, the command line made sure of that.
        resume=True,
    )
    try:
        run_rank(task)
    except MlpfError as error:
        if not error.retryable:
            run.write(FAILURE_FILE, json.dumps(error_tree(error)).encode())
        raise


@ray.remote
class Conductor:
    """Carries word between the command line and the ranks."""

    def __init__(self) -> None:
        self._stop = False
        self._latest = (0, 0.0)
        self._news: list[str] = []

    def stop(self) -> None:
        """Ask the ranks to checkpoint and end."""
        self._stop = True

    def stopping(self) -> bool:
        """Return whether somebody asked."""
        return self._stop

    def report(self, steps: int, loss: float) -> None:
        """Note how far the ranks are."""
        self._latest = (steps, loss)

    def latest(self) -> tuple[int, float]:
        """Return steps done and the loss of the last one."""
        return self._latest

    def tell(self, text: str) -> None:
        """Note something that a person shall read."""
        self._news.append(text)

    def news(self) -> list[str]:
        """Return what was told since the last time."""
        told, self._news = self._news, []
        return told


class LossReporter(ray.train.UserCallback):
    """Tells the conductor of lost ranks; Ray Train calls it in its controller."""

    def __init__(self, conductor: Any) -> None:  # noqa: ANN401 - Ray's handles have no type
        self._conductor = conductor

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:  # noqa: ANN401, ARG002
        """Say which ranks ended and why, in one line each."""
        for rank, error in sorted(worker_exceptions.items()):
            why = typed_cause(error) or getattr(error, "cause", None) or error
            first = next(iter(str(why).strip().splitlines()), "")
            self._conductor.tell.remote(f"rank {rank} ended: {type(why).__name__}: {first}")


class RayObserver:
    """Watches a rank: rank 0 exchanges word with the conductor about twice a second."""

    INTERVAL = 0.5

    def __init__(self, conductor: Any, statistics: Statistics, rank: int) -> None:  # noqa: ANN401
        self._conductor = conductor
        self._statistics = statistics
        self._rank = rank
        self._next = 0.0
        self._asked: Any = None
        self._stop = False

    def stop_requested(self) -> bool:
        """Return whether the conductor was asked to stop, as far as its answer is here."""
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            with suppress(RayError):  # a lost conductor comes back; it must not end a rank
                self._stop = self._stop or ray.get(self._asked)
            self._asked = None
        return self._stop

    def step_done(self, steps: int, loss: float) -> None:
        """Report now and then."""
        now = time.monotonic()
        if self._rank == 0 and now >= self._next:
            self._next = now + self.INTERVAL
            self._conductor.report.remote(steps, loss)
            if self._asked is None:
                self._asked = self._conductor.stopping.remote()

    def checkpoint_done(self, url: str, steps: int, loss: float) -> None:
        """Tell Ray Train where the checkpoint lies, by a pointer: only rank 0 has one to give."""
        self._statistics.flush()
        if self._rank:
            ray.train.report({"steps": steps, "loss": loss})
            return
        self._conductor.report.remote(steps, loss)
        with tempfile.TemporaryDirectory() as folder:
            pointer = json.dumps({"checkpoint": url, "steps": steps})
            (Path(folder) / POINTER_FILE).write_text(pointer, encoding="utf-8")
            checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report({"steps": steps, "loss": loss}, checkpoint=checkpoint)

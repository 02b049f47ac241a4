"""Launcher `ray`: Ray Train starts the ranks, Ray Data feeds them, lost ranks are replaced.

Checkpoints are the run's own, under `run.dir`: a rank resumes from the newest one that is whole,
whether Ray Train restarted it or a person did. Ray Train is told of each, where it lies.
"""

import json
import logging
import os
import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any

from mlpf_stream.config import Recipe
from mlpf_stream.device import collective_backend, wants_accelerator
from mlpf_stream.errors import DeviceError, MissingExtraError, MlpfError
from mlpf_stream.shards.index import DatasetIndex, open_dataset
from mlpf_stream.storage import open_store
from mlpf_stream.storage.arrow import arrow_place
from mlpf_stream.train.capacity import Demand
from mlpf_stream.train.observer import Console
from mlpf_stream.train.rank import SUMMARY_FILE, TrainSummary
from mlpf_stream.train.ray_cluster import cluster, offered_accelerators, wait_for_capacity
from mlpf_stream.train.ray_rank import (
    DATASET,
    FAILURE_FILE,
    STATISTICS_FOLDER,
    Conductor,
    LossReporter,
    PlannedData,
    ray_rank,
)

try:
    import ray
    import ray.data
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer
except ImportError as error:
    raise MissingExtraError("ray[train,data]", "ray") from error

log = logging.getLogger(__name__)

# Ray Train looks after its ranks, and takes one report from each, once per this many seconds.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")


def launch_ray(recipe: Recipe) -> TrainSummary:
    """Train with Ray, from the newest checkpoint if there is one; return rank 0's summary.

    Raises:
        DeviceError: no cluster, or one that cannot take all ranks and readers at once.
        MlpfError: what ended the ranks for good.
    """
    recipe = _with_absolute_paths(recipe)
    run = open_store(recipe.run.dir)
    index = open_dataset(open_store(recipe.data.url))
    for name in (FAILURE_FILE, SUMMARY_FILE, *run.list(STATISTICS_FOLDER)):
        run.delete(name)
    with cluster(recipe.ray), Console(recipe.train.steps).watching() as console:
        accelerated = wants_accelerator(
            recipe.train.device, recipe.train.ranks, offered_accelerators()
        )
        wait_for_capacity(recipe.ray, _demand(recipe, index, accelerated=accelerated))
        conductor = Conductor.options(num_cpus=0).remote()  # type: ignore[attr-defined]
        trainer = _trainer(recipe, conductor, accelerated=accelerated)
        with ThreadPoolExecutor(1, "mlpf-ray-train") as pool:
            _conduct(pool.submit(trainer.fit), conductor, console)
    return TrainSummary(**json.loads(run.read(SUMMARY_FILE)))


def _with_absolute_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with paths that mean the same in every process."""

    def absolute(url: str) -> str:
        return url if "://" in url else str(Path(url).absolute())

    return recipe.model_copy(
        update={
            "run": recipe.run.model_copy(update={"dir": absolute(recipe.run.dir)}),
            "data": recipe.data.model_copy(update={"url": absolute(recipe.data.url)}),
        }
    )


def _demand(recipe: Recipe, index: DatasetIndex, *, accelerated: bool) -> Demand:
    """Return what the run needs of a cluster."""
    through_ray = recipe.engine == "ray"
    sizes = [place.entry.bytes for place in index.packs]
    window = max(int(recipe.stream.window_mb * 1e6), max(sizes, default=0))
    # Two segments, and the two windows that the rank looks at; no epoch is larger than the data.
    windows = (2 * recipe.ray.segment_windows + 2) * min(window, sum(sizes))
    return Demand(
        ranks=recipe.train.ranks,
        cpus_per_rank=recipe.ray.cpus_per_rank,
        reader_cpus=recipe.ray.readers * recipe.ray.reader_cpus * through_ray,
        gpus_per_rank=int(accelerated),
        store_bytes=windows // recipe.train.ranks * through_ray,
    )


def _trainer(recipe: Recipe, conductor: Any, *, accelerated: bool) -> TorchTrainer:  # noqa: ANN401
    system, path = arrow_place(f"{recipe.run.dir}/ray_train")
    resources = {"CPU": recipe.ray.cpus_per_rank} | ({"GPU": 1.0} if accelerated else {})
    return TorchTrainer(
        ray_rank,
        train_loop_config={"recipe": recipe.model_dump_json(), "conductor": conductor},
        torch_config=TorchConfig(backend=collective_backend(accelerated=accelerated)),
        scaling_config=ray.train.ScalingConfig(
            num_workers=recipe.train.ranks, use_gpu=accelerated, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            name=f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}",
            storage_path=path,
            storage_filesystem=system,
            failure_config=ray.train.FailureConfig(max_failures=recipe.ray.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            callbacks=[LossReporter(conductor)],  # type: ignore[list-item]  # of both versions
        ),
        # Ray Train asks the data config about a dataset by its name; the plan is the data.
        datasets={DATASET: ray.data.from_items([0])},
        dataset_config=PlannedData(recipe),
    )


def _conduct(fit: "Future[Any]", conductor: Any, console: Console) -> None:  # noqa: ANN401
    """Show progress and pass on a request to stop until training ends.

    Raises:
        MlpfError: what ended the ranks for good.
    """
    told, ended = False, False
    while not ended:
        try:
            fit.result(timeout=0.3)
            ended = True
        except NotYet:
            if console.stop_requested() and not told:
                conductor.stop.remote()
                told = True
        except ray.train.TrainingFailedError as error:
            raise _cause(error) from error
        for text in ray.get(conductor.news.remote()):
            log.warning("%s", text)
        steps, loss = ray.get(conductor.latest.remote())
        if steps:
            console.step_done(steps, loss)


def _cause(error: Exception) -> MlpfError:
    """Return the typed error of a rank, its own before those of the neighbours it left alone."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        at: BaseException | None = failure
        while at is not None:
            if isinstance(at, MlpfError):
                return at
            at = getattr(at, "cause", None) or at.__cause__
    ranks = "; ".join(f"rank {rank}: {failure}" for rank, failure in failures.items()) or str(error)
    return DeviceError(
        f"expected the ranks to stay alive, found them lost more often than ray.max_failures: "
        f"{ranks}; look for memory and node problems, then go on with --resume"
    )

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
from mlpf_stream.device import collective_backend, rank_device, wants_accelerator
from mlpf_stream.errors import DeviceError, MissingExtraError, MlpfError, error_from_tree
from mlpf_stream.ray_cluster import cluster, typed_cause
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.storage import open_store
from mlpf_stream.storage.arrow import arrow_place
from mlpf_stream.stream.planner import mixing_weights
from mlpf_stream.train.capacity import demand_of
from mlpf_stream.train.observer import Console
from mlpf_stream.train.rank import SUMMARY_FILE, TrainSummary
from mlpf_stream.train.ray_cluster import offered_accelerators, wait_for_capacity
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

RAY_TRAIN_FOLDER = "ray_train"
"""What Ray Train writes of its own below a run, anew at each start."""

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
    index = open_dataset(open_store(recipe.data.url), recipe.data.version)
    mixing_weights(index, recipe.data.weights)  # refused here, before anything starts
    old = (*run.list(STATISTICS_FOLDER), *run.list(RAY_TRAIN_FOLDER))
    for name in (FAILURE_FILE, SUMMARY_FILE, *old):
        run.delete(name)
    with cluster(recipe.ray), Console(recipe.train.steps).watching() as console:
        accelerated = wants_accelerator(
            recipe.train.device, recipe.train.ranks, offered_accelerators()
        )
        packs = [place.entry.bytes for place in index.packs]
        wait_for_capacity(recipe.ray, demand_of(recipe, packs, accelerated=accelerated))
        _fit(recipe, console, accelerated=accelerated)
    if run.exists(FAILURE_FILE):
        raise error_from_tree(json.loads(run.read(FAILURE_FILE)))
    return TrainSummary(**json.loads(run.read(SUMMARY_FILE)))


def _fit(recipe: Recipe, console: Console, *, accelerated: bool) -> None:
    """Let Ray Train run the ranks in a thread, while this one watches and may leave.

    Raises:
        DeviceError: ranks were lost too often.
        MlpfError: what a rank met.
    """
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    conductor = Conductor.options(**options).remote()  # type: ignore[attr-defined]
    trainer = _trainer(recipe, conductor, accelerated=accelerated)
    pool = ThreadPoolExecutor(1, "mlpf-ray-train")
    try:
        _conduct(pool.submit(trainer.fit), conductor, console)
    except ray.train.TrainingFailedError as error:
        if not open_store(recipe.run.dir).exists(FAILURE_FILE):
            raise _cause(error) from error
    finally:
        # Not waited for: whoever leaves early ends the cluster, and with it the thread.
        pool.shutdown(wait=False)


def _with_absolute_paths(recipe: Recipe) -> Recipe:
    """Return the recipe with paths that mean the same in every process."""

    def absolute(url: str) -> str:
        return url if "://" in url else str(Path(url).absolute())

    recipe = recipe.changed("run", dir=absolute(recipe.run.dir))
    return recipe.changed("data", url=absolute(recipe.data.url))


def _trainer(recipe: Recipe, conductor: Any, *, accelerated: bool) -> TorchTrainer:  # noqa: ANN401
    system, path = arrow_place(f"{recipe.run.dir}/{RAY_TRAIN_FOLDER}")
    recipe = recipe.changed("train", device=rank_device(accelerated=accelerated))
    resources = {"CPU": recipe.ray.cpus_per_rank} | ({"GPU": 1.0} if accelerated else {})
    return TorchTrainer(
        ray_rank,
        train_loop_config={"conductor": conductor},
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
    """Show progress and pass on a request to stop until training ends."""
    ended = False
    while not ended:
        try:
            fit.result(timeout=0.3)
            ended = True
        except NotYet:
            if console.stop_requested():
                conductor.stop.remote()
        for text in ray.get(conductor.news.remote()):
            log.warning("%s", text)
        steps, loss = ray.get(conductor.latest.remote())
        if steps:
            console.step_done(steps, loss)


def _cause(error: Exception) -> MlpfError:
    """Return the typed error of a rank, its own before those of the neighbours it left alone."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        if typed := typed_cause(failure):
            return typed
    ranks = "; ".join(f"rank {rank}: {failure}" for rank, failure in failures.items()) or str(error)
    return DeviceError(
        f"expected the ranks to stay alive, found them lost more often than ray.max_failures: "
        f"{ranks}; look for memory and node problems, then go on with --resume"
    )

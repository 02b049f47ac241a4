"""Start a run: refuse what cannot work, hand it to its launcher, write down how it ended."""

import json

from mlpf_stream.config import Recipe
from mlpf_stream.device import open_device
from mlpf_stream.errors import ConfigError, MlpfError
from mlpf_stream.infer.checkpoint import list_checkpoints
from mlpf_stream.shards.index import newest_version, open_dataset
from mlpf_stream.storage import Store, open_store
from mlpf_stream.stream.direct import DirectReader
from mlpf_stream.train.checkpoint import begun_version
from mlpf_stream.train.observer import Console
from mlpf_stream.train.rank import RankTask, TrainSummary, run_rank
from mlpf_stream.train.world import World

OUTCOME_FILE = "outcome.json"
STOPPED = 143
"""Exit code of a run that was asked to stop and did, after a checkpoint."""


def train(recipe: Recipe, *, resume: bool = False) -> TrainSummary:
    """Train as the recipe says; write checkpoints, journal and outcome under `run.dir`.

    Raises:
        ConfigError: the folder holds a run already, or the recipe and the dataset do not fit.
        DeviceError: the device or the cluster cannot take the run.
        ResumeError: the checkpoint belongs to another recipe or dataset.
        TrainingError: training failed; `outcome.json` tells whether trying again may help.
    """
    store = open_store(recipe.run.dir)
    if not resume and list_checkpoints(store):
        msg = f"expected no run in {store.url!r}, found one; give --resume, or another run.dir"
        raise ConfigError(msg)
    store.delete(OUTCOME_FILE)
    try:
        summary = _launch(_pinned(recipe, store, resume=resume), store, resume=resume)
    except MlpfError as error:
        _write_outcome(store, error.exit_code, retryable=error.retryable, message=str(error))
        raise
    code = STOPPED if summary.stopped else 0
    _write_outcome(store, code, retryable=summary.stopped, message="stopped" if code else "done")
    return summary


def _pinned(recipe: Recipe, run: Store, *, resume: bool) -> Recipe:
    """Return the recipe with the version of the dataset that the run reads to its end.

    That is the one it began with, else the one asked for, else the newest.
    """
    if recipe.data.version is not None:
        return recipe
    begun = begun_version(run) if resume else None
    return recipe.changed("data", version=begun or newest_version(open_store(recipe.data.url)))


def _launch(recipe: Recipe, store: Store, *, resume: bool) -> TrainSummary:
    if recipe.train.launcher == "ray":
        from mlpf_stream.train.ray_launch import launch_ray  # noqa: PLC0415 - only Ray jobs need Ray

        return launch_ray(recipe)
    index = open_dataset(open_store(recipe.data.url), recipe.data.version)
    with Console(recipe.train.steps).watching() as console:
        return run_rank(
            RankTask(
                recipe=recipe,
                store=store,
                index=index,
                world=World(device=open_device(recipe.train.device)),
                read=DirectReader(index.store, index.kinds, recipe.stream.read_ahead),
                observer=console,
                threads=recipe.train.threads,
                resume=resume,
            )
        )


def _write_outcome(store: Store, code: int, *, retryable: bool, message: str) -> None:
    outcome = {"code": code, "retryable": retryable, "message": message}
    store.write(OUTCOME_FILE, json.dumps(outcome).encode() + b"\n")

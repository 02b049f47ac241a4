"""The tasks of a conversion as Ray Data jobs: on this machine or on a cluster.

A task is a row; Ray Data runs one per CPU, starts it again where a worker or a node was lost, and
hands back what it says. Shards go from the worker to the store: the driver sees only receipts.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from mlpf_stream.config import RayConfig
from mlpf_stream.convert.launcher import Launcher
from mlpf_stream.errors import DeviceError, MissingExtraError
from mlpf_stream.ray_cluster import cluster, typed_cause

try:
    import ray
    import ray.data
    from ray.exceptions import RayError
except ImportError as error:
    raise MissingExtraError("ray[train,data]", "ray") from error

STORE_MB = 100
"""Shared memory of a Ray of our own [MB]: tasks and receipts are small."""


@contextmanager
def open_ray(workers: int | None, address: str) -> Iterator[Launcher]:
    """Connect to a cluster, or start one of our own that ends with the context.

    Raises:
        DeviceError: no cluster answers at that address.
    """
    config = RayConfig(address=address, cpus=workers or 0, object_store_mb=STORE_MB)
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # our own bar says how far it is
    with cluster(config):
        cpus = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
        yield RayLauncher(workers or max(1, int(cpus)))


class RayLauncher:
    """Does tasks as a Ray Data job, `workers` at a time."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def results(
        self, work: Callable[[str], str], items: Sequence[str]
    ) -> Iterator[tuple[int, str]]:
        """Yield the number and the result of every task as they come.

        Raises:
            MlpfError: what a task met. DeviceError: Ray lost tasks and could not do them again.
        """
        if not items:
            return
        rows = [{"number": number, "task": text} for number, text in enumerate(items)]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        context = dataset.context
        context.enable_progress_bars = False
        context.raise_original_map_exception = True
        done = dataset.map_batches(
            do_tasks,  # type: ignore[arg-type]  # Ray's types know no keyword arguments
            fn_kwargs={"work": work},
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=min(self._workers, len(rows))),
        )
        try:
            for batch in done.iter_batches(batch_size=None, batch_format="pyarrow"):
                table: pa.Table = batch
                numbers, results = table["number"].to_pylist(), table["result"].to_pylist()
                yield from zip(numbers, results, strict=True)
        except RayError as error:
            raise typed_cause(error) or DeviceError(
                f"expected Ray Data to do all tasks, found {type(error).__name__}: {error}; look "
                "at the cluster ('ray status'), then run it again: it goes on where it was"
            ) from error


def do_tasks(table: pa.Table, work: Callable[[str], str]) -> pa.Table:
    """Do the tasks of a block: what Ray Data runs, on any node."""
    results = [work(text) for text in table["task"].to_pylist()]
    return pa.table({"number": table["number"], "result": pa.array(results, pa.large_string())})

"""The Ray engine: Ray Data's tasks read the windows, the object store hands them to the rank.

The requests of a rank are cut into segments of a few windows. Ray Data executes one segment as a
Dataset of one row per window (window descriptor in, verified unpadded events out as one binary
row), while the rank consumes the segment before it. A segment always fits into the object store, so
Ray Data never has to hold finished tasks back: its scheduling loop spins while it does
(docs/decisions/0007).

Tasks ask for `reader_cpus` CPUs, by default none, and nothing here starts a metadata task: ranks
may fill the cluster and the stream still runs.
"""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from mlpf_stream.columns import MODE_KINDS, Mode
from mlpf_stream.config import RayConfig
from mlpf_stream.errors import DeviceError, MissingExtraError, MlpfError
from mlpf_stream.ray_cluster import typed_cause
from mlpf_stream.shards.pack import decode_pack, encode_pack
from mlpf_stream.storage import Store, open_store
from mlpf_stream.stream.window import Window, WindowRequest, read_window

try:
    import ray
    import ray.data
    from ray.exceptions import RayError
except ImportError as error:
    raise MissingExtraError("ray", "ray") from error


@dataclass(frozen=True, slots=True)
class RayDataReader:
    """Reads windows of the dataset at `url` through Ray Data.

    `record` is given Ray Data's own operator statistics of each segment, as text.
    """

    url: str
    mode: Mode
    config: RayConfig
    record: Callable[[str], None]

    def __call__(self, requests: Iterable[WindowRequest]) -> Generator[Window, None, None]:
        """Yield the requested windows, in order.

        Raises:
            ShardError: a pack's bytes differ from what the index promises.
            MissingDataError: a shard is not there.
            DeviceError: Ray lost the data and could not read it again.
        """
        waiting = segments(requests, self.config.segment_windows)
        with ThreadPoolExecutor(1, "mlpf-ray-data") as pool:
            following = pool.submit(self._execute, next(waiting, ()))
            while blocks := following.result():
                following = pool.submit(self._execute, next(waiting, ()))
                while blocks:
                    yield self._open(blocks.pop(0))

    def _execute(self, segment: tuple[WindowRequest, ...]) -> list["ray.ObjectRef[Any]"]:
        """Let Ray Data read the windows of a segment; return their blocks, one per window."""
        if not segment:
            return []
        rows = [{"request": request.encode()} for request in segment]
        # from_items starts no task, where from_arrow would start one CPU each to ask for metadata.
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        context = dataset.context
        context.execution_options.preserve_order = True
        context.target_max_block_size = None
        context.enable_progress_bars = False
        context.raise_original_map_exception = True
        windows = dataset.map_batches(
            read_windows,  # type: ignore[arg-type]  # Ray's types know no keyword arguments
            fn_kwargs={"url": self.url, "mode": self.mode},
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=self.config.reader_cpus,
            compute=ray.data.TaskPoolStrategy(size=min(self.config.readers, len(rows))),
        )
        try:
            done = windows.materialize()
            self.record(done.stats())
            bundles = done.iter_internal_ref_bundles()
            return [block for bundle in bundles for block in bundle.block_refs]
        except RayError as error:
            raise _lost(error) from error

    def _open(self, block: "ray.ObjectRef[Any]") -> Window:
        """Return a window as views of the object store."""
        try:
            table: pa.Table = ray.get(block)
        except RayError as error:
            raise _lost(error) from error
        row = table.slice(0, 1)
        data = row["data"].chunk(0)[0].as_buffer()
        events = decode_pack(data, MODE_KINDS[self.mode])
        return Window(row["epoch"][0].as_py(), row["window"][0].as_py(), events)


def read_windows(table: pa.Table, url: str, mode: Mode) -> pa.Table:
    """Read the windows of a block of requests: what a task of Ray Data does, on any node."""
    kinds = MODE_KINDS[mode]
    requests = [WindowRequest.decode(text) for text in table["request"].to_pylist()]
    data = [encode_pack(read_window(_store(url), kinds, r), kinds).to_pybytes() for r in requests]
    return pa.table(
        {
            "epoch": pa.array([request.epoch for request in requests], pa.int64()),
            "window": pa.array([request.number for request in requests], pa.int64()),
            "data": pa.array(data, pa.large_binary()),
        }
    )


def segments(
    requests: Iterable[WindowRequest], largest: int
) -> Iterator[tuple[WindowRequest, ...]]:
    """Cut requests into segments of 1, 2, 4 ... `largest` windows: the first window comes soon."""
    arriving, size = iter(requests), 1
    while segment := tuple(islice(arriving, size)):
        yield segment
        size = min(2 * size, largest)


@functools.lru_cache(maxsize=4)
def _store(url: str) -> Store:
    """Keep the connection of a worker process between tasks."""
    return open_store(url)


def _lost(error: RayError) -> MlpfError:
    """Return the typed error that a task raised, else what Ray has to say."""
    return typed_cause(error) or DeviceError(
        f"expected Ray Data to read the planned windows, found {type(error).__name__}: {error}; "
        "look at the cluster ('ray status'), then start again with --resume"
    )

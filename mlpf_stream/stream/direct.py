"""The direct engine: a thread of the rank itself reads windows ahead of their use."""

import queue
import threading
from collections.abc import Generator, Iterator

from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.shards.reader import read_pack
from mlpf_stream.stream.collate import BatchShape
from mlpf_stream.stream.steps import RankPlan, Step, Window, assemble


def stream_steps(
    index: DatasetIndex, rank: RankPlan, shape: BatchShape, *, read_ahead: int
) -> Generator[Step, None, None]:
    """Yield the steps of one rank, reading at most `read_ahead` windows ahead (0: none)."""
    windows = _windows(index, rank)
    if read_ahead:
        windows = _ahead(windows, read_ahead)
    yield from assemble(windows, index, rank, shape)


def _windows(index: DatasetIndex, rank: RankPlan) -> Iterator[Window]:
    """Read the windows that the remaining steps need, in plan order, every byte verified."""
    plan = rank.plan
    for number in range(rank.first_window, plan.windows):
        packs = {int(pack): read_pack(index, int(pack)) for pack in plan.window_packs(number)}
        yield Window(number, packs)


def _ahead(windows: Iterator[Window], depth: int) -> Iterator[Window]:
    """Run an iterator in a thread; its error is raised where the window was due."""
    ready: queue.Queue[Window | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: Window | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for window in windows:
                put(window)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, raised there
            put(error)

    thread = threading.Thread(target=work, name="mlpf-read-ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()

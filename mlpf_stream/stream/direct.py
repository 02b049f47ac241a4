"""The direct engine: a thread of the rank itself reads windows ahead of their use."""

import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlpf_stream.columns import ElementKind
from mlpf_stream.storage import Store
from mlpf_stream.stream.window import Window, WindowRequest, read_window


@dataclass(frozen=True, slots=True)
class DirectReader:
    """Reads windows in this process, at most `read_ahead` of them ahead of their use (0: none)."""

    store: Store
    kinds: Sequence[ElementKind]
    read_ahead: int

    def __call__(self, requests: Iterable[WindowRequest]) -> Generator[Window, None, None]:
        """Yield the requested windows, in order.

        Raises:
            ShardError: a pack's bytes differ from what the index promises.
            MissingDataError: a shard is not there.
        """
        windows = self._read(requests)
        yield from _ahead(windows, self.read_ahead) if self.read_ahead else windows

    def _read(self, requests: Iterable[WindowRequest]) -> Iterator[Window]:
        for request in requests:
            events = read_window(self.store, self.kinds, request)
            yield Window(request.epoch, request.number, events)


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

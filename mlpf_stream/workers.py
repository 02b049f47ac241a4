"""Work spread over processes, a bounded number of items ahead of the use of their results.

`in_order` keeps the order of the items; a `Pool` gives results as they come, and lasts for several
rounds of work.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from mlpf_stream.errors import DeviceError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Generator[Result, None, None]:
    """Yield `work(item)` for every item, in order; with one worker in this very process.

    One item more than there are workers is under way, so memory stays bounded.

    Raises:
        DeviceError: the system ended a worker.
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    with _processes(min(workers, len(items))) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Pool:
    """Does work in processes that stay; with one worker in this very process."""

    def __init__(self, processes: ProcessPoolExecutor | None, workers: int) -> None:
        self._processes = processes
        self._workers = workers

    def results(
        self, work: Callable[[Item], Result], items: Sequence[Item]
    ) -> Generator[tuple[int, Result], None, None]:
        """Yield the number and `work(item)` of every item, as they come.

        One item more than there are workers is under way, so memory stays bounded.
        """
        if self._processes is None:
            yield from ((number, work(item)) for number, item in enumerate(items))
            return
        running: dict[Future[Result], int] = {}
        for number, item in enumerate(items):
            running[self._processes.submit(work, item)] = number
            if len(running) > self._workers:
                yield from _finished(running)
        while running:
            yield from _finished(running)


@contextmanager
def open_pool(workers: int) -> Iterator[Pool]:
    """Start `workers` processes; end them, and drop what they have not begun, on leaving.

    Raises:
        DeviceError: the system ended a worker.
    """
    if workers <= 1:
        yield Pool(None, 1)
        return
    with _processes(workers) as processes:
        yield Pool(processes, workers)


def _finished(running: dict[Future[Result], int]) -> Iterator[tuple[int, Result]]:
    """Wait for some results; take them out of `running`."""
    done = wait(running, return_when=FIRST_COMPLETED).done
    yield from [(running.pop(future), future.result()) for future in done]


@contextmanager
def _processes(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of fresh processes; one that the system ended is a `DeviceError`."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _die_with_parent) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            msg = (
                f"expected {workers} workers at work, found that the system ended one of them "
                "(out of memory?); use fewer --workers, or run it again"
            )
            raise DeviceError(msg) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _die_with_parent() -> None:
    """End this worker when its parent is killed, which the pool itself does not."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="mlpf-watch-parent", daemon=True).start()

"""Work spread over processes: results in order, a bounded number of them ahead of their use."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(items)), context, _die_with_parent) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
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

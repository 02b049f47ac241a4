"""Who watches a run: shows its progress, hears of its checkpoints, and may ask it to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from mlpf_stream.progress import progress


class Observer(Protocol):
    """What the loop tells the outside, and the one thing it asks."""

    def stop_requested(self) -> bool:
        """Return whether the run shall checkpoint and end; asked after every step."""
        ...

    def step_done(self, steps: int, loss: float) -> None:
        """Hear that `steps` steps are done since the run began."""
        ...

    def checkpoint_done(self, url: str, steps: int, loss: float) -> None:
        """Hear that a checkpoint is committed; all ranks are told."""
        ...


class Console:
    """Watches a run: a bar on stderr; SIGTERM, or one Ctrl-C, as the request to stop."""

    def __init__(self, steps: int) -> None:
        self._asked: list[int] = []
        self._bar = progress(steps, "step", "train")

    def stop_requested(self) -> bool:
        """Return whether a signal came."""
        return bool(self._asked)

    def step_done(self, steps: int, loss: float) -> None:
        """Move the bar."""
        if not self._bar.n:
            # Neither what a resumed run has behind it, nor the time it took to start, is speed.
            self._bar.initial = self._bar.n = steps - 1
            self._bar.unpause()
        self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        self._bar.update(steps - self._bar.n)

    def checkpoint_done(self, url: str, steps: int, loss: float) -> None:
        """Need nothing: the checkpoint speaks for itself."""

    @contextmanager
    def watching(self) -> Iterator["Console"]:
        """Catch signals instead of dying of them, and keep the bar, for as long as this is open.

        Raises:
            KeyboardInterrupt: at the second Ctrl-C.
        """
        before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            with self._bar:
                yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        """Note the request; the loop checkpoints and ends."""
        if number == signal.SIGINT and self._asked:
            raise KeyboardInterrupt
        self._asked.append(number)

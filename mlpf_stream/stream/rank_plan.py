"""One rank's part of an epoch's plan: which events of which window it needs, in order of use."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mlpf_stream.event import I64
from mlpf_stream.stream.plan import Plan


@dataclass(frozen=True)
class RankPlan:
    """The micro-batches of a plan that one rank computes, from step `start` to before `stop`.

    A window holds, for this rank, the events that its micro-batches take from it and no others, in
    the order of their use.
    """

    plan: Plan
    micro_batches: range
    start: int = 0
    stop: int | None = None

    @property
    def end(self) -> int:
        """First step that is not done any more."""
        return self.plan.steps if self.stop is None else self.stop

    @cached_property
    def positions(self) -> I64:
        """Places in `plan.events` of this rank's events, by window, then by use."""
        g = self.plan.spec.micro_batches
        micro = np.arange(len(self.plan.micro_offsets) - 1)
        own_M = (
            (micro // g >= self.start)
            & (micro // g < self.end)
            & (micro % g >= self.micro_batches.start)
            & (micro % g < self.micro_batches.stop)
        )
        own = np.flatnonzero(np.repeat(own_M, np.diff(self.plan.micro_offsets)))
        return own[np.argsort(self.plan.event_window[own], kind="stable")].astype(np.int64)

    @cached_property
    def windows(self) -> I64:
        """Windows that hold an event of this rank, ascending."""
        return np.unique(self.plan.event_window[self.positions]).astype(np.int64)

    @cached_property
    def _window_starts(self) -> I64:
        """Where each of `windows`, and the end, lies in `positions`."""
        window = self.plan.event_window[self.positions]
        return np.append(np.searchsorted(window, self.windows), len(window)).astype(np.int64)

    @cached_property
    def _places(self) -> I64:
        """Number inside its window of each event of the plan; -1 where it is another rank's."""
        places = np.full(len(self.plan.events), -1, np.int64)
        sizes = np.diff(self._window_starts)
        first = np.repeat(self._window_starts[:-1], sizes)
        places[self.positions] = np.arange(len(self.positions)) - first
        return places

    def window_events(self, window: int) -> I64:
        """Return the events (numbers into the index) that this rank needs of a window."""
        number = int(np.searchsorted(self.windows, window))
        own = self.positions[self._window_starts[number] : self._window_starts[number + 1]]
        return self.plan.events[own]

    def sources(self, step: int, number: int) -> tuple[I64, I64]:
        """Return window and place inside it of each event of a micro-batch, in row order."""
        m = step * self.plan.spec.micro_batches + number
        run = slice(int(self.plan.micro_offsets[m]), int(self.plan.micro_offsets[m + 1]))
        return self.plan.event_window[run], self._places[run]


def route(
    plan_of: Callable[[int], RankPlan], epoch: int, start: int, steps: int
) -> Iterator[RankPlan]:
    """Yield the rank's plans epoch after epoch, from a position on, for `steps` steps in all."""
    while steps > 0:
        whole = plan_of(epoch)
        count = min(whole.plan.steps - start, steps)
        if count > 0:
            yield replace(whole, start=start, stop=start + count)
        steps, epoch, start = steps - count, epoch + 1, 0

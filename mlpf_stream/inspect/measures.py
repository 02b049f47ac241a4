"""What is measured for the gates: parts of a whole per event, or single values with their event.

Both come chunk by chunk and are joined, so that a terabyte is judged in little memory.
Shape letters: E events, N values, B resamplings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.event import F64, I64, Bool
from mlpf_stream.physics.response import Sample, summarise

RESAMPLINGS: Final = 100
SEED: Final = 20260101
"""Resamplings of events that give the errors, and their seed: same data, same verdict."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its standard error, how many entries it rests on, and of how many events."""

    value: float
    error: float
    entries: int
    events: int


@dataclass(frozen=True, slots=True)
class Share:
    """Sums per event, (E,): a part, the whole it belongs to, and how many entries made them."""

    part_E: F64
    whole_E: F64
    entries_E: I64

    @property
    def events(self) -> int:
        """Number of events E."""
        return len(self.part_E)

    def mean(self, draws_BE: I64) -> Estimate:
        """Return part / whole over all events.

        The error is that of resampling events, and at least the binomial one with an entry more
        on either side: that all of a few entries agree is no proof without doubt.
        """
        whole, entries = float(self.whole_E.sum()), int(self.entries_E.sum())
        used = int((self.entries_E > 0).sum())
        if not entries or whole <= 0:
            return Estimate(np.nan, np.nan, entries, used)
        value = float(self.part_E.sum()) / whole
        whole_B = draws_BE @ self.whole_E
        some_B = whole_B > 0
        error = float(((draws_BE @ self.part_E)[some_B] / whole_B[some_B]).std())
        if 0 <= value <= 1:
            likely = (value * entries + 1) / (entries + 2)
            error = max(error, float(np.sqrt(likely * (1 - likely) / (entries + 3))))
        return Estimate(value, error, entries, used)


@dataclass(frozen=True, slots=True)
class Values:
    """Single values and the event that each belongs to, (N,), of `events` events."""

    value_N: F64
    event_N: I64
    events: int

    def median(self, draws_BE: I64) -> Estimate:
        """Return the median."""
        found = summarise(self._sample(), draws_BE)
        return Estimate(found.median, found.median_error, found.count, self._used)

    def iqr(self, draws_BE: I64) -> Estimate:
        """Return q75 - q25."""
        found = summarise(self._sample(), draws_BE)
        return Estimate(found.iqr, found.iqr_error, found.count, self._used)

    @property
    def _used(self) -> int:
        return len(np.unique(self.event_N))

    def _sample(self) -> Sample:
        return Sample(self.value_N, self.event_N, np.ones(self.events, np.int64))


Measure = Share | Values | Estimate
"""An estimate is a measure that is complete: it cannot be joined."""


def share(marked_N: Bool, event_N: I64, events: int, weight_N: F64 | None = None) -> Share:
    """Return which part of some entries is marked, by number or by weight."""
    weights = np.ones(len(marked_N)) if weight_N is None else weight_N.astype(np.float64)
    return Share(
        np.bincount(event_N, weights * marked_N, events).astype(np.float64),
        np.bincount(event_N, weights, events).astype(np.float64),
        np.bincount(event_N, minlength=events).astype(np.int64),
    )


def quotient(part_N: I64, whole_N: I64, events: int) -> Share:
    """Return how many entries of one sort there are per entry of another, by their events."""
    whole_E = np.bincount(whole_N, minlength=events)
    part_E = np.bincount(part_N, minlength=events).astype(np.float64)
    return Share(part_E, whole_E.astype(np.float64), whole_E.astype(np.int64))


def join(parts: Sequence[Mapping[str, Measure]]) -> dict[str, Measure]:
    """Join the measures of chunks; the events of a chunk follow those of the chunks before it.

    Every chunk has the same measures.
    """
    joined: dict[str, Measure] = {}
    for name in parts[0] if parts else ():
        measures = [part[name] for part in parts]
        shares = [one for one in measures if isinstance(one, Share)]
        values = [one for one in measures if isinstance(one, Values)]
        joined[name] = _join_shares(shares) if shares else _join_values(values)
    return joined


def _join_shares(parts: Sequence[Share]) -> Share:
    return Share(
        np.concatenate([part.part_E for part in parts]),
        np.concatenate([part.whole_E for part in parts]),
        np.concatenate([part.entries_E for part in parts]),
    )


def _join_values(parts: Sequence[Values]) -> Values:
    starts = np.concatenate([[0], np.cumsum([part.events for part in parts])]).astype(np.int64)
    events = [part.event_N + start for part, start in zip(parts, starts[:-1], strict=True)]
    values = np.concatenate([part.value_N for part in parts])
    return Values(values, np.concatenate(events), int(starts[-1]))

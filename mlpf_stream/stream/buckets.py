"""Length buckets: optimal edges, and filling fixed-size micro-batches from windows of events.

Pure arrays, no randomness: the same lengths in the same order give the same micro-batches.

Letters: E planned events, M micro-batches, K buckets, D distinct lengths, B events of a full
micro-batch, L padded length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlpf_stream.event import I64, gather_index, offsets_of


@dataclass(frozen=True, slots=True)
class Filling:
    """Events of an epoch in micro-batches.

    Micro-batch `m` holds the entries `order[offsets[m]:offsets[m + 1]]`: places in the sequence
    (E,) that was filled. It leaves in window `window[m]`, which does not decrease, and is padded to
    `length[m]` (0: not padded).
    """

    order: I64
    offsets: I64
    window: I64
    length: I64

    def reordered(self, order: I64) -> "Filling":
        """Return the micro-batches numbered `order`, in that order."""
        entries, offsets = gather_index(self.offsets, order)
        return Filling(self.order[entries], offsets, self.window[order], self.length[order])

    def filled_up(self, multiple: int, length: int) -> "Filling":
        """Add empty micro-batches of padded `length`, in the last window, to a whole `multiple`."""
        missing = np.ones(-len(self.window) % multiple, np.int64)
        return Filling(
            self.order,
            np.concatenate([self.offsets, self.offsets[-1] * missing]),
            np.concatenate([self.window, self.window[-1] * missing]),
            np.concatenate([self.length, length * missing]),
        )


def optimal_edges(lengths: I64 | Sequence[int], buckets: int) -> tuple[int, ...]:
    """Return the at most `buckets` ascending edges that pad the given lengths least.

    An event belongs to the smallest edge that is not below its length, so the last edge is the
    largest length. The edges minimise the sum over all events of (edge - length); an event of
    length 0 counts as one of length 1, so that every edge is positive.

    Source: least-cost partition of a sorted sequence into K runs by dynamic programming over the
    D distinct lengths. The cost is Monge, so the best cut moves monotonically and a layer takes
    O(D log D) by divide and conquer: Galil and Park, "Dynamic programming with convexity,
    concavity and sparsity" (1992).
    """
    distinct, counts = np.unique(np.maximum(lengths, 1), return_counts=True)
    if len(distinct) <= buckets:
        return tuple(distinct.tolist())
    # cost[j]: rows of the j shortest distinct lengths when padded by the buckets so far. The real
    # rows are a constant of the problem, so the padded total is minimised in place of the padding.
    ends = offsets_of(counts)
    tops = np.concatenate([np.zeros(1, np.int64), distinct])
    cost = tops * ends
    cuts = []
    for _ in range(buckets - 1):
        cost, cut = _add_bucket(cost, tops, ends)
        cuts.append(cut)
    at, edges = len(distinct), [int(distinct[-1])]
    for cut in reversed(cuts):
        at = int(cut[at])
        edges.append(int(tops[at]))
    return tuple(sorted(set(edges)))


def _add_bucket(cost: I64, tops: I64, ends: I64) -> tuple[I64, I64]:
    """Return the cost of each prefix with one bucket more, and where that bucket begins.

    new[j] = min over i <= j of cost[i] + tops[j] * (ends[j] - ends[i]), and the smallest best i
    does not decrease with j. So a round solves every second unsolved j between the answers of its
    solved neighbours; all j of a round together cost O(D).
    """
    last = len(cost) - 1
    best = np.zeros_like(cost)
    stride = 1 << (last.bit_length() - 1)
    while stride:
        j = np.arange(stride, last + 1, 2 * stride, dtype=np.int64)
        low, above = best[j - stride], j + stride
        high = np.minimum(np.where(above <= last, best[np.minimum(above, last)], j), j)
        tries = offsets_of(high - low + 1)
        row = np.repeat(np.arange(len(j)), np.diff(tries))
        i = np.arange(tries[-1]) - tries[row] + low[row]
        value = cost[i] - tops[j][row] * ends[i]
        least = np.flatnonzero(value == np.minimum.reduceat(value, tries[:-1])[row])
        best[j] = i[least[np.searchsorted(least, tries[:-1])]]
        stride //= 2
    return cost[best] + tops * (ends - ends[best]), best


def fill_buckets(lengths: I64, window: I64, edges: Sequence[int], row_budget: int) -> Filling:
    """Cut events into micro-batches of one bucket each.

    `lengths` and `window` (E,) are in shuffled order, windows ascending. A micro-batch of edge L
    is full with B = `row_budget` // L events. At the end of each window the buckets are visited
    once, from the smallest edge to the largest. The queue of a bucket is, in this order: events
    promoted from the bucket below; events carried from the window before; events of this window.

    1. As many full micro-batches as possible leave from the front of the queue.
    2. What remains of this window is carried to the next window.
    3. What remains of the window before is promoted to the queue of the next larger bucket.
    4. In the largest bucket, if anything of the window before remains, all of the queue leaves in
       one micro-batch with empty slots.

    In the last window everything that remains counts as of the window before. So a micro-batch
    holds events of its window and of the one before only, and only the largest bucket has empty
    slots.
    """
    filler = _Filler(edges, row_budget)
    windows = int(window[-1]) + 1 if len(window) else 0
    bucket = np.searchsorted(np.asarray(edges, np.int64), np.maximum(lengths, 1))
    group = window * len(edges) + bucket
    order = np.argsort(group, kind="stable")
    places = np.searchsorted(group[order], np.arange(windows * len(edges) + 1))
    cuts = places.tolist()
    for number in range(windows):
        at = number * len(edges)
        fresh = [order[cuts[at + k] : cuts[at + k + 1]] for k in range(len(edges))]
        filler.take_window(number, fresh, last=number == windows - 1)
    return filler.filling()


class _Filler:
    """The queues of all buckets while windows go by."""

    def __init__(self, edges: Sequence[int], row_budget: int) -> None:
        self._edges = list(edges)
        self._full = [row_budget // edge for edge in edges]
        self._carried: list[I64] = [np.zeros(0, np.int64) for _ in edges]
        self._order: list[I64] = []
        # (micro-batches, events of each, edge, window) of each entry of _order
        self._runs: list[tuple[int, int, int, int]] = []

    def take_window(self, number: int, fresh: Sequence[I64], *, last: bool) -> None:
        """Apply the rules of `fill_buckets` at the end of one window; `fresh` is by bucket."""
        promoted = np.zeros(0, np.int64)
        for k, full in enumerate(self._full):
            queue = np.concatenate([promoted, self._carried[k], fresh[k]])
            due = len(queue) if last else len(promoted) + len(self._carried[k])
            count = len(queue) // full
            self._emit(queue[: count * full], count, k, number)
            rest, late = queue[count * full :], max(due - count * full, 0)
            if late and k == len(self._edges) - 1:
                self._emit(rest, 1, k, number)
                rest, late = rest[:0], 0
            promoted, self._carried[k] = rest[:late], rest[late:]

    def _emit(self, events: I64, count: int, k: int, number: int) -> None:
        if count:
            self._order.append(events)
            self._runs.append((count, len(events) // count, self._edges[k], number))

    def filling(self) -> Filling:
        """Return all micro-batches that were emitted."""
        runs = np.array(self._runs, np.int64).reshape(-1, 4)
        _, size, length, window = np.repeat(runs, runs[:, 0], axis=0).T
        order = np.concatenate(self._order) if self._order else np.zeros(0, np.int64)
        return Filling(order, offsets_of(size), window, length)

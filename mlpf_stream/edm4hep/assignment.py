"""Which element each visible particle sits on: exclusive, in descending energy.

Rows count over all events; the elements of one event are seen by its own particles only, so one
pass serves all events. The cost is that of a few passes over the pairs and one step per particle.
Shape letters: N MC rows, V visible particles in the order of service, K pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import CLUSTER, ElementKind
from mlpf_stream.event import F64, I64, Bool

MIN_TRACK_WEIGHT: Final = 0.2
"""Least share of a track that makes a particle visible, and that the track can host."""
MIN_DEPOSIT_SHARE: Final = 0.1
"""Least share of a particle's own deposit in a cluster that can host it, its best one apart.

The published definition has no such limit; without it a neighbour's crumb hosts a particle whose
energy is elsewhere. A shower has hundreds of hits: there it is a share of its largest deposit.
"""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Contributions of particle rows to element rows: share of a track, or GeV of cluster or hit.

    Pairs are unique and sorted by particle, then element.
    """

    particle_K: I64
    element_K: I64
    value_K: F64

    def where(self, keep_K: Bool) -> "Pairs":
        """Return some of the pairs."""
        return Pairs(self.particle_K[keep_K], self.element_K[keep_K], self.value_K[keep_K])

    def largest(self, elements: int) -> I64:
        """Return the particle with the largest contribution to every element, -1 for none.

        Of equal contributions that of the smallest particle row is taken.
        """
        best = np.full(elements, -np.inf)
        np.maximum.at(best, self.element_K, self.value_K)
        first_K = np.flatnonzero(self.value_K == best[self.element_K])[::-1]
        particle = np.full(elements, -1, np.int64)
        particle[self.element_K[first_K]] = self.particle_K[first_K]
        return particle


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where every visible particle went.

    `track_V` and `deposit_V` (a cluster or a hit) are the hosting rows or -1, never both; `into_V`
    is, for a particle without a host, the position among the visible particles of the owner of its
    best cluster or hit, into which it merges, or -1 where it is dropped.
    """

    track_V: I64
    deposit_V: I64
    into_V: I64


def assign(visible_V: I64, tracks: Pairs, deposits: Pairs, kind: ElementKind) -> Hosts:
    """Give each particle its best free track, else its best free element of `kind`.

    `visible_V` are particle rows in the order of service: by event, then by falling energy.

    Source: jpata/particleflow key4hep post-processing, exclusive assignment.
    """
    hosting = tracks.where(tracks.value_K >= MIN_TRACK_WEIGHT)
    track_V, _ = _serve(_Queue(visible_V, hosting))
    waiting = np.flatnonzero(track_V < 0)
    queue = _Queue(visible_V[waiting], deposits.where(_can_host(deposits, kind)))
    deposit_V, into_V = np.full_like(track_V, -1), np.full_like(track_V, -1)
    deposit_V[waiting], into = _serve(queue)
    into_V[waiting] = np.where(into >= 0, waiting[into], -1)
    return Hosts(track_V, deposit_V, into_V)


def _can_host(deposits: Pairs, kind: ElementKind) -> Bool:
    """Return the pairs whose element can host: a fair share of the deposit, or the best."""
    rows = int(deposits.particle_K.max(initial=-1)) + 1
    best_N = np.zeros(rows)
    np.maximum.at(best_N, deposits.particle_K, deposits.value_K)
    least_N = MIN_DEPOSIT_SHARE * best_N
    if kind is CLUSTER:
        own_N = np.bincount(deposits.particle_K, weights=deposits.value_K, minlength=rows)
        least_N = np.minimum(MIN_DEPOSIT_SHARE * own_N, best_N)
    can_K: Bool = (deposits.value_K >= least_N[deposits.particle_K]) & (deposits.value_K > 0)
    return can_K


class _Queue:
    """Particles in the order of service, and the elements that each would take, best first.

    Most particles get their first choice: only of others the list is ever sorted.
    """

    def __init__(self, particle_Q: I64, pairs: Pairs) -> None:
        self.pairs = pairs
        self.begin = np.searchsorted(pairs.particle_K, particle_Q, side="left")
        self.end = np.searchsorted(pairs.particle_K, particle_Q, side="right")

    def best(self) -> list[int]:
        """Return the first choice of every particle, -1 for none."""
        spans = zip(self.begin.tolist(), self.end.tolist(), strict=True)
        return [self._best(begin, end) if end > begin else -1 for begin, end in spans]

    def _best(self, begin: int, end: int) -> int:
        """Return the element of the largest value, the first of equal ones."""
        place = begin + int(self.pairs.value_K[begin:end].argmax())
        return int(self.pairs.element_K[place])

    def choices(self, number: int) -> Iterator[int]:
        """Yield all choices of one particle, best first, then by element."""
        here = slice(self.begin[number], self.end[number])
        order = np.argsort(-self.pairs.value_K[here], kind="stable")
        yield from self.pairs.element_K[here][order].tolist()


def _serve(queue: _Queue) -> tuple[I64, I64]:
    """Return the element of every particle, and who owns the first choice of one without any."""
    best = queue.best()
    got = np.full(len(best), -1, np.int64)
    into = got.copy()
    owner: dict[int, int] = {}
    for number, first in enumerate(best):
        if first < 0:
            continue
        taken = first in owner
        free = next((x for x in queue.choices(number) if x not in owner), -1) if taken else first
        if free >= 0:
            owner[free] = number
            got[number] = free
        else:
            into[number] = owner[first]
    return got, into

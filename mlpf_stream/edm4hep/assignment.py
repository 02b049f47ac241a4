"""Which element each visible particle sits on: exclusive, in descending energy.

Rows count over all events; the elements of one event are seen by its own particles only, so one
pass serves all events. The cost is that of a few passes over the pairs and one step per particle.
Shape letters: N MC rows, V visible particles in the order of service, K pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Pairs:
    """Contributions of particle rows to element rows: share of a track, or GeV of cluster or hit.

    Pairs are unique and stand by event (`offsets`, (E + 1,)).
    """

    particle_K: I64
    element_K: I64
    value_K: F64
    offsets: I64

    @cached_property
    def sharing(self) -> I64:
        """The pairs whose element has more than one."""
        return np.flatnonzero(np.bincount(self.element_K)[self.element_K] > 1)

    def where(self, keep_K: Bool) -> "Pairs":
        """Return some of the pairs."""
        if keep_K.all():
            return self
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep_K)])
        return Pairs(
            self.particle_K[keep_K],
            self.element_K[keep_K],
            self.value_K[keep_K],
            before[self.offsets],
        )

    def largest(self, elements: int) -> I64:
        """Return the particle with the largest contribution to every element, -1 for none.

        Of equal contributions that of the smallest particle row is taken.
        """
        found = np.full(elements, -1, np.int64)
        found[self.element_K] = self.particle_K
        # Most hits belong to one particle alone: the rest is worth a sort.
        element_K, particle_K = self.element_K[self.sharing], self.particle_K[self.sharing]
        order = np.lexsort((-particle_K, self.value_K[self.sharing], element_K))
        found[element_K[order]] = particle_K[order]
        return found


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


def assign(
    visible_V: I64, event_V: I64, tracks: Pairs, deposits: Pairs, kind: ElementKind
) -> Hosts:
    """Give each particle its best free track, else its best free element of `kind`.

    `visible_V` are particle rows in the order of service: by event, then by falling energy.

    Source: jpata/particleflow key4hep post-processing, exclusive assignment.
    """
    strong = tracks.where(tracks.value_K >= MIN_TRACK_WEIGHT)
    track_V, _ = _serve(visible_V, event_V, _Choices(strong, lambda _: 0.0))
    wait = np.flatnonzero(track_V < 0)
    choices = _Choices(deposits, _least_in_cluster if kind is CLUSTER else _least_in_hit)
    deposit_V, into_V = np.full_like(track_V, -1), np.full_like(track_V, -1)
    deposit_V[wait], into = _serve(visible_V[wait], event_V[wait], choices)
    into_V[wait[into >= 0]] = wait[into[into >= 0]]
    return Hosts(track_V, deposit_V, into_V)


def _least_in_cluster(own: F64) -> float:
    """Return how much a cluster must hold of a particle with these deposits to host it."""
    return min(MIN_DEPOSIT_SHARE * float(own.sum()), float(own.max()))


def _least_in_hit(own: F64) -> float:
    """Return how much a hit must hold of a particle with these deposits to host it."""
    return MIN_DEPOSIT_SHARE * float(own.max())


class _Choices:
    """The elements that each particle would take, best first; `least` is the least value.

    Most particles get their first choice: the pairs of the others alone are ever sorted.
    """

    def __init__(self, pairs: Pairs, least: Callable[[F64], float]) -> None:
        self._pairs, self._least = pairs, least
        self._offsets: list[int] = pairs.offsets.tolist()
        self._first_N = _first_choices(pairs)

    def first(self, particle_Q: I64) -> list[int]:
        """Return the first choice of every particle, -1 for none."""
        known_Q = particle_Q < len(self._first_N)
        first_Q = np.full(len(particle_Q), -1, np.int64)
        first_Q[known_Q] = self._first_N[particle_Q[known_Q]]
        found: list[int] = first_Q.tolist()
        return found

    def others(self, particle: int, event: int) -> list[int]:
        """Return all choices of one particle, best first, then by element."""
        pairs = self._pairs
        first, last = self._offsets[event], self._offsets[event + 1]
        own = (pairs.particle_K[first:last] == particle).nonzero()[0] + first
        value_K = pairs.value_K[own]
        least = self._least(value_K)
        # A few dozen at most: Python sorts them faster than numpy starts to.
        ranked = sorted(zip((-value_K).tolist(), pairs.element_K[own].tolist(), strict=True))
        return [element for minus, element in ranked if -minus >= least and minus < 0]


def _first_choices(pairs: Pairs) -> I64:
    """Return per particle row the element of its largest value, the first of equal ones, else -1.

    It has as many rows as the largest particle row that occurs asks for.
    """
    best_N = np.zeros(int(pairs.particle_K.max(initial=-1)) + 1)
    np.maximum.at(best_N, pairs.particle_K, pairs.value_K)
    best_K = np.flatnonzero(pairs.value_K == best_N[pairs.particle_K])
    best_K = best_K[pairs.value_K[best_K] > 0]
    particle_K, element_K = pairs.particle_K[best_K], pairs.element_K[best_K]
    first_N = np.full(len(best_N), -1, np.int64)
    order = np.lexsort((-element_K, particle_K))
    first_N[particle_K[order]] = element_K[order]
    return first_N


def _serve(particle_Q: I64, event_Q: I64, choices: _Choices) -> tuple[I64, I64]:
    """Return the element of every particle, and who owns the first choice of one without any."""
    got = np.full(len(particle_Q), -1, np.int64)
    into = got.copy()
    owner: dict[int, int] = {}
    for number, first in enumerate(choices.first(particle_Q)):
        if first < 0:
            continue
        free = first
        if first in owner:
            others = choices.others(int(particle_Q[number]), int(event_Q[number]))
            free = next((element for element in others if element not in owner), -1)
        if free >= 0:
            owner[free] = number
            got[number] = free
        else:
            into[number] = owner[first]
    return got, into

"""Which element each visible particle sits on: exclusive, in descending energy.

Rows count over all events; the elements of one event are seen by its own particles only, so one
pass serves all events. The cost is that of a few passes over the pairs and one step per particle.
Shape letters: N MC rows, V visible particles in the order of service, K pairs,
Q particles that ask for an element.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from mlpf_stream.columns import CLUSTER, ElementKind
from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.edm4hep.pairs import Columns, Pairs
from mlpf_stream.event import F64, I64

MIN_TRACK_WEIGHT: Final = 0.2
"""Least share of a track that makes a particle visible, and that the track can host."""
MIN_DEPOSIT_SHARE: Final = 0.1
"""Least share of a particle's own deposit in a cluster that can host it, its best one apart.

The published definition has no such limit; without it a neighbour's crumb hosts a particle whose
energy is elsewhere. A shower has hundreds of hits: there it is a share of its largest deposit.
"""


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
    strong = tracks.where(tracks.value_K >= MIN_TRACK_WEIGHT)
    track_V, _ = _serve(visible_V, strong.columns, (0.0, 0.0))
    wait = np.flatnonzero(track_V < 0)
    deposit_V, into_V = np.full_like(track_V, -1), np.full_like(track_V, -1)
    least = (MIN_DEPOSIT_SHARE, 1.0) if kind is CLUSTER else (1.0, MIN_DEPOSIT_SHARE)
    deposit_V[wait], into = _serve(visible_V[wait], deposits.columns, least)
    into_V[wait[into >= 0]] = wait[into[into >= 0]]
    return Hosts(track_V, deposit_V, into_V)


def _serve(particle_Q: I64, pairs: Columns, least: tuple[float, float]) -> tuple[I64, I64]:
    """Return the element of every particle, and who owns the first choice of one without any.

    But for its first choice, an element that holds less of a particle than these parts of the sum
    and of the largest of its values, whichever is less, is none for it.
    """
    particles = int(max(pairs.particle_K.max(initial=-1), particle_Q.max(initial=-1))) + 1
    elements = int(pairs.element_K.max(initial=-1)) + 1
    choices = _rank(pairs, particles)
    least_N = np.minimum(least[0] * choices.sum_N, least[1] * choices.largest_N)
    owner_R = np.full(elements, -1, np.int64)
    got_Q, into_Q = _serve_all(particle_Q, pairs, choices, (least_N, owner_R))
    return got_Q, into_Q


class _Choices(NamedTuple):
    """What particle rows would take.

    The element of the largest value, the first of equal ones, -1 for none; that value; the sum of
    all; and the chain of all pairs of a particle from its last one: the pair before each, or -1.
    """

    first_N: I64
    largest_N: F64
    sum_N: F64
    last_N: I64
    before_K: I64


@compiled()
def _rank(pairs: Columns, particles: int) -> _Choices:
    """Return the choices of every particle row."""
    first_N, last_N = np.full(particles, -1, np.int64), np.full(particles, -1, np.int64)
    largest_N, sum_N = np.zeros(particles, np.float64), np.zeros(particles, np.float64)
    before_K = np.empty(len(pairs.value_K), np.int64)
    for k in range(len(pairs.value_K)):
        particle, element, value = pairs.particle_K[k], pairs.element_K[k], pairs.value_K[k]
        most = largest_N[particle]
        if value > most or (value == most and value > 0 and element < first_N[particle]):
            first_N[particle], largest_N[particle] = element, value
        sum_N[particle] += value
        before_K[k], last_N[particle] = last_N[particle], k
    return _Choices(first_N, largest_N, sum_N, last_N, before_K)


@compiled()
def _serve_all(
    particle_Q: I64, pairs: Columns, choices: _Choices, held: tuple[F64, I64]
) -> tuple[I64, I64]:
    """Serve one particle after the other; most get their first choice, the others search."""
    got_Q, into_Q = np.full_like(particle_Q, -1), np.full_like(particle_Q, -1)
    least_N, owner_R = held
    for number in range(len(particle_Q)):
        particle = particle_Q[number]
        first = choices.first_N[particle]
        if first < 0:
            continue
        free = first
        if owner_R[first] >= 0:
            free, most, k = -1, 0.0, choices.last_N[particle]
            while k >= 0:
                value, element = pairs.value_K[k], pairs.element_K[k]
                better = value > most or (value == most and free >= 0 and element < free)
                if better and value >= least_N[particle] and owner_R[element] < 0:
                    free, most = element, value
                k = choices.before_K[k]
        if free >= 0:
            owner_R[free] = number
            got_Q[number] = free
        else:
            into_Q[number] = owner_R[first]
    return got_Q, into_Q

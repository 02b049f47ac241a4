"""Which element each visible particle sits on: exclusive, in descending energy.

Rows count over all events; tracks and clusters of one event are seen by its own particles only, so
one pass serves all events.
Shape letters: V visible particles in the order of service, K pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.event import F64, I64

MIN_TRACK_WEIGHT: Final = 0.2
"""Least share of a track that makes a particle visible, and that the track can host."""
MIN_DEPOSIT_SHARE: Final = 0.1
"""Least share of a particle's own deposit in a cluster that can host it, its best one apart.

The published definition has no such limit; without it a neighbour's crumb hosts a particle whose
energy is elsewhere.
"""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Contributions of particle rows to element rows: share of a track, or GeV of a cluster."""

    particle_K: I64
    element_K: I64
    value_K: F64

    def ranked(self) -> "Pairs":
        """Return the pairs by particle, largest value first, then by element."""
        order = np.lexsort((self.element_K, -self.value_K, self.particle_K))
        return Pairs(self.particle_K[order], self.element_K[order], self.value_K[order])

    def largest(self, elements: int) -> I64:
        """Return the particle with the largest contribution to every element, -1 for none."""
        order = np.lexsort((self.particle_K, -self.value_K, self.element_K))
        element_K, particle_K = self.element_K[order], self.particle_K[order]
        first_K = np.flatnonzero(np.diff(element_K, prepend=-1))
        best = np.full(elements, -1, np.int64)
        best[element_K[first_K]] = particle_K[first_K]
        return best


@dataclass(frozen=True, slots=True)
class Hosts:
    """Where every visible particle went.

    `track_V` and `cluster_V` are the hosting rows or -1, never both; `into_V` is, for a particle
    without a host, the position among the visible particles of the owner of its best cluster, into
    which it merges, or -1 where it is dropped.
    """

    track_V: I64
    cluster_V: I64
    into_V: I64


def assign(visible_V: I64, tracks: Pairs, clusters: Pairs) -> Hosts:
    """Give each particle its best free track, else its best free cluster.

    `visible_V` are particle rows in the order of service: by event, then by falling energy.

    Source: jpata/particleflow key4hep post-processing, exclusive assignment.
    """
    track_choices = _choices(visible_V, _of_share(tracks))
    cluster_choices = _choices(visible_V, _of_deposit(clusters))
    track_V = np.full(len(visible_V), -1, np.int64)
    cluster_V, into_V = track_V.copy(), track_V.copy()
    used_tracks: set[int] = set()
    cluster_owner: dict[int, int] = {}
    for place, (track_rows, cluster_rows) in enumerate(
        zip(track_choices, cluster_choices, strict=True)
    ):
        track = next((row for row in track_rows if row not in used_tracks), None)
        if track is not None:
            used_tracks.add(track)
            track_V[place] = track
            continue
        cluster = next((row for row in cluster_rows if row not in cluster_owner), None)
        if cluster is not None:
            cluster_owner[cluster] = place
            cluster_V[place] = cluster
        elif cluster_rows:
            into_V[place] = cluster_owner[cluster_rows[0]]
    return Hosts(track_V, cluster_V, into_V)


def _of_share(tracks: Pairs) -> Pairs:
    """Return the pairs whose track can host."""
    keep_K = tracks.value_K >= MIN_TRACK_WEIGHT
    return Pairs(tracks.particle_K[keep_K], tracks.element_K[keep_K], tracks.value_K[keep_K])


def _of_deposit(clusters: Pairs) -> Pairs:
    """Return the pairs whose cluster can host: a fair share of the deposit, or the best."""
    if not len(clusters.particle_K):
        return clusters
    _, group_K = np.unique(clusters.particle_K, return_inverse=True)
    own = np.bincount(group_K, weights=clusters.value_K)
    best = np.zeros(len(own))
    np.maximum.at(best, group_K, clusters.value_K)
    enough = np.minimum(MIN_DEPOSIT_SHARE * own, best)
    keep_K = (clusters.value_K >= enough[group_K]) & (clusters.value_K > 0)
    return Pairs(clusters.particle_K[keep_K], clusters.element_K[keep_K], clusters.value_K[keep_K])


def _choices(visible_V: I64, pairs: Pairs) -> list[Sequence[int]]:
    """Return the elements of every visible particle, best first."""
    ranked = pairs.ranked()
    begin = np.searchsorted(ranked.particle_K, visible_V, side="left").tolist()
    end = np.searchsorted(ranked.particle_K, visible_V, side="right").tolist()
    elements = ranked.element_K.tolist()
    return [elements[first:last] for first, last in zip(begin, end, strict=True)]

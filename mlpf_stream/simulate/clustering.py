"""Clusters made from cells: peaks of ECAL and HCAL, joined by cones from the inside out.

Shape letters: H hits, L labelled groups of hits, C clusters of all events end to end, K
contributions of particles to clusters, S subdetectors, 3 coordinates x, y, z.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

from mlpf_stream.event import F64, I8, I64, offsets_of
from mlpf_stream.simulate.cells import Cells
from mlpf_stream.simulate.density import find_peaks
from mlpf_stream.simulate.geometry import CELL, SUBDETECTOR, YOKE

LEAST_HITS: Final = 8
LEAST_ENERGY: Final = 0.15
"""Clusters of fewer hits, or of less energy [GeV], are not kept."""
CONES: Final = np.array(
    [
        [(30.0, 0.08), (90.0, 0.22), (150.0, 0.12)],
        [(0.0, 0.0), (80.0, 0.15), (150.0, 0.12)],
    ]
)
"""A group joins one in front whose axis, the line from the origin, passes within a distance [mm],
and so much more per mm behind it; by subdetector in front (ECAL, HCAL) and of the group."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters of E events, made of hits, and who made them.

    `cluster_H` the cluster row of every hit, -1 for none. `energy_CS` [GeV] by subdetector;
    `position_C3` [mm]; `hits_C` number of hits; `offsets` of the clusters. Contribution k gave
    `energy_K` [GeV] of particle row `particle_K` (in the record of all events) to the cluster row
    `cluster_K` (of all events), which ascends; noise has no contribution.
    """

    cluster_H: I64
    energy_CS: F64
    position_C3: F64
    hits_C: I64
    offsets: I64
    cluster_K: I64
    particle_K: I64
    energy_K: F64

    @property
    def energy_C(self) -> F64:
        """Energy [GeV], shape (C,)."""
        total: F64 = self.energy_CS.sum(axis=1)
        return total


def cluster(cells: Cells) -> Clusters:
    """Return the clusters of the hits of every event, by falling energy."""
    subdetector_H = SUBDETECTOR[cells.collection_H]
    label_H, founder_L = find_peaks(cells)
    yoke = np.flatnonzero(subdetector_H == YOKE)
    label_H[yoke] = np.arange(len(founder_L), len(founder_L) + len(yoke))
    founder_L = np.concatenate([founder_L, yoke])
    event_H = np.repeat(np.arange(len(cells.offsets) - 1), np.diff(cells.offsets))
    into_L = _join(cells, label_H, founder_L, event_H)
    in_H = label_H >= 0
    label_H[in_H] = into_L[label_H[in_H]]
    return _summed(cells, label_H, event_H[founder_L])


def _join(cells: Cells, label_H: I64, founder_L: I64, event_H: I64) -> I64:
    """Return the group that every group joins: its own number, or that of one in front."""
    energy_L, centre_L3 = _centres(cells, label_H, len(founder_L))
    order = np.lexsort((np.linalg.norm(centre_L3, axis=1), event_H[founder_L]))
    event_L = event_H[founder_L[order]]
    bounds = np.searchsorted(event_L, np.arange(len(cells.offsets)))
    subdetector_L = SUBDETECTOR[cells.collection_H[founder_L]]
    return np.asarray(_cones(order, bounds, subdetector_L, energy_L, centre_L3))


def _centres(cells: Cells, label_H: I64, groups: int) -> tuple[F64, F64]:
    """Return energies [GeV], shape (L,), and centres [mm], shape (L, 3), of groups of hits."""
    inside = np.flatnonzero(label_H >= 0)
    label, weight = label_H[inside], cells.energy_H[inside]
    energy_L = np.bincount(label, weight, minlength=groups).astype(np.float64)
    moments = [
        np.bincount(label, weight * cells.position_H3[inside, axis], minlength=groups)
        for axis in range(3)
    ]
    return energy_L, np.stack(moments, axis=1) / np.maximum(energy_L, 1e-12)[:, None]


@njit(cache=True)
def _cones(order: I64, bounds: I64, subdetector_L: I8, energy_L: F64, centre_L3: F64) -> I64:
    """Join groups, from the inside out, to the one in front of them."""
    into_L = np.arange(len(order))
    for event in range(len(bounds) - 1):
        members = order[bounds[event] : bounds[event + 1]]
        for number in range(1, len(members)):
            back = members[number]
            front = _in_front(members[:number], back, subdetector_L, energy_L, centre_L3)
            if front >= 0:
                into_L[back] = into_L[front]
    return into_L


@njit(cache=True)
def _in_front(members: I64, back: int, subdetector_L: I8, energy_L: F64, centre_L3: F64) -> int:
    """Return the group among those nearer to the origin whose cone fits best, -1 for none."""
    best, found = 1.0, -1
    x, y, z = centre_L3[back]
    for front in members:
        if subdetector_L[front] == YOKE or energy_L[front] < LEAST_ENERGY:
            continue
        least, slope = CONES[subdetector_L[front], subdetector_L[back]]
        ax, ay, az = centre_L3[front]
        size = np.sqrt(ax * ax + ay * ay + az * az)
        dx, dy, dz = x - ax, y - ay, z - az
        along = (dx * ax + dy * ay + dz * az) / size
        if along <= 0.0:
            continue
        aside = np.sqrt(max(dx * dx + dy * dy + dz * dz - along * along, 0.0))
        reach = least + slope * along
        if aside < best * reach:
            best, found = aside / reach, front
    return found


def _summed(cells: Cells, label_H: I64, event_L: I64) -> Clusters:
    """Add up the hits of every group, drop small groups, order the rest by falling energy."""
    groups = len(event_L)
    inside = np.flatnonzero(label_H >= 0)
    number_L = np.bincount(label_H[inside], minlength=groups)
    energy_L, centre_L3 = _centres(cells, label_H, groups)
    kept = np.flatnonzero((number_L >= LEAST_HITS) & (energy_L >= LEAST_ENERGY))
    kept = kept[np.lexsort((-energy_L[kept], event_L[kept]))]
    count = len(kept)
    new_L = np.full(groups + 1, -1)  # the last entry serves hits without a group
    new_L[kept] = np.arange(count)
    cluster_H = new_L[label_H]
    own = np.flatnonzero(cluster_H >= 0)
    part = cluster_H[own] * len(CELL) + SUBDETECTOR[cells.collection_H[own]]
    energy_CS = np.bincount(part, cells.energy_H[own], minlength=count * len(CELL))
    counts_E = np.bincount(event_L[kept], minlength=len(cells.offsets) - 1).astype(np.int64)
    cluster_K, particle_K, energy_K = _shares(
        cluster_H[cells.hit_K], cells.particle_K, cells.energy_K, count
    )
    return Clusters(
        cluster_H=cluster_H,
        energy_CS=energy_CS.reshape(count, len(CELL)).astype(np.float64),
        position_C3=centre_L3[kept],
        hits_C=number_L[kept].astype(np.int64),
        offsets=offsets_of(counts_E),
        cluster_K=cluster_K,
        particle_K=particle_K,
        energy_K=energy_K,
    )


@njit(cache=True)
def _shares(cluster_J: I64, particle_J: I64, energy_J: F64, clusters: int) -> tuple[I64, I64, F64]:
    """Add up contributions by cluster and particle; those to no cluster are left out."""
    first = np.zeros(clusters + 1, np.int64)
    for cluster in cluster_J:
        if cluster >= 0:
            first[cluster + 1] += 1
    first = np.cumsum(first)
    fill, order = first[:-1].copy(), np.empty(first[-1], np.int64)
    for number in range(len(cluster_J)):
        if cluster_J[number] >= 0:
            order[fill[cluster_J[number]]] = number
            fill[cluster_J[number]] += 1
    cluster_K, particle_K = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    energy_K = np.zeros(len(order))
    place = np.full(particle_J.max() + 1 if len(particle_J) else 1, -1, np.int64)
    used = 0
    for cluster in range(clusters):
        begin = used
        for index in range(first[cluster], first[cluster + 1]):
            particle = particle_J[order[index]]
            if place[particle] < begin:
                place[particle] = used
                cluster_K[used], particle_K[used] = cluster, particle
                used += 1
            energy_K[place[particle]] += energy_J[order[index]]
    return cluster_K[:used], particle_K[:used], energy_K[:used]

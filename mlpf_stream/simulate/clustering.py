"""Clusters as a pattern recognition would make them: showers that lie too close become one.

Shape letters: D showers, C clusters of all events end to end, K contributions of particles to
clusters, S subdetectors, 3 coordinates x, y, z.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64, offsets_of
from mlpf_stream.simulate.calorimeter import Showers
from mlpf_stream.simulate.nearby import close_pairs

LEAST_HIT: Final = (0.004, 0.016, 0.016)
"""Least energy that a subdetector shows [GeV]: ecal, hcal, yoke.

Source: 5 % quantiles of hit energies in CLD and ILD full simulation.
"""
HITS_PER_GEV: Final = 29.0
"""Source: 28-30 stored hits per GeV of cluster energy in CLD and ILD full simulation."""
_THRESHOLD: Final = (0.10, 0.20)
_PICK_UP: Final = 0.35
_LARGEST_PICK_UP: Final = 0.4
_LEAST_PICK_UP: Final = 3.0 / HITS_PER_GEV
_PICK_UP_RANGE: Final = 300.0
"""Neighbours in this range [mm] pick up a share that falls with distance, from three hits on."""
_DEPTH_WEIGHT: Final = 0.25
"""Depth counts so much of lateral distance when showers are compared."""


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters of E events and who made them.

    `energy_CS` [GeV] by subdetector; `position_C3` [mm]; `hits_C` number of hits; `offsets` of the
    clusters. Contribution k gave `energy_K` [GeV] of particle row `particle_K` (in the record of
    all events) to the cluster row `cluster_K` (of all events); noise has no contribution.
    """

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


def cluster(
    showers: Showers, events: int, detector: Detector, random: np.random.Generator
) -> Clusters:
    """Return the clusters of the showers: those in reach of a more energetic one join it."""
    point_D3 = _flattened(showers.position_D3, detector)
    root_D = _roots(showers, point_D3, events)
    showers, root_D = _overlapped(showers, root_D, point_D3, random)
    energy_D = showers.energy_DS.sum(axis=1)
    heads, cluster_D = np.unique(root_D, return_inverse=True)
    energy_C = np.bincount(cluster_D, energy_D, minlength=len(heads))
    kept = np.flatnonzero(energy_C > random.uniform(*_THRESHOLD, len(heads)))
    order = kept[np.lexsort((-energy_C[kept], showers.event_D[heads[kept]]))]
    new_C = np.full(len(heads), -1)
    new_C[order] = np.arange(len(order))
    cluster_D = new_C[cluster_D]
    in_D = np.flatnonzero(cluster_D >= 0)
    counts = np.bincount(showers.event_D[heads[order]], minlength=events).astype(np.int64)
    return _summed(showers.rows(in_D), cluster_D[in_D], offsets_of(counts), random)


def _roots(showers: Showers, point_D3: F64, events: int) -> I64:
    """Return for every shower the one that it ends up in: nearest more energetic, repeated."""
    energy_D = showers.energy_DS.sum(axis=1)
    count = len(energy_D)
    offsets = offsets_of(np.bincount(showers.event_D, minlength=events).astype(np.int64))
    pairs = close_pairs(point_D3, showers.reach_D, offsets)
    falls_K = energy_D[pairs.first] < energy_D[pairs.second]
    child_K = np.where(falls_K, pairs.first, pairs.second)
    above_K = np.where(falls_K, pairs.second, pairs.first)
    order = np.lexsort((pairs.distance_K, child_K))
    children, nearest = np.unique(child_K[order], return_index=True)
    root_D = np.arange(count)
    root_D[children] = above_K[order][nearest]
    while True:
        higher_D = root_D[root_D]
        if np.array_equal(higher_D, root_D):
            return root_D
        root_D = higher_D


def _overlapped(
    showers: Showers, root_D: I64, point_D3: F64, random: np.random.Generator
) -> tuple[Showers, I64]:
    """Let clusters pick up the tails of wide showers beside them; energy is conserved."""
    count = len(root_D)
    events = int(showers.event_D.max(initial=-1)) + 1
    offsets = offsets_of(np.bincount(showers.event_D, minlength=events).astype(np.int64))
    pairs = close_pairs(point_D3, np.full(count, _PICK_UP_RANGE), offsets)
    donor = np.concatenate([pairs.first, pairs.second])
    taker = np.concatenate([pairs.second, pairs.first])
    distance = np.tile(pairs.distance_K, 2)
    other = (root_D[taker] == taker) & (root_D[donor] != taker) & (showers.width_D[donor] > 0)
    donor, taker, distance = donor[other], taker[other], distance[other]
    share = _PICK_UP * np.exp(-distance / showers.width_D[donor])
    share *= random.exponential(size=len(share))
    seen = share * showers.energy_DS.sum(axis=1)[donor] > _LEAST_PICK_UP
    donor, taker, share = donor[seen], taker[seen], share[seen]
    given_D = np.bincount(donor, share, minlength=count)
    shrink_D = np.minimum(1.0, _LARGEST_PICK_UP / np.maximum(given_D, 1e-9))
    picked_DS = showers.energy_DS[donor] * (share * shrink_D[donor])[:, None]
    kept_DS = showers.energy_DS * (1.0 - given_D * shrink_D)[:, None]
    middle_D3 = (showers.position_D3[donor] + showers.position_D3[taker]) / 2.0
    everything = Showers(
        np.concatenate([showers.event_D, showers.event_D[donor]]),
        np.concatenate([showers.particle_D, showers.particle_D[donor]]),
        np.concatenate([kept_DS, picked_DS]),
        np.concatenate([showers.position_D3, middle_D3]),
        np.concatenate([showers.reach_D, showers.reach_D[donor]]),
        np.concatenate([showers.width_D, np.zeros(len(donor))]),
    )
    return everything, np.concatenate([root_D, taker])


def _flattened(position_D3: F64, detector: Detector) -> F64:
    """Move points towards the face along the line to the origin: depth counts less than width."""
    size_D = np.maximum(np.linalg.norm(position_D3, axis=1), 1e-9)
    unit_D3 = position_D3 / size_D[:, None]
    across_D = np.maximum(np.hypot(unit_D3[:, 0], unit_D3[:, 1]), 1e-9)
    along_D = np.maximum(np.abs(unit_D3[:, 2]), 1e-9)
    face_D = np.minimum(detector.barrel_radius / across_D, detector.endcap_z / along_D)
    flat: F64 = unit_D3 * (face_D + _DEPTH_WEIGHT * (size_D - face_D))[:, None]
    return flat


def _seen_by_hits(energy_CS: F64) -> F64:
    """Move what is less than a hit to the subdetector with the most energy of its cluster.

    The tails of electromagnetic showers never vanish in the parametrisation, those of hadron
    showers do: without a least hit, an HCAL energy of some keV would give photons away.
    """
    main_C = energy_CS.argmax(axis=1)
    lost_CS = np.where(energy_CS < np.array(LEAST_HIT), energy_CS, 0.0)
    rows = np.arange(len(energy_CS))
    lost_CS[rows, main_C] = 0.0
    seen_CS: F64 = energy_CS - lost_CS
    seen_CS[rows, main_C] += lost_CS.sum(axis=1)
    return seen_CS


def _summed(
    showers: Showers, cluster_D: I64, offsets: I64, random: np.random.Generator
) -> Clusters:
    """Add up the showers of every cluster and of every particle in it."""
    count = int(offsets[-1])
    energy_D = showers.energy_DS.sum(axis=1)
    energy_CS = np.zeros((count, showers.energy_DS.shape[1]))
    np.add.at(energy_CS, cluster_D, showers.energy_DS)
    energy_CS = _seen_by_hits(energy_CS)
    position_C3 = np.zeros((count, 3))
    np.add.at(position_C3, cluster_D, showers.position_D3 * energy_D[:, None])
    energy_C = energy_CS.sum(axis=1)
    position_C3 /= np.maximum(energy_C, 1e-9)[:, None]
    made = np.flatnonzero(showers.particle_D >= 0)
    keys = np.stack([cluster_D[made], showers.particle_D[made]], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    energy_K: F64 = np.bincount(inverse.ravel(), energy_D[made], minlength=len(unique)).astype(
        np.float64
    )
    hits_C = 1 + random.poisson(HITS_PER_GEV * energy_C)
    return Clusters(energy_CS, position_C3, hits_C, offsets, unique[:, 0], unique[:, 1], energy_K)

"""Which clusters belong to which tracks: groups of tracks and the clusters that they explain.

`baseline` asks per event; `helix` said where the tracks reach the calorimeter.
Shape letters: T tracks of one event, C clusters of one event, 3 coordinates x, y, z.

Distances have no unit: 1 is the typical reach of a shower at its depth behind the face.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlpf_stream.event import F64
from mlpf_stream.physics.helix import Impacts

# Tuned once on the ILD file (full simulation) and 500 simulated qq and ttbar events, then frozen.
REACH_AT_FACE = 35.0
"""Lateral distance that counts as 1 at the face [mm]: cluster granularity and track precision."""
REACH_PER_DEPTH = 0.12
"""Growth of that distance with depth: opening of hadron showers."""
DEEPEST = 2500.0
"""Largest depth behind the face [mm]."""
BEFORE_FACE = 200.0
"""Clusters may lie this far before the point of impact [mm]: flat faces against a cylinder."""
LARGEST_TURN = 0.7
"""The bending behind the face is followed up to this turn [rad]: beyond it a parabola is wrong."""
PRIMARY_REACH = 2.0
"""The nearest cluster within this distance is the shower of the track."""
FRAGMENT_REACH = 2.5
"""Other clusters within this distance are its fragments while the energy allows."""
DEFICIT_REACH = 4.0
"""The same for tracks whose energy is not yet found."""
ABSORB_SIGMAS = 1.0
"""A fragment may bring the linked energy this many sigmas above the expected energy."""
DEFICIT_SIGMAS = 1.0
"""A group this many sigmas short of its expected energy looks farther for fragments."""


@dataclass(slots=True)
class Group:
    """Tracks that share showers, the clusters linked to them, and the energy balance [GeV]."""

    tracks: list[int]
    expected: float
    variance: float
    clusters: list[int] = field(default_factory=list)
    energy: float = 0.0

    @property
    def sigma(self) -> float:
        """Uncertainty of the expected calorimeter energy [GeV]."""
        return float(self.variance**0.5)

    def add(self, cluster: int, energy: float) -> None:
        """Link one more cluster."""
        self.clusters.append(cluster)
        self.energy += energy

    def merge(self, other: "Group") -> None:
        """Take over the tracks of another group."""
        self.tracks += other.tracks
        self.expected += other.expected
        self.variance += other.variance


def link_distances(impacts: Impacts, position_C3: F64) -> F64:
    """Return the distance of every cluster from the trajectory of every track.

    Args:
        impacts: of the T tracks of one event.
        position_C3: cluster centres, shape (C, 3) [mm].

    Returns:
        Distances in units of the reach at the cluster's depth, shape (T, C); infinite where the
        cluster is not behind the point of impact.
    """
    away_TC3 = position_C3[None, :, :] - impacts.point_R3[:, None, :]
    depth_TC = np.einsum("tci,ti->tc", away_TC3, impacts.direction_R3)
    ahead_TC = np.maximum(depth_TC, 0.0)
    bend_T = np.maximum(np.linalg.norm(impacts.bend_R3, axis=1), 1e-12)
    turned_TC = np.minimum(ahead_TC, LARGEST_TURN / bend_T[:, None])
    away_TC3 = away_TC3 - depth_TC[:, :, None] * impacts.direction_R3[:, None, :]
    away_TC3 -= (turned_TC**2 / 2)[:, :, None] * impacts.bend_R3[:, None, :]
    lateral_TC = np.sqrt(np.einsum("tci,tci->tc", away_TC3, away_TC3))
    inside_TC = (depth_TC > -BEFORE_FACE) & (depth_TC < DEEPEST)
    reach_TC = REACH_AT_FACE + REACH_PER_DEPTH * ahead_TC
    return np.where(inside_TC, lateral_TC / reach_TC, np.inf)


def group_showers(
    groups: Sequence[Group], distance_TC: F64, energy_C: Sequence[float], free: set[int]
) -> list[Group]:
    """Give the free clusters of one event to its tracks.

    Each track takes the nearest cluster in reach (tracks that meet in one cluster become one
    group); then fragments join nearest first while the energy allows; then groups that still lack
    energy look farther.

    Args:
        groups: one group per track, in falling momentum; those with the same cluster are merged.
        distance_TC: of `link_distances`, shape (T, C).
        energy_C: cluster energies [GeV].
        free: clusters that may be taken; what is taken is removed.

    Returns:
        The groups, each track in exactly one of them.
    """
    joined: list[Group] = []
    if not free:
        return list(groups)
    owner: dict[int, Group] = {}
    open_clusters = np.array(sorted(free), dtype=np.int64)
    for group in groups:
        distance_C = distance_TC[group.tracks[0], open_clusters]
        nearest = int(distance_C.argmin())
        cluster = int(open_clusters[nearest])
        if distance_C[nearest] > PRIMARY_REACH:
            joined.append(group)
        elif cluster in owner:
            owner[cluster].merge(group)
        else:
            group.add(cluster, energy_C[cluster])
            owner[cluster] = group
            joined.append(group)
    free.difference_update(owner)
    _absorb(joined, distance_TC, energy_C, free, FRAGMENT_REACH)
    short = [
        group for group in joined if group.energy < group.expected - DEFICIT_SIGMAS * group.sigma
    ]
    _absorb(short, distance_TC, energy_C, free, DEFICIT_REACH)
    return joined


def _absorb(
    groups: Sequence[Group],
    distance_TC: F64,
    energy_C: Sequence[float],
    free: set[int],
    reach: float,
) -> None:
    """Let groups take free clusters in reach, nearest first, while the energy allows."""
    if not free or not groups:
        return
    open_clusters = np.array(sorted(free), dtype=np.int64)
    distance_GC = np.stack([distance_TC[group.tracks].min(axis=0) for group in groups])
    distance_GC = distance_GC[:, open_clusters]
    near_G, near_C = np.nonzero(distance_GC < reach)
    order = np.argsort(distance_GC[near_G, near_C], kind="stable")
    for number, column in zip(near_G[order].tolist(), near_C[order].tolist(), strict=True):
        cluster, group = int(open_clusters[column]), groups[number]
        room = group.expected + ABSORB_SIGMAS * group.sigma - group.energy
        if cluster in free and energy_C[cluster] <= room:
            group.add(cluster, energy_C[cluster])
            free.remove(cluster)

"""Rule-based particle flow: the baseline that a network has to beat.

Elements of `Events` flow in, candidates flow out; targets are never looked at. The order of the
rules is that of classical particle flow: tracks find their showers, the energy balance decides
what else is there, and the rest is neutral.

Shape letters: R element rows, T tracks and C clusters of one event, F features, P candidates.

Source: ALEPH (NIM A360 (1995) 481), CMS (arXiv:1706.04965) and PandoraPFA (arXiv:0907.3577).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import CLASSES, CLUSTER, MOMENTUM, TRACK, Detector, ElementKind
from mlpf_stream.event import F32, F64, I64, Bool, Elements, Events, Jagged, Particles, offsets_of
from mlpf_stream.physics.helix import Impacts, track_impacts
from mlpf_stream.physics.linking import Group, group_showers, link_distances

HADRON, NEUTRAL, PHOTON, ELECTRON, MUON = (
    CLASSES.index(name)
    for name in ("charged_hadron", "neutral_hadron", "photon", "electron", "muon")
)
_FLIGHT = (*MOMENTUM[:-1], "p", "omega")
# Source: particle data group; a charged hadron is taken for a pion.
MASSES = {HADRON: 0.13957, ELECTRON: 0.000511, MUON: 0.105658}

# Tuned once on the ILD file (full simulation) and 500 simulated qq and ttbar events, then frozen.
STOCHASTIC, CONSTANT = 0.31, 0.05
"""Resolution of the linked energy: 31 % sqrt(p) and 5 % p, p in GeV."""
SURPLUS_SIGMAS = 2.0
"""Energy above the expected one by more than this is a neutral particle of its own."""
PHOTON_PURITY = 0.9
"""Share of ECAL energy above which a cluster is a photon."""
PHOTON_THRESHOLD, NEUTRAL_THRESHOLD = 0.2, 0.5
"""Least energy of neutral candidates [GeV]: below it are mostly shower fragments."""
ELECTRON_MOMENTUM = 1.0
"""Least momentum of an electron [GeV]."""
ELECTRON_BALANCE, ELECTRON_STOCHASTIC = 0.10, 0.30
"""Largest abs(E / p - 1) of an electron: the first plus the second / sqrt(p)."""
ELECTRON_HCAL = 0.05
"""Largest share of HCAL energy of an electron."""
ELECTRON_REACH = 0.5
"""An electron points at its cluster: largest distance in units of the reach."""
MUON_MOMENTUM = 2.0
"""Least momentum of a muon [GeV]: below, it does not cross the calorimeter."""
MUON_REACH = 1.0
"""Clusters within this distance of the trajectory are the deposits of a muon."""
MUON_DEPOSIT, MUON_SIGMA = 3.0, 2.0
"""What a minimum-ionising particle leaves in the calorimeter [GeV]."""
MUON_DEEP_SHARE, MUON_LARGEST_BALANCE = 0.6, 0.25
"""A muon without signal behind the HCAL: least share of HCAL energy, largest E / p."""
POOR_FREEDOM, POOR_CHI2 = 5, 20.0
"""Tracks with at most so many degrees of freedom, or chi2 / ndf above, need calorimeter support."""
POOR_REACH, POOR_SIGMAS = 1.0, 2.0
"""A poor track this many sigmas above the energy in this reach is dropped."""
TWIN_ANGLE, TWIN_CURVATURE = 0.01, 0.05
"""Tracks nearer than this in angle [rad] and relative curvature are copies of one another."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Candidates of E events and the elements that they are made of.

    `particles` the candidates; `track_P` int64 event-local index of the track used, -1 where none;
    `clusters` event-local cluster indices, one "event" of the `Jagged` per candidate. An element
    belongs to at most one candidate: a cluster with a surplus goes to the neutral candidate.
    """

    particles: Particles
    track_P: I64
    clusters: Jagged


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One candidate: class index, charge [e], columns of `MOMENTUM`, and its elements."""

    species: int
    charge: int
    momentum: tuple[float, ...]
    track: int
    clusters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Collision:
    """What the rules need of one event; `flight_T` pt, eta, sin phi, cos phi, p and omega."""

    track_TF: F32
    flight_T: Sequence[Sequence[float]]
    impacts: Impacts
    position_C3: F64
    energy_C: F64
    ecal_C: F64
    hcal_C: F64
    other_C: F64

    def share(self, part_C: F64) -> F64:
        """Return the share of a subdetector; without any subdetector energy all is ECAL."""
        total_C = self.ecal_C + self.hcal_C + self.other_C
        ecal_only = np.ones_like(part_C) if part_C is self.ecal_C else np.zeros_like(part_C)
        return np.divide(part_C, total_C, out=ecal_only, where=total_C > 0)


def reconstruct(events: Events, detector: Detector) -> Reconstruction:
    """Reconstruct the candidates of every event from its tracks and clusters.

    Args:
        events: with the element kinds "track" and "cluster"; targets are not read.
        detector: its calorimeter faces [mm]; the field is already in the features.

    Returns:
        Candidates in event order: charged groups by falling momentum, then free clusters.
    """
    found: list[_Candidate] = []
    ends = [0]
    for collision in _collisions(events, detector):
        found += _reconstruct_event(collision)
        ends.append(len(found))
    lists = [candidate.clusters for candidate in found]
    momentum_PM = np.array([candidate.momentum for candidate in found], np.float32)
    particles = Particles(
        np.array([candidate.species for candidate in found], np.int8),
        np.array([candidate.charge for candidate in found], np.int8),
        momentum_PM.reshape(-1, len(MOMENTUM)),
        np.array(ends, np.int64),
    )
    track_P = np.array([candidate.track for candidate in found], np.int64)
    cluster_Q = np.array([cluster for one in lists for cluster in one], np.int64)
    offsets = offsets_of(np.array([len(one) for one in lists], np.int64))
    return Reconstruction(particles, track_P, Jagged(cluster_Q, offsets))


def _collisions(events: Events, detector: Detector) -> list[_Collision]:
    """Cut the columns of many events into events."""
    tracks, clusters = events.elements[TRACK.name], events.elements[CLUSTER.name]
    impacts = track_impacts(tracks.x_RF, detector)
    position_R3 = np.stack([_column(CLUSTER, clusters, name) for name in "xyz"], axis=1)
    parts = [
        _column(CLUSTER, clusters, name)
        for name in ("energy", "energy_ecal", "energy_hcal", "energy_other")
    ]
    flight_R = tracks.x_RF[:, [TRACK.index(name) for name in _FLIGHT]].tolist()
    collisions = []
    for event in range(len(events)):
        track = slice(*tracks.offsets[event : event + 2])
        cluster = slice(*clusters.offsets[event : event + 2])
        energy_C, ecal_C, hcal_C, other_C = (part[cluster] for part in parts)
        collisions.append(
            _Collision(
                tracks.x_RF[track],
                flight_R[track],
                impacts.rows(track),
                position_R3[cluster],
                energy_C,
                ecal_C,
                hcal_C,
                other_C,
            )
        )
    return collisions


def _column(kind: ElementKind, elements: Elements, name: str) -> F64:
    """Return one feature in double precision, shape (R,)."""
    return elements.x_RF[:, kind.index(name)].astype(np.float64)


def _reconstruct_event(collision: _Collision) -> list[_Candidate]:
    """Apply the rules to one event."""
    momentum_T = collision.track_TF[:, TRACK.index("p")].astype(np.float64)
    distance_TC = link_distances(collision.impacts, collision.position_C3)
    kept = _original_tracks(collision.track_TF) & ~_unsupported(collision, distance_TC, momentum_T)
    species_T = _species(collision, distance_TC, momentum_T)
    order = [int(track) for track in np.argsort(-momentum_T, kind="stable") if kept[track]]
    energies = collision.energy_C.tolist()
    free = set(range(len(energies)))
    groups = _groups(order, species_T, momentum_T)
    candidates = []
    for group in group_showers(groups, distance_TC, energies, free):
        candidates += _group_candidates(group, collision, species_T)
    rest = np.array(sorted(free), np.int64)
    return candidates + _free_candidates(rest, collision)


def _original_tracks(track_TF: F32) -> Bool:
    """Mark the tracks that are no copy of a track with more degrees of freedom, shape (T,)."""
    sin_T, cos_T, tan_T, omega_T, ndf_T = (
        track_TF[:, TRACK.index(name)].astype(np.float64)
        for name in ("sin_phi", "cos_phi", "tan_lambda", "omega", "ndf")
    )
    turn_TT = np.abs(np.outer(sin_T, cos_T) - np.outer(cos_T, sin_T))
    same_way_TT = np.outer(sin_T, sin_T) + np.outer(cos_T, cos_T) > 0
    tilt_TT = np.abs(tan_T[:, None] - tan_T) / (1 + tan_T**2)
    larger_TT = np.maximum(np.abs(omega_T[:, None]), np.abs(omega_T))
    curve_TT = np.abs(omega_T[:, None] - omega_T) < TWIN_CURVATURE * larger_TT
    twin_TT = (turn_TT < TWIN_ANGLE) & same_way_TT & (tilt_TT < TWIN_ANGLE) & curve_TT
    index_T = np.arange(len(ndf_T))
    better_TT = (ndf_T[:, None] > ndf_T) | (
        (ndf_T[:, None] == ndf_T) & (index_T[:, None] < index_T)
    )
    copies: Bool = (twin_TT & better_TT).any(axis=0)
    return ~copies


def _unsupported(collision: _Collision, distance_TC: F64, momentum_T: F64) -> Bool:
    """Mark poor tracks whose momentum the calorimeter does not support, shape (T,).

    Fits with few hits can be wrong by a factor of ten; then the calorimeter knows better.
    """
    ndf_T = collision.track_TF[:, TRACK.index("ndf")]
    chi2_T = collision.track_TF[:, TRACK.index("chi2")]
    poor_T = (ndf_T <= POOR_FREEDOM) | (chi2_T > POOR_CHI2 * ndf_T)
    near_T = (distance_TC < POOR_REACH) @ collision.energy_C
    sigma_T = np.sqrt(_variance(momentum_T))
    return (poor_T & (momentum_T > near_T + POOR_SIGMAS * sigma_T)) | (momentum_T <= 0)


def _variance(momentum: F64) -> F64:
    """Return the squared resolution of the energy that a hadron leaves [GeV^2]."""
    return STOCHASTIC**2 * momentum + CONSTANT**2 * momentum**2


def _species(collision: _Collision, distance_TC: F64, momentum_T: F64) -> I64:
    """Return the class of every track: electron, muon or charged hadron, shape (T,)."""
    species_T = np.full(len(momentum_T), HADRON, np.int64)
    if not distance_TC.size:
        return species_T
    nearest_T = distance_TC.argmin(axis=1)
    pointed_T = distance_TC.min(axis=1) < ELECTRON_REACH
    balance_T = collision.energy_C[nearest_T] / np.maximum(momentum_T, 1e-6)
    window_T = ELECTRON_BALANCE + ELECTRON_STOCHASTIC / np.sqrt(np.maximum(momentum_T, 1e-6))
    electron_T = pointed_T & (momentum_T > ELECTRON_MOMENTUM) & (np.abs(balance_T - 1) < window_T)
    electron_T &= collision.share(collision.ecal_C)[nearest_T] > 1 - ELECTRON_HCAL
    species_T[electron_T] = ELECTRON

    crossed_TC = distance_TC < MUON_REACH
    deposit_T = crossed_TC @ collision.energy_C
    deep_T = crossed_TC @ collision.hcal_C > MUON_DEEP_SHARE * deposit_T
    yoke_T = crossed_TC @ collision.other_C > 0
    small_T = deposit_T < MUON_DEPOSIT + 2 * MUON_SIGMA
    light_T = deposit_T < MUON_LARGEST_BALANCE * momentum_T
    through_T = (yoke_T & (small_T | light_T)) | (deep_T & small_T & light_T)
    muon_T = through_T & (deposit_T > 0) & (momentum_T > MUON_MOMENTUM)
    species_T[muon_T] = MUON
    return species_T


def _groups(order: Sequence[int], species_T: I64, momentum_T: F64) -> list[Group]:
    """Return one group per track with the energy that the calorimeter should show of it."""
    muon_T = species_T == MUON
    expected_T = np.where(muon_T, MUON_DEPOSIT, momentum_T)
    variance_T = np.where(muon_T, MUON_SIGMA**2, _variance(momentum_T))
    return [Group([track], float(expected_T[track]), float(variance_T[track])) for track in order]


def _group_candidates(group: Group, collision: _Collision, species_T: I64) -> list[_Candidate]:
    """Return the charged candidates of a group, and a neutral one for its surplus energy."""
    clusters = list(group.clusters)
    surplus = group.energy - group.expected
    neutral: list[_Candidate] = []
    if surplus > max(SURPLUS_SIGMAS * group.sigma, PHOTON_THRESHOLD):
        largest = max(clusters, key=lambda cluster: float(collision.energy_C[cluster]))
        clusters.remove(largest)
        # What an ECAL could have seen is rather a photon: they are ten times as frequent.
        species = PHOTON if surplus <= collision.ecal_C[group.clusters].sum() else NEUTRAL
        neutral = [_neutral_candidate(species, surplus, largest, collision)]
    charged = [
        _charged_candidate(track, int(species_T[track]), collision, clusters if not number else ())
        for number, track in enumerate(group.tracks)
    ]
    return charged + neutral


def _charged_candidate(
    track: int, species: int, collision: _Collision, clusters: Sequence[int]
) -> _Candidate:
    """Return a candidate with the momentum of its track."""
    *direction, size, omega = collision.flight_T[track]
    momentum = (*direction, math.hypot(size, MASSES[species]))
    return _Candidate(species, 1 if omega > 0 else -1, momentum, track, tuple(clusters))


def _free_candidates(free: I64, collision: _Collision) -> list[_Candidate]:
    """Return the neutral candidates of clusters that no track explains."""
    share_C = collision.share(collision.ecal_C)
    candidates = []
    for cluster in free.tolist():
        energy = float(collision.energy_C[cluster])
        photon = share_C[cluster] > PHOTON_PURITY
        if energy > (PHOTON_THRESHOLD if photon else NEUTRAL_THRESHOLD):
            species = PHOTON if photon else NEUTRAL
            candidates.append(_neutral_candidate(species, energy, cluster, collision))
    return candidates


def _neutral_candidate(
    species: int, energy: float, cluster: int, collision: _Collision
) -> _Candidate:
    """Return a massless candidate that flies from the origin to its cluster."""
    x, y, z = collision.position_C3[cluster].tolist()
    across = max(math.hypot(x, y), 1e-3)
    pt = energy * across / math.hypot(across, z)
    momentum = (pt, math.asinh(z / across), y / across, x / across, energy)
    return _Candidate(species, 0, momentum, -1, (cluster,))

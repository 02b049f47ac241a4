"""Measures of clusters or hits: whose energy it is, whether it is enough, and where it lies.

Shape letters: E events, P generator particles, R rows of clusters or hits, Q pairs of particles.
"""

from typing import Final

import numpy as np

from mlpf_stream.columns import CLASSES, CLUSTER, HIT, SUBDETECTORS
from mlpf_stream.event import F64, I64, Bool, gather_index
from mlpf_stream.inspect.measures import Measure, Share, Values, quotient, share
from mlpf_stream.inspect.ownership import Ownership, angle_between
from mlpf_stream.physics.four_momenta import four_momenta

ACCEPTED_ETA: Final = 2.5
"""Particles and deposits beyond are near the beam pipe: not looked at."""
LEAST_EVENT: Final = 5.0
"""Least energy of an event whose sums are compared [GeV]."""
LEAST_SHOWER: Final = 0.5
"""Least energy of particles that surely leave something [GeV]."""
FACE: Final = 0.97
"""What lies nearer than this part of the distance to the calorimeter's face is inside it."""
LONE_ENERGY: Final = 2.0
"""Least energy of photons that are looked at one by one [GeV],"""
LONE_CONE: Final = 0.2
"""how far other particles with more than a tenth of its energy must be from a lone one [rad],"""
LONE_SHARE: Final = 0.1
"""and that tenth."""
_MUON, _PHOTON = CLASSES.index("muon"), CLASSES.index("photon")


def calorimetry_measures(owned: Ownership) -> dict[str, Measure]:
    """Return how clusters or hits agree with generator particles and the calorimeter's place."""
    deposit, events = owned.deposit, owned.events
    energy_R, event_R = deposit.feature("energy"), deposit.event_R
    calorimeter_R = _in_calorimeter(owned)
    known_R = (deposit.owner_R >= 0) & calorimeter_R
    target_R = np.zeros(len(energy_R), np.bool_)
    target_R[known_R] = owned.targets_P[deposit.owner_R[known_R]] > 0
    measured: dict[str, Measure] = {
        "energy_with_particle": share(
            known_R[calorimeter_R], event_R[calorimeter_R], events, energy_R[calorimeter_R]
        ),
        "energy_of_targets": share(target_R[known_R], event_R[known_R], events, energy_R[known_R]),
        "behind_face": share(_behind(owned)[calorimeter_R], event_R[calorimeter_R], events),
        "calorimeter_energy": _event_energy(owned, calorimeter_R),
        "hits_per_gev": _hits_per_gev(owned, calorimeter_R),
    }
    if deposit.kind == CLUSTER:
        measured["clusters_per_particle"] = quotient(
            event_R[_accepted(owned)], _showering(owned), events
        )
    return measured | _lone_photons(owned, calorimeter_R)


def _accepted(owned: Ownership) -> Bool:
    """Return which rows lie in the acceptance."""
    return np.asarray(np.abs(_eta(_position(owned))) < ACCEPTED_ETA)


def _showering(owned: Ownership) -> I64:
    """Return the events of the particles that should leave something in the calorimeter."""
    generator = owned.generator
    here_P = np.abs(generator.column("eta")) < ACCEPTED_ETA
    here_P &= generator.column("energy") > LEAST_SHOWER
    event_P: I64 = generator.event_P[here_P]
    return event_P


def _in_calorimeter(owned: Ownership) -> Bool:
    """Return which rows are deposits in a calorimeter: all but hits of the tracker."""
    if owned.deposit.kind != HIT:
        return np.ones(len(owned.deposit.owner_R), np.bool_)
    return np.asarray(owned.deposit.feature("subdetector") != SUBDETECTORS.index("tracker"))


def _position(owned: Ownership) -> F64:
    """Return where every row lies, (R, 3) [mm]."""
    return np.stack([owned.deposit.feature(axis) for axis in "xyz"], axis=1)


def _behind(owned: Ownership) -> Bool:
    """Return which rows lie behind the inner face of the calorimeter."""
    position_R3, detector = _position(owned), owned.chunk.detector
    radius_R = np.hypot(position_R3[:, 0], position_R3[:, 1])
    barrel_R = radius_R > FACE * detector.barrel_radius
    return np.asarray(barrel_R | (np.abs(position_R3[:, 2]) > FACE * detector.endcap_z))


def _eta(position_R3: F64) -> F64:
    """Return the pseudorapidity of points."""
    radius_R = np.maximum(np.hypot(position_R3[:, 0], position_R3[:, 1]), 1e-9)
    return np.arcsinh(position_R3[:, 2] / radius_R)


def _event_energy(owned: Ownership, calorimeter_R: Bool) -> Values:
    """Return, per event, the energy of deposits over that of the particles that make them."""
    generator, deposit, events = owned.generator, owned.deposit, owned.events
    here_P = (np.abs(generator.column("eta")) < ACCEPTED_ETA) & (generator.class_P != _MUON)
    expected_E = np.bincount(generator.event_P[here_P], generator.column("energy")[here_P], events)
    here_R = calorimeter_R & _accepted(owned)
    energy_E = np.bincount(deposit.event_R[here_R], deposit.feature("energy")[here_R], events)
    used = np.flatnonzero(expected_E > LEAST_EVENT)
    return Values(energy_E[used] / expected_E[used], used.astype(np.int64), events)


def _hits_per_gev(owned: Ownership, calorimeter_R: Bool) -> Share:
    """Return the hits of clusters, or the hits, per GeV."""
    deposit, events = owned.deposit, owned.events
    clusters = deposit.kind == CLUSTER
    hits_R = deposit.feature("num_hits") if clusters else np.ones(len(deposit.owner_R))
    rows = calorimeter_R & (hits_R > 0)
    event_R = deposit.event_R[rows]
    return Share(
        np.bincount(event_R, hits_R[rows], events).astype(np.float64),
        np.bincount(event_R, deposit.feature("energy")[rows], events).astype(np.float64),
        np.bincount(event_R, minlength=events).astype(np.int64),
    )


def _lone_photons(owned: Ownership, calorimeter_R: Bool) -> dict[str, Measure]:
    """Return energy and direction of the deposits of photons that nobody is near."""
    generator, deposit, events = owned.generator, owned.deposit, owned.events
    lone_P = _lone(owned) & (owned.host_class_P == _PHOTON)
    rows = calorimeter_R & (deposit.owner_R >= 0)
    energy_R, owner_R = deposit.feature("energy")[rows], deposit.owner_R[rows]
    particles = len(lone_P)
    energy_P = np.bincount(owner_R, energy_R, particles)
    center_P3 = np.stack(
        [np.bincount(owner_R, energy_R * part, particles) for part in _position(owned)[rows].T],
        axis=1,
    )
    ratio_P = energy_P[lone_P] / generator.column("energy")[lone_P]
    angle_P = angle_between(center_P3[lone_P], generator.momentum_PM[lone_P])
    event_P = generator.event_P[lone_P]
    return {
        "photon_energy": Values(ratio_P, event_P, events),
        "photon_direction": Values(angle_P, event_P, events),
    }


def _lone(owned: Ownership) -> Bool:
    """Return the photons well inside the detector without a neighbour that could blur them."""
    generator = owned.generator
    energy_P = generator.column("energy").astype(np.float64)
    lone_P = (generator.class_P == _PHOTON) & (energy_P > LONE_ENERGY)
    lone_P &= np.abs(generator.column("eta")) < ACCEPTED_ETA - 0.2
    photons = np.flatnonzero(lone_P).astype(np.int64)
    other_Q, offsets = gather_index(generator.offsets, generator.event_P[photons])
    photon_Q = np.repeat(photons, np.diff(offsets))
    near_Q = _angle(owned, photon_Q, other_Q) < LONE_CONE
    near_Q &= (energy_P[other_Q] > LONE_SHARE * energy_P[photon_Q]) & (other_Q != photon_Q)
    lone_P[photon_Q[near_Q]] = False
    return np.asarray(lone_P)


def _angle(owned: Ownership, first_Q: I64, second_Q: I64) -> F64:
    """Return the angles between pairs of generator particles, (Q,) [rad]."""
    momenta = four_momenta(owned.generator)
    vector_P3 = np.stack([momenta.px, momenta.py, momenta.pz], axis=1)
    return angle_between(vector_P3[first_Q], owned.generator.momentum_PM[second_Q])

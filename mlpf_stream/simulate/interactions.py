"""What happens on the way: photons convert, electrons radiate, mesons decay, neutrons fly off.

Shape letters: P particles of the record, N those that interact, X new particles.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64
from mlpf_stream.simulate.record import (
    CREATED_IN_SIMULATION,
    DECAYED,
    DECAYED_IN_CALORIMETER,
    DECAYED_IN_TRACKER,
    FINAL,
    LEFT_DETECTOR,
    SECONDARY,
    STOPPED,
    Record,
)
from mlpf_stream.simulate.trajectory import Trajectory

ELECTRON_MASS: Final = 0.000511
NEUTRON_MASS: Final = 0.939565
MUON_MASS: Final = 0.105658
_MASSES: Final = {11: ELECTRON_MASS, 13: MUON_MASS, 14: 0.0, 22: 0.0, 2112: NEUTRON_MASS}
HOLE_RADIUS: Final = 260.0
"""Inner radius of the endcap calorimeters [mm]. Source: ECAL plug of k4geo CLIC_o3_v14."""

_THICKNESS: Final = 0.07
"""Material of the tracker at normal incidence, times 7/9 of a radiation length."""
_CONVERSION_RADII: Final = (31.0, 45.0, 60.0, 127.0, 340.0, 554.0, 819.0, 1153.0, 1486.0)
_CONVERSION_SHARES: Final = (0.06, 0.06, 0.06, 0.12, 0.14, 0.14, 0.14, 0.14, 0.14)
_RADIATION_LENGTHS: Final = 9.0 / 7.0 * _THICKNESS
"""Material of the tracker at normal incidence."""
_SOFTEST: Final = 0.02
"""Least share of its energy that an electron gives to a photon of its own."""
_MOST_RADIATED: Final = 0.9
_FLIGHT: Final = {211: (7804.5, 1.0), 321: (3711.0, 0.6356)}
"""c tau [mm] of charged pions and kaons, and their branching into a muon and a neutrino.

Source: Particle Data Group."""
_LONGEST_FLIGHT: Final = 10_000.0
"""Decays of loopers later than this on their path [mm] are not followed."""
_NEUTRONS: Final = 0.04
"""Neutrons per unit of ln(1 + E / GeV) that leave a hadron shower."""
_NEUTRON_ENERGY: Final = (0.15, 0.8)
_NEUTRON_SHARE: Final = 0.3
"""A neutron takes at most this share of its parent's energy."""


def interact(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Return the record with secondaries and the simulator status of every particle."""
    record = _convert(record, detector, random)
    record = _radiate(record, detector, random)
    record = _decay(record, detector, random)
    record = _shake_off(record, detector, random)
    return _with_status(record, detector)


def calorimetric_energy(record: Record) -> F64:
    """Return the energy that a shower can leave [GeV], shape (P,).

    Baryons keep their mass, antibaryons release it twice: e.g. kinetic energy for neutrons.
    """
    size_P = np.abs(record.pdg_P)
    baryon_P = (size_P > 1000) & (size_P < 10_000)
    bound_P = np.where(baryon_P, np.sign(record.pdg_P), 0.0) * record.mass_P
    released: F64 = np.maximum(record.energy_P - bound_P, 0.0)
    return released


def _convert(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Let some photons become an electron and a positron inside the tracker."""
    photon_P = (record.pdg_P == 22) & (record.status_P == FINAL) & (record.energy_P > 0.01)
    photons = np.flatnonzero(photon_P)
    path = Trajectory.of(record, detector.field).rows(photons)
    chance_N = 1.0 - np.exp(-_THICKNESS * np.hypot(1.0, path.tan_lambda_N))
    radius_N = random.choice(_CONVERSION_RADII, len(photons), p=_CONVERSION_SHARES)
    converts_N = random.random(len(photons)) < chance_N
    arc_N = _arcs_to(path, radius_N)
    converts_N &= arc_N < path.to_calorimeter(detector)
    row_N = photons[converts_N]
    vertex_N3, _ = path.rows(np.flatnonzero(converts_N)).at(arc_N[converts_N])
    share_N = random.uniform(0.05, 0.95, len(row_N))
    momentum_N3 = record.momentum_P3[row_N]
    momentum_X3 = np.concatenate(
        [momentum_N3 * share_N[:, None], momentum_N3 * (1 - share_N)[:, None]]
    )
    row_X = np.tile(row_N, 2)
    sign_X = np.repeat([-1.0, 1.0], len(row_N))
    pairs = _secondaries(record, row_X, momentum_X3, np.tile(vertex_N3, (2, 1)), -11.0 * sign_X)
    simulator_P = record.simulator_P.copy()
    simulator_P[row_N] |= DECAYED_IN_TRACKER
    converted = replace(record, simulator_P=simulator_P)
    return converted.with_secondaries(pairs, record.event_P[row_X])


def _radiate(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Let electrons give up to two hard photons each to the material of the tracker.

    The electron goes on along its first helix: the kink of the softer one is not followed. Its
    photons do not convert in their turn.

    Source: spectrum of bremsstrahlung, 4/3 (1 - x) + x^2 over x (Particle Data Group, passage of
    particles through matter).
    """
    electron_P = (np.abs(record.pdg_P) == 11) & record.visible_P & (record.energy_P > 0.05)
    electrons = np.flatnonzero(electron_P)
    path = Trajectory.of(record, detector.field).rows(electrons)
    lengths_N = _RADIATION_LENGTHS * np.hypot(1.0, path.tan_lambda_N)
    number_N = np.minimum(random.poisson(4.0 / 3.0 * -np.log(_SOFTEST) * lengths_N), 2)
    owner_X = np.repeat(np.arange(len(electrons)), number_N)
    share_X = _SOFTEST ** random.random(len(owner_X))
    likely_X = 1.0 - share_X + 0.75 * share_X**2
    radius_X = random.choice(_CONVERSION_RADII, len(owner_X), p=_CONVERSION_SHARES)
    arc_X = _arcs_to(path.rows(owner_X), radius_X)
    happens_X = (random.random(len(owner_X)) < likely_X) & (
        arc_X < path.rows(owner_X).to_calorimeter(detector)
    )
    owner_X, share_X, arc_X = owner_X[happens_X], share_X[happens_X], arc_X[happens_X]
    total_N = np.bincount(owner_X, share_X, minlength=len(electrons))
    share_X *= np.minimum(1.0, _MOST_RADIATED / np.maximum(total_N, 1e-9))[owner_X]
    row_X = electrons[owner_X]
    vertex_X3, _ = path.rows(owner_X).at(arc_X)
    flight_X3 = path.rows(owner_X).direction(arc_X)
    momentum_X3 = flight_X3 * (share_X * record.energy_P[row_X])[:, None]
    photons = _secondaries(record, row_X, momentum_X3, vertex_X3, np.full(len(row_X), 22.0))
    return record.with_secondaries(photons, record.event_P[row_X])


def _arcs_to(path: Trajectory, radius_N: F64) -> F64:
    """Return the arcs to one of the cylinders of the tracker each, infinite without a crossing."""
    arc_N = np.full(len(radius_N), np.inf)
    for radius in _CONVERSION_RADII:
        arc_N = np.where(radius_N == radius, path.to_radius(radius), arc_N)
    return arc_N


def _decay(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Let charged pions and kaons decay in flight to a muon and a neutrino, inside the tracker."""
    size_P = np.abs(record.pdg_P)
    mesons = np.flatnonzero(np.isin(size_P, list(_FLIGHT)) & (record.status_P == FINAL))
    path = Trajectory.of(record, detector.field).rows(mesons)
    pion_N = size_P[mesons] == 211
    lifetime_N = np.where(pion_N, *[_FLIGHT[kind][0] for kind in (211, 321)])
    branching_N = np.where(pion_N, *[_FLIGHT[kind][1] for kind in (211, 321)])
    stretch_N = np.hypot(1.0, path.tan_lambda_N)
    size_N = np.linalg.norm(record.momentum_P3[mesons], axis=1)
    way_N = random.exponential(lifetime_N * size_N / record.mass_P[mesons])
    arc_N = way_N / stretch_N
    decays_N = (arc_N < path.to_calorimeter(detector)) & (way_N < _LONGEST_FLIGHT)
    decays_N &= random.random(len(mesons)) < branching_N
    chosen = np.flatnonzero(decays_N)
    row_N = mesons[chosen]
    vertex_N3, _ = path.rows(chosen).at(arc_N[chosen])
    flight_N3 = path.rows(chosen).direction(arc_N[chosen])
    muon_N3, neutrino_N3 = _two_body(
        flight_N3 * size_N[chosen][:, None], record.mass_P[row_N], random
    )
    row_X, sign_X = np.tile(row_N, 2), np.tile(np.sign(record.charge_P[row_N]), 2)
    kind_X = np.repeat([-13.0, 14.0], len(row_N)) * sign_X
    momentum_X3 = np.concatenate([muon_N3, neutrino_N3])
    pairs = _secondaries(record, row_X, momentum_X3, np.tile(vertex_N3, (2, 1)), kind_X)
    simulator_P = record.simulator_P.copy()
    simulator_P[row_N] |= DECAYED_IN_TRACKER
    decayed = replace(record, simulator_P=simulator_P)
    return decayed.with_secondaries(pairs, record.event_P[row_X])


def _two_body(momentum_N3: F64, mass_N: F64, random: np.random.Generator) -> tuple[F64, F64]:
    """Return momenta [GeV] of the muon and the neutrino of isotropic decays."""
    size_N = (mass_N**2 - MUON_MASS**2) / (2.0 * mass_N)
    axis_N3 = random.normal(size=momentum_N3.shape)
    axis_N3 /= np.linalg.norm(axis_N3, axis=1)[:, None]
    rest_N3 = axis_N3 * size_N[:, None]
    energy_N = np.sqrt(np.sum(momentum_N3**2, axis=1) + mass_N**2)
    beta_N3, gamma_N = momentum_N3 / energy_N[:, None], energy_N / mass_N
    along_N = np.sum(beta_N3 * rest_N3, axis=1)
    # The neutrino, which has no mass; the muon takes the rest.
    factor_N = gamma_N**2 / (gamma_N + 1.0) * along_N + gamma_N * size_N
    neutrino_N3 = rest_N3 + factor_N[:, None] * beta_N3
    return momentum_N3 - neutrino_N3, neutrino_N3


def _shake_off(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Let hadron showers emit slow neutrons that travel on by themselves."""
    energy_P = calorimetric_energy(record)
    size_P = np.abs(record.pdg_P)
    whole_P = record.visible_P & (record.simulator_P & DECAYED_IN_TRACKER == 0)
    path = Trajectory.of(record, detector.field)
    arc_P, entry_P3 = arrives(record, detector)
    showers_P = np.isfinite(arc_P) & (np.hypot(entry_P3[:, 0], entry_P3[:, 1]) > HOLE_RADIUS)
    hadrons = np.flatnonzero(whole_P & showers_P & (size_P > 100) & (energy_P > 1.0))
    number_N = random.poisson(_NEUTRONS * np.log1p(energy_P[hadrons]))
    row_X = np.repeat(hadrons, np.minimum(number_N, 2))
    count = len(row_X)
    kinetic_X = np.minimum(
        random.uniform(*_NEUTRON_ENERGY, count), _NEUTRON_SHARE * energy_P[row_X]
    )
    size_X = np.sqrt(kinetic_X * (kinetic_X + 2.0 * NEUTRON_MASS))
    entry_X3, _ = path.rows(row_X).at(arc_P[row_X])
    forward_X3 = path.rows(row_X).direction(arc_P[row_X])
    flight_X3 = random.normal(size=(count, 3)) + 0.3 * forward_X3
    flight_X3 /= np.linalg.norm(flight_X3, axis=1)[:, None]
    vertex_X3 = entry_X3 + forward_X3 * random.uniform(50.0, 400.0, count)[:, None]
    neutrons = _secondaries(
        record, row_X, flight_X3 * size_X[:, None], vertex_X3, np.full(count, 2112.0)
    )
    return record.with_secondaries(neutrons, record.event_P[row_X])


def _secondaries(
    record: Record, parent_X: I64, momentum_X3: F64, vertex_X3: F64, pdg_X: F64
) -> Record:
    """Return leptons, photons or neutrons with the given parents."""
    size_X = np.abs(pdg_X).astype(np.int64)
    mass_X = np.array([_MASSES[kind] for kind in size_X.tolist()], np.float64)
    return Record(
        pdg_P=pdg_X.astype(np.int32),
        charge_P=np.where(np.isin(size_X, (11, 13)), -np.sign(pdg_X), 0.0),
        mass_P=mass_X,
        momentum_P3=momentum_X3,
        vertex_P3=vertex_X3,
        status_P=np.full(len(pdg_X), SECONDARY, np.int32),
        simulator_P=np.full(len(pdg_X), CREATED_IN_SIMULATION, np.int32),
        parent_P=record.row_P[parent_X],
        offsets=record.offsets,
    )


def arrives(record: Record, detector: Detector) -> tuple[F64, F64]:
    """Return the arc to the face, infinite without arrival, and the entry point, shape (P, 3)."""
    path = Trajectory.of(record, detector.field)
    arc_P = path.to_calorimeter(detector)
    entry_P3, _ = path.at(np.where(np.isfinite(arc_P), arc_P, 0.0))
    return arc_P, entry_P3


def _with_status(record: Record, detector: Detector) -> Record:
    """Set what became of every particle in the simulator status."""
    arc_P, entry_P3 = arrives(record, detector)
    hole_P = np.hypot(entry_P3[:, 0], entry_P3[:, 1]) < HOLE_RADIUS
    fate_P = np.where(np.isfinite(arc_P), DECAYED_IN_CALORIMETER, STOPPED)
    gone_P = hole_P | ~record.visible_P | (np.abs(record.pdg_P) == 13)
    fate_P = np.where(gone_P & np.isfinite(arc_P), LEFT_DETECTOR, fate_P)
    open_P = (record.status_P != DECAYED) & ((record.simulator_P & DECAYED_IN_TRACKER) == 0)
    fate_P = np.where(open_P, fate_P, 0).astype(np.int32)
    return replace(record, simulator_P=record.simulator_P | fate_P)

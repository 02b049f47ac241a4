"""What happens on the way and in showers: photons convert, hadrons shake off neutrons.

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
HOLE_RADIUS: Final = 260.0
"""Inner radius of the endcap calorimeters [mm]. Source: ECAL plug of k4geo CLIC_o3_v14."""

_THICKNESS: Final = 0.07
"""Material of the tracker at normal incidence, times 7/9 of a radiation length."""
_CONVERSION_RADII: Final = (31.0, 45.0, 60.0, 127.0, 340.0, 554.0, 819.0, 1153.0, 1486.0)
_CONVERSION_SHARES: Final = (0.06, 0.06, 0.06, 0.12, 0.14, 0.14, 0.14, 0.14, 0.14)
_NEUTRONS: Final = 0.04
"""Neutrons per unit of ln(1 + E / GeV) that leave a hadron shower."""
_NEUTRON_ENERGY: Final = (0.15, 0.8)
_NEUTRON_SHARE: Final = 0.3
"""A neutron takes at most this share of its parent's energy."""


def interact(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Return the record with secondaries and the simulator status of every particle."""
    record = _convert(record, detector, random)
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
    arc_N = np.full(len(photons), np.inf)
    for radius in _CONVERSION_RADII:
        arc_N = np.where(radius_N == radius, path.to_radius(radius), arc_N)
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


def _shake_off(record: Record, detector: Detector, random: np.random.Generator) -> Record:
    """Let hadron showers emit slow neutrons that travel on by themselves."""
    energy_P = calorimetric_energy(record)
    size_P = np.abs(record.pdg_P)
    hadron_P = record.visible_P & (size_P > 100) & (energy_P > 1.0)
    path = Trajectory.of(record, detector.field)
    arc_P = path.to_calorimeter(detector)
    hadrons = np.flatnonzero(hadron_P & np.isfinite(arc_P))
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
    """Return electrons, positrons or neutrons with the given parents."""
    electron_X = np.abs(pdg_X) == 11
    return Record(
        pdg_P=pdg_X.astype(np.int32),
        charge_P=np.where(electron_X, -np.sign(pdg_X), 0.0),
        mass_P=np.where(electron_X, ELECTRON_MASS, NEUTRON_MASS),
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

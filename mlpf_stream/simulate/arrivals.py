"""Particles at the face of the calorimeter: where, in which direction, when, with what energy.

Shape letters: P particles of the record, N particles that arrive, X particles with a parent, S
staves of the barrel, 3 coordinates x, y, z.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64, Bool
from mlpf_stream.simulate.cells import LIGHT
from mlpf_stream.simulate.components import LARGEST_TURN
from mlpf_stream.simulate.geometry import BARREL_HALF_LENGTH, ECAL_BARREL, ECAL_ENDCAP
from mlpf_stream.simulate.interactions import HOLE_RADIUS, arrives, calorimetric_energy
from mlpf_stream.simulate.record import NO_PARENT, SECONDARY, Record
from mlpf_stream.simulate.trajectory import Trajectory

LEAST_ENERGY: Final = 0.03
"""What arrives with less leaves no hit [GeV]."""
_STAVES: Final = 12


@dataclass(frozen=True, slots=True)
class Arrivals:
    """N particles at the face: row in the record, event, species and charge, entry point [mm].

    `direction_N3` unit vector, `bend_N3` how it turns per path [1/mm], `cosine_N` of its angle to
    the normal of the layers, `barrel_N`, `energy_N` that a shower can leave [GeV], `time_N` of
    arrival after the collision [ns].
    """

    row_N: I64
    event_N: I64
    species_N: I64
    charge_N: F64
    entry_N3: F64
    direction_N3: F64
    bend_N3: F64
    cosine_N: F64
    barrel_N: Bool
    energy_N: F64
    time_N: F64

    def __len__(self) -> int:
        return len(self.row_N)

    def ahead(self, way_N: F64) -> tuple[F64, F64]:
        """Return points [mm] and unit vectors of flight after a path behind the entry [mm]."""
        size_N = np.maximum(np.linalg.norm(self.bend_N3, axis=1), 1e-12)
        turned_N = np.minimum(way_N, LARGEST_TURN / size_N)[:, None]
        flight_N3 = self.direction_N3 + self.bend_N3 * turned_N
        flight_N3 /= np.linalg.norm(flight_N3, axis=1)[:, None]
        point_N3 = self.entry_N3 + self.direction_N3 * way_N[:, None]
        point_N3 += self.bend_N3 * turned_N * (way_N[:, None] - turned_N / 2.0)
        return point_N3, flight_N3

    def only(self, keep_N: Bool) -> "Arrivals":
        """Return some of them."""
        return Arrivals(*[getattr(self, item.name)[keep_N] for item in fields(self)])

    @property
    def abs_eta_N(self) -> F64:
        """Absolute pseudorapidity of the entry points, shape (N,)."""
        x, y, z = self.entry_N3.T
        eta_N: F64 = np.abs(np.arcsinh(z / np.maximum(np.hypot(x, y), 1e-9)))
        return eta_N


def arrive(record: Record, detector: Detector) -> Arrivals:
    """Return what reaches the calorimeter, less the energy that its secondaries carry away."""
    energy_P = calorimetric_energy(record)
    children = np.flatnonzero((record.status_P == SECONDARY) & (record.parent_P != NO_PARENT))
    parents = record.offsets[record.event_P[children]] + record.parent_P[children]
    energy_P = energy_P - np.bincount(parents, energy_P[children], minlength=len(energy_P))
    arc_P, entry_P3 = arrives(record, detector)
    inside_P = np.hypot(entry_P3[:, 0], entry_P3[:, 1]) > HOLE_RADIUS
    seen_P = record.visible_P & np.isfinite(arc_P) & inside_P & (energy_P > LEAST_ENERGY)
    rows = np.flatnonzero(seen_P)
    path = Trajectory.of(record, detector.field).rows(rows)
    direction_N3 = path.direction(arc_P[rows])
    entry_N3, cosine_N, barrel_N = _at_face(entry_P3[rows], direction_N3)
    way_N = arc_P[rows] * np.hypot(1.0, path.tan_lambda_N)
    way_N += np.linalg.norm(entry_N3 - entry_P3[rows], axis=1)
    return Arrivals(
        row_N=rows,
        event_N=record.event_P[rows],
        species_N=np.abs(record.pdg_P[rows]).astype(np.int64),
        charge_N=record.charge_P[rows],
        entry_N3=entry_N3,
        direction_N3=direction_N3,
        bend_N3=_bend(path, direction_N3),
        cosine_N=cosine_N,
        barrel_N=barrel_N,
        energy_N=energy_P[rows],
        time_N=birth_times(record, detector.field)[rows] + way_N / _speed(record)[rows],
    )


def birth_times(record: Record, field: float) -> F64:
    """Return when particles are born after the collision [ns], shape (P,): their ancestors fly."""
    children = np.flatnonzero(record.parent_P != NO_PARENT)
    up_P = np.full(len(record.pdg_P), NO_PARENT, np.int64)
    up_P[children] = record.offsets[record.event_P[children]] + record.parent_P[children]
    parents = up_P[children]
    path = Trajectory.of(record, field).rows(parents)
    away_X3 = record.vertex_P3[children] - path.start_N3
    curled_X = path.arc_to(record.vertex_P3[children]) * np.hypot(1.0, path.tan_lambda_N)
    way_X = np.where(path.omega_N == 0.0, np.linalg.norm(away_X3, axis=1), curled_X)
    flight_P = np.zeros(len(up_P))
    flight_P[children] = way_X / _speed(record)[parents]
    time_P, up = flight_P.copy(), up_P.copy()
    while (born := np.flatnonzero(up != NO_PARENT)).size:
        time_P[born] += flight_P[up[born]]
        up[born] = up_P[up[born]]
    return time_P


def _speed(record: Record) -> F64:
    """Return speeds [mm / ns], shape (P,)."""
    size_P = np.linalg.norm(record.momentum_P3, axis=1)
    return np.asarray(np.maximum(LIGHT * size_P / np.maximum(record.energy_P, 1e-12), 1.0))


def _bend(path: Trajectory, direction_N3: F64) -> F64:
    """Return how the direction of flight turns per path [1/mm], shape (N, 3)."""
    x, y, _ = direction_N3.T
    across_N = path.omega_N / np.hypot(1.0, path.tan_lambda_N)
    bend_N3: F64 = np.stack([y * across_N, -x * across_N, np.zeros_like(x)], axis=1)
    return bend_N3


def _at_face(entry_N3: F64, direction_N3: F64) -> tuple[F64, F64, Bool]:
    """Move entries from the cylinder that holds the tracker to the flat face of a stave or endcap.

    What lies behind the faces stays. Return points [mm], cosines of incidence, and which lie on
    the barrel.
    """
    barrel_N = np.abs(entry_N3[:, 2]) < BARREL_HALF_LENGTH
    stave_N3, ahead_N = _stave(entry_N3, direction_N3)
    beam_N3 = np.zeros_like(stave_N3)
    beam_N3[:, 2] = np.sign(entry_N3[:, 2])
    normal_N3 = np.where(barrel_N[:, None], stave_N3, beam_N3)
    cosine_N = np.clip(np.sum(normal_N3 * direction_N3, axis=1), 0.05, 1.0)
    to_endcap_N = np.maximum(ECAL_ENDCAP[0] - np.abs(entry_N3[:, 2]), 0.0) / cosine_N
    missing_N = np.where(barrel_N, ahead_N, to_endcap_N)
    moved_N3: F64 = entry_N3 + direction_N3 * missing_N[:, None]
    return moved_N3, cosine_N, barrel_N


def _stave(entry_N3: F64, direction_N3: F64) -> tuple[F64, F64]:
    """Return the normal of the stave ahead, shape (N, 3), and the way to its face [mm].

    Staves enclose the beam: a straight line leaves through the one whose face it meets first. What
    lies behind a face is in the stave of its azimuth.
    """
    phi_S = 2.0 * np.pi / _STAVES * np.arange(_STAVES)
    normal_S3 = np.stack([np.cos(phi_S), np.sin(phi_S), np.zeros(_STAVES)], axis=1)
    missing_NS = ECAL_BARREL[0] - entry_N3 @ normal_S3.T
    rise_NS = direction_N3 @ normal_S3.T
    way_NS = np.where(rise_NS > 0.0, missing_NS / np.maximum(rise_NS, 1e-12), np.inf)
    inside_N = (missing_NS > 0.0).all(axis=1)
    stave_N = np.where(inside_N, np.argmin(way_NS, axis=1), np.argmin(missing_NS, axis=1))
    way_N = np.where(inside_N, np.min(way_NS, axis=1), 0.0)
    return normal_S3[stave_N], way_N

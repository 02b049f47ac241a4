"""Particles at the face of the calorimeter: where, in which direction, when, with what energy.

Shape letters: P particles of the record, N particles that arrive, 3 coordinates x, y, z.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64, Bool
from mlpf_stream.simulate.cells import LIGHT
from mlpf_stream.simulate.geometry import BARREL_HALF_LENGTH, ECAL_BARREL, ECAL_ENDCAP
from mlpf_stream.simulate.interactions import HOLE_RADIUS, arrives, calorimetric_energy
from mlpf_stream.simulate.record import NO_PARENT, SECONDARY, Record
from mlpf_stream.simulate.trajectory import Trajectory

LEAST_ENERGY: Final = 0.03
"""What arrives with less leaves no hit [GeV]."""
LARGEST_TURN: Final = 0.7
"""The bending behind the face is followed up to this turn [rad]: beyond it a parabola is wrong."""
_STAVES: Final = 12


@dataclass(frozen=True, slots=True)
class Arrivals:
    """N particles at the face: row in the record, event, species and charge, entry point [mm].

    `direction_N3` unit vector, `bend_N3` how it turns per path [1/mm], `cosine_N` of its angle to
    the normal of the layers, `barrel_N`, `energy_N` that a shower can leave [GeV], `time_N` of
    flight [ns].
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
        point_N3 += self.bend_N3 * (turned_N**2 / 2.0)
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
    size_N = np.linalg.norm(record.momentum_P3[rows], axis=1)
    speed_N = LIGHT * size_N / record.energy_P[rows]
    way_N = arc_P[rows] * np.hypot(1.0, path.tan_lambda_N)
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
        time_N=way_N / np.maximum(speed_N, 1.0),
    )


def _bend(path: Trajectory, direction_N3: F64) -> F64:
    """Return how the direction of flight turns per path [1/mm], shape (N, 3)."""
    x, y, _ = direction_N3.T
    across_N = path.omega_N / np.hypot(1.0, path.tan_lambda_N)
    bend_N3: F64 = np.stack([y * across_N, -x * across_N, np.zeros_like(x)], axis=1)
    return bend_N3


def _at_face(entry_N3: F64, direction_N3: F64) -> tuple[F64, F64, Bool]:
    """Move entries from the cylinder that holds the tracker to the flat face of a stave or endcap.

    Return points [mm], cosines of incidence, and which lie on the barrel.
    """
    turn = 2.0 * np.pi / _STAVES
    phi_N = np.round(np.arctan2(entry_N3[:, 1], entry_N3[:, 0]) / turn) * turn
    normal_N3 = np.stack([np.cos(phi_N), np.sin(phi_N), np.zeros(len(phi_N))], axis=1)
    away_N = np.abs(entry_N3[:, 2])
    barrel_N = away_N < BARREL_HALF_LENGTH
    beam_N3 = np.zeros_like(normal_N3)
    beam_N3[:, 2] = np.sign(entry_N3[:, 2])
    normal_N3 = np.where(barrel_N[:, None], normal_N3, beam_N3)
    cosine_N = np.clip(np.sum(normal_N3 * direction_N3, axis=1), 0.05, 1.0)
    height_N = np.sum(normal_N3 * entry_N3, axis=1)
    face_N = np.where(barrel_N, ECAL_BARREL[0], ECAL_ENDCAP[0])
    missing_N = np.maximum(face_N - height_N, 0.0) / cosine_N
    moved_N3: F64 = entry_N3 + direction_N3 * missing_N[:, None]
    return moved_N3, cosine_N, barrel_N

"""Paths of particles in the solenoid field: helices, and straight lines for neutrals.

A path is followed by its arc: the transverse path length [mm] since its start.
Shape letters: N paths, 3 coordinates x, y, z.

Source: EDM4HEP track parameters (LC-DET-2006-004): omega has the sign of the charge, and a
positive particle turns clockwise in a field along +z.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64
from mlpf_stream.simulate.record import Record

CURVATURE: Final = 2.99792458e-4
"""omega [1/mm] = CURVATURE * charge * field [T] / pT [GeV]."""
LONGEST_PATH: Final = 30_000.0
"""A looper that has flown this far has lost its energy [mm]."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """N paths: start [mm], azimuth [rad] there, signed curvature [1/mm], slope pz / pT."""

    start_N3: F64
    phi_N: F64
    omega_N: F64
    tan_lambda_N: F64

    @classmethod
    def of(cls, record: Record, field: float) -> Self:
        """Return the paths of all particles of the record in a field [T]."""
        px, py, pz = record.momentum_P3.T
        pt = np.maximum(np.hypot(px, py), 1e-9)
        omega = CURVATURE * record.charge_P * field / pt
        return cls(record.vertex_P3, np.arctan2(py, px), omega, pz / pt)

    def rows(self, index: I64) -> "Trajectory":
        """Return some of the paths."""
        return Trajectory(
            self.start_N3[index], self.phi_N[index], self.omega_N[index], self.tan_lambda_N[index]
        )

    def at(self, arc_N: F64) -> tuple[F64, F64]:
        """Return positions [mm], shape (N, 3), and azimuths of flight [rad] at the arcs."""
        half_N = self.omega_N * arc_N / 2.0
        chord_N = arc_N * np.sinc(half_N / np.pi)
        step_N3 = np.stack(
            [
                chord_N * np.cos(self.phi_N - half_N),
                chord_N * np.sin(self.phi_N - half_N),
                arc_N * self.tan_lambda_N,
            ],
            axis=1,
        )
        return self.start_N3 + step_N3, self.phi_N - 2.0 * half_N

    def direction(self, arc_N: F64) -> F64:
        """Return the unit vector of flight at the arcs, shape (N, 3)."""
        phi_N = self.phi_N - self.omega_N * arc_N
        flight_N3 = np.stack([np.cos(phi_N), np.sin(phi_N), self.tan_lambda_N], axis=1)
        unit: F64 = flight_N3 / np.hypot(1.0, self.tan_lambda_N)[:, None]
        return unit

    def arc_to(self, point_N3: F64) -> F64:
        """Return the arcs to points that lie on the paths [mm].

        The azimuth of a point tells the first half turn only; its height tells later ones.
        """
        away_N3 = point_N3 - self.start_N3
        bend_N = 1.0 / np.maximum(np.abs(self.omega_N), 1e-9)
        chord_N = np.hypot(away_N3[:, 0], away_N3[:, 1])
        near_N = 2.0 * bend_N * np.arcsin(np.minimum(chord_N / (2.0 * bend_N), 1.0))
        far_N = np.abs(away_N3[:, 2]) / np.maximum(np.abs(self.tan_lambda_N), 1e-9)
        return np.where(self.omega_N == 0.0, chord_N, np.maximum(near_N, far_N))

    def to_radius(self, radius: float) -> F64:
        """Return the arc to the first crossing of a cylinder from inside, infinite without one."""
        x, y, _ = self.start_N3.T
        straight_N = self._straight_to_radius(radius)
        curved_N = np.abs(self.omega_N) > 1e-9
        omega_N = np.where(curved_N, self.omega_N, 1.0)
        bend_N = 1.0 / np.abs(omega_N)
        centre_x = x + np.sin(self.phi_N) / omega_N
        centre_y = y - np.cos(self.phi_N) / omega_N
        distance_N = np.maximum(np.hypot(centre_x, centre_y), 1e-9)
        cosine_N = (radius**2 - distance_N**2 - bend_N**2) / (2.0 * distance_N * bend_N)
        opening_N = np.arccos(np.clip(cosine_N, -1.0, 1.0))
        # Angle about the centre; it falls for positive curvature.
        now_N = np.arctan2(y - centre_y, x - centre_x)
        middle_N = np.arctan2(centre_y, centre_x)
        turns = [np.sign(omega_N) * (now_N - middle_N - s * opening_N) for s in (1.0, -1.0)]
        turn_N = np.minimum(*[np.mod(turn, 2.0 * np.pi) for turn in turns])
        arc_N = np.where(curved_N, turn_N * bend_N, straight_N)
        crosses_N = np.where(curved_N, np.abs(cosine_N) <= 1.0, True)
        return np.where(crosses_N & (np.hypot(x, y) < radius), arc_N, np.inf)

    def _straight_to_radius(self, radius: float) -> F64:
        """Return the same for a straight line."""
        x, y, _ = self.start_N3.T
        along_N = x * np.cos(self.phi_N) + y * np.sin(self.phi_N)
        inside_N = along_N**2 + radius**2 - x**2 - y**2
        root: F64 = np.sqrt(np.maximum(inside_N, 0.0)) - along_N
        return root

    def to_plane(self, z: float) -> F64:
        """Return the arc to the plane at +z or -z ahead, infinite without one."""
        slope_N = np.abs(self.tan_lambda_N)
        way_N = z - np.sign(self.tan_lambda_N) * self.start_N3[:, 2]
        arc_N = way_N / np.maximum(slope_N, 1e-12)
        return np.where((way_N >= 0.0) & (arc_N * np.hypot(1.0, slope_N) < 1e9), arc_N, np.inf)

    def to_calorimeter(self, detector: Detector) -> F64:
        """Return the arc to the inner calorimeter face, infinite for loopers that never arrive.

        It is 0 for what starts behind the face.
        """
        x, y, z = self.start_N3.T
        behind_N = (np.hypot(x, y) >= detector.barrel_radius) | (np.abs(z) >= detector.endcap_z)
        arc_N = np.minimum(self.to_radius(detector.barrel_radius), self.to_plane(detector.endcap_z))
        length_N = arc_N * np.hypot(1.0, self.tan_lambda_N)
        return np.where(behind_N, 0.0, np.where(length_N < LONGEST_PATH, arc_N, np.inf))

    def to_axis(self) -> F64:
        """Return the signed arc to the point of closest approach to the beam axis; for helices."""
        x, y, _ = self.start_N3.T
        sign_N = np.sign(self.omega_N)
        centre_x = x + np.sin(self.phi_N) / self.omega_N
        centre_y = y - np.cos(self.phi_N) / self.omega_N
        phi_N = np.arctan2(sign_N * centre_x, -sign_N * centre_y)
        turn_N = np.mod(self.phi_N - phi_N + np.pi, 2.0 * np.pi) - np.pi
        arc: F64 = turn_N / self.omega_N
        return arc

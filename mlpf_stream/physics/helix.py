"""Where tracks meet the calorimeter: the helix through the published track features.

Elements flow in, points and directions flow out; `linking` measures clusters against them.
Shape letters: R track rows, F features, N points of a track, 3 coordinates x, y, z.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import TRACK, Detector
from mlpf_stream.event import F32, F64

LONGEST_PATH = 1e6
"""No track is followed farther than this in the transverse plane [mm]: loopers without pitch."""


@dataclass(frozen=True, slots=True)
class Impacts:
    """Where and in which direction tracks reach the inner face of the calorimeter.

    `point_R3` [mm]; `direction_R3` unit vectors of flight; `bend_R3` the change of direction per
    path length [1/mm], perpendicular to the direction.
    """

    point_R3: F64
    direction_R3: F64
    bend_R3: F64

    def rows(self, rows: slice) -> "Impacts":
        """Return some of the tracks."""
        return Impacts(self.point_R3[rows], self.direction_R3[rows], self.bend_R3[rows])


def impact_points(x_RF: F32, detector: Detector) -> F64:
    """Return where tracks reach the inner calorimeter face.

    Args:
        x_RF: track features, shape (R, 16), columns of `columns.TRACK`.
        detector: its barrel radius and endcap plane [mm] are the face, taken as a cylinder.

    Returns:
        Points, shape (R, 3) [mm]; a track that reaches neither face gives its farthest point.
    """
    return track_impacts(x_RF, detector).point_R3


def track_impacts(x_RF: F32, detector: Detector) -> Impacts:
    """Return where and in which direction tracks reach the inner calorimeter face.

    Args:
        x_RF: track features, shape (R, 16), columns of `columns.TRACK`.
        detector: its barrel radius and endcap plane [mm] are the face, taken as a cylinder.

    Source: EDM4HEP track parameters (LC-DET-2006-004): sign of omega = sign of the charge, phi the
    direction of flight at the point of closest approach (-d0 sin phi, d0 cos phi, z0).
    """
    path_R = _path_to_face(x_RF, detector)
    point_R3 = _points(x_RF, path_R[:, None])[:, 0]
    phi_R = np.arctan2(_column(x_RF, "sin_phi"), _column(x_RF, "cos_phi"))
    tan_lambda_R, omega_R = _column(x_RF, "tan_lambda"), _column(x_RF, "omega")
    turn_R = omega_R * path_R
    cos_R, sin_R = np.cos(phi_R - turn_R), np.sin(phi_R - turn_R)
    cos_lambda_R1 = 1 / np.hypot(1.0, tan_lambda_R)[:, None]
    direction_R3 = np.stack([cos_R, sin_R, tan_lambda_R], axis=1) * cos_lambda_R1
    bend_R3 = np.stack([sin_R * omega_R, -cos_R * omega_R, 0 * omega_R], axis=1) * cos_lambda_R1**2
    return Impacts(point_R3, direction_R3, bend_R3)


def track_paths(x_RF: F32, detector: Detector, points: int, reach_R: F64 | None = None) -> F64:
    """Return points of the way of tracks to the inner calorimeter face.

    Args:
        x_RF: track features, shape (R, 16), columns of `columns.TRACK`.
        detector: its barrel radius and endcap plane [mm] are the face, taken as a cylinder.
        points: how many, from the point of closest approach to the face, both included.
        reach_R: where not to the face, longest way of each track [mm].

    Returns:
        Points, shape (R, points, 3) [mm].
    """
    path_R = _path_to_face(x_RF, detector)
    if reach_R is not None:
        path_R = np.minimum(path_R, reach_R / np.hypot(1.0, _column(x_RF, "tan_lambda")))
    return _points(x_RF, path_R[:, None] * np.linspace(0.0, 1.0, points))


def _path_to_face(x_RF: F32, detector: Detector) -> F64:
    """Return the transverse path to the face [mm]; to the farthest point where it is not met."""
    omega_R = _column(x_RF, "omega")
    path_R = np.minimum(
        _path_to_barrel(_column(x_RF, "d0"), omega_R, detector.barrel_radius),
        _path_to_endcap(_column(x_RF, "z0"), _column(x_RF, "tan_lambda"), detector.endcap_z),
    )
    half_turn_R = np.pi / np.maximum(np.abs(omega_R), np.pi / LONGEST_PATH)
    return np.where(np.isfinite(path_R), np.minimum(path_R, LONGEST_PATH), half_turn_R)


def _points(x_RF: F32, path_RN: F64) -> F64:
    """Return where tracks are after some transverse paths [mm], shape (R, N, 3)."""
    phi_R1, tan_lambda_R1, omega_R1, d0_R1, z0_R1 = (
        column[:, None]
        for column in (
            np.arctan2(_column(x_RF, "sin_phi"), _column(x_RF, "cos_phi")),
            *(_column(x_RF, name) for name in ("tan_lambda", "omega", "d0", "z0")),
        )
    )
    # The chord of an arc of length s that turns by omega s; np.sinc holds for straight tracks too.
    half_RN = omega_R1 * path_RN / 2
    chord_RN = path_RN * np.sinc(half_RN / np.pi)
    return np.stack(
        [
            -d0_R1 * np.sin(phi_R1) + chord_RN * np.cos(phi_R1 - half_RN),
            d0_R1 * np.cos(phi_R1) + chord_RN * np.sin(phi_R1 - half_RN),
            z0_R1 + tan_lambda_R1 * path_RN,
        ],
        axis=2,
    )


def _column(x_RF: F32, name: str) -> F64:
    """Return one track column in double precision, shape (R,)."""
    return x_RF[:, TRACK.index(name)].astype(np.float64)


def _path_to_barrel(d0_R: F64, omega_R: F64, radius: float) -> F64:
    """Return the transverse path to the barrel [mm]; infinite if the helix curls up inside.

    The distance r from the axis obeys r^2 = d0^2 + 4 (1 - d0 omega) sin^2(omega s / 2) / omega^2.
    """
    lever_R = 1 - d0_R * omega_R
    with np.errstate(divide="ignore", invalid="ignore"):
        chord_R = np.sqrt(np.maximum(radius**2 - d0_R**2, 0.0) / lever_R)
        sine_R = np.abs(omega_R) * chord_R / 2
        path_R = chord_R * np.where(sine_R > 1e-9, np.arcsin(sine_R) / sine_R, 1.0)
    return np.where((lever_R > 0) & (sine_R <= 1), path_R, np.inf)


def _path_to_endcap(z0_R: F64, tan_lambda_R: F64, endcap_z: float) -> F64:
    """Return the transverse path to the endcap plane ahead [mm]; infinite without pitch."""
    away_R = np.maximum(endcap_z - np.sign(tan_lambda_R) * z0_R, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(tan_lambda_R != 0, away_R / np.abs(tan_lambda_R), np.inf)

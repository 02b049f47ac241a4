"""Where an element meets the calorimeter, as seen from the origin: (eta, sin phi, cos phi).

Clusters and hits lie there already. Tracks follow a helix from their point of closest approach to
the inner face of the calorimeter, the barrel cylinder or the endcap plane, whichever comes first:
in 4 T a track of 2 GeV turns by about 0.5 rad on its way, much more than the size of a shower, so
without this a track and its own cluster would not be neighbours.

Shape letters: T packed rows, F features of the widest kind; lengths in mm.
"""

import math

import torch
from torch import Tensor

from mlpf_stream.columns import KINDS, TRACK, Detector, ElementKind

_FAR = 1e5  # mm; nothing of a detector is farther away
_NEAR = 1.0  # mm; closer to the beam line a direction is not defined
_MAX_ETA = 5.0
_MAX_TAN_LAMBDA = 1e3
_MAX_OMEGA = 1.0  # 1/mm
_LONGEST_CURL = 5 * math.pi  # turning angle where a curler that reaches no face is given up


def directions(x_TF: Tensor, kind_T: Tensor, detector: Detector) -> Tensor:
    """Return eta, sin phi, cos phi at the calorimeter, shape (T, 3) float32; zero in the tail.

    Finite for every finite input.
    """
    x_TF = x_TF.float()
    position_T3 = x_TF.new_zeros(x_TF.shape[0], 3)
    for kind in KINDS.values():
        if kind.width > x_TF.shape[1]:
            continue
        own_T3 = extrapolate(x_TF, detector) if kind is TRACK else _centre(x_TF, kind)
        position_T3 = torch.where((kind_T == kind.code)[:, None], own_T3, position_T3)
    x_T, y_T, z_T = position_T3.unbind(1)
    radius_T = torch.hypot(x_T, y_T).clamp(min=_NEAR)
    eta_T = torch.asinh(z_T / radius_T).clamp(-_MAX_ETA, _MAX_ETA)
    return torch.stack([eta_T, y_T / radius_T, x_T / radius_T], dim=1)


def extrapolate(x_TF: Tensor, detector: Detector) -> Tensor:
    """Return the point where the helix of each track meets the calorimeter, shape (T, 3) [mm].

    A curler that never reaches the barrel goes to the endcap; if it needs more than 2.5 turns, it
    stops at its point farthest from the beam.

    Source: LCIO and EDM4HEP track parameters, LC-DET-2006-004: at arc length s the momentum has
    azimuth phi - omega s; the reference point is the origin, so that the point of closest approach
    is (-d0 sin phi, d0 cos phi, z0).
    """
    omega_T = _bounded(x_TF, "omega", _MAX_OMEGA)
    tan_lambda_T = _bounded(x_TF, "tan_lambda", _MAX_TAN_LAMBDA)
    d0_T, z0_T = _bounded(x_TF, "d0", _FAR), _bounded(x_TF, "z0", _FAR)
    sin_T, cos_T = _bounded(x_TF, "sin_phi", 1.0), _bounded(x_TF, "cos_phi", 1.0)
    to_barrel_T = _arc_to_radius(omega_T, d0_T, detector.barrel_radius)
    to_endcap_T = detector.endcap_z - z0_T * torch.sign(tan_lambda_T)
    to_endcap_T = to_endcap_T.clamp(min=0.0) / tan_lambda_T.abs().clamp(min=1e-6)
    arc_T = torch.minimum(to_barrel_T, to_endcap_T)
    turn_T = omega_T * arc_T
    along_T = arc_T * torch.sinc(turn_T / math.pi)
    aside_T = d0_T - 0.5 * turn_T * arc_T * torch.sinc(turn_T / (2 * math.pi)).square()
    return torch.stack(
        [
            cos_T * along_T - sin_T * aside_T,
            sin_T * along_T + cos_T * aside_T,
            z0_T + tan_lambda_T * arc_T,
        ],
        dim=1,
    )


def _arc_to_radius(omega_T: Tensor, d0_T: Tensor, radius: float) -> Tensor:
    """Return the transverse arc length from closest approach to `radius`, shape (T,) [mm].

    From r^2 = d0^2 + 4 (1 - omega d0) sin^2(omega s / 2) / omega^2. Helices that do not reach it
    get the length of the longest curl.
    """
    reach_T = (radius**2 - d0_T.square()).clamp(min=0.0)
    chord_T = torch.sqrt(reach_T / (1.0 - omega_T * d0_T).clamp(min=1e-3))
    half_T = 0.5 * omega_T.abs() * chord_T
    bent_T = torch.asin(half_T.clamp(max=1.0)) / half_T.clamp(min=1e-6)
    curl_T = _LONGEST_CURL / omega_T.abs().clamp(min=1e-6)
    straight_T = torch.where(half_T < 1e-3, chord_T, chord_T * bent_T)
    return torch.where(half_T > 1.0, curl_T, straight_T)


def _bounded(x_TF: Tensor, name: str, limit: float) -> Tensor:
    """Return a track column, held within +-limit so that nothing below can overflow."""
    return x_TF[:, TRACK.index(name)].clamp(-limit, limit)


def _centre(x_TF: Tensor, kind: ElementKind) -> Tensor:
    """Return the position of elements that have one, shape (T, 3) [mm]."""
    columns = [x_TF[:, kind.index(axis)] for axis in ("x", "y", "z")]
    return torch.stack(columns, dim=1).clamp(-_FAR, _FAR)

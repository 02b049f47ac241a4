"""Hits to input features.

Shape letters: H hit rows, F features. Units: GeV, mm, ns.
"""

from typing import Final, NamedTuple

import numpy as np

from mlpf_stream.columns import HIT
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.edm4hep.hits import Cells, HitSource
from mlpf_stream.edm4hep.particles import ETA_MAX
from mlpf_stream.event import F32, I64

_ELEMTYPE: Final = HIT.index("elemtype")
_ET: Final = HIT.index("et")
_ETA: Final = HIT.index("eta")
_SIN_PHI: Final = HIT.index("sin_phi")
_COS_PHI: Final = HIT.index("cos_phi")
_ENERGY: Final = HIT.index("energy")
_X: Final = HIT.index("x")
_Y: Final = HIT.index("y")
_Z: Final = HIT.index("z")
_TIME: Final = HIT.index("time")
_SUBDETECTOR: Final = HIT.index("subdetector")
_TYPE: Final = HIT.index("type")
_STEEP: Final = np.float32(1e30)


def hit_features(collections: Collections, cells: Cells) -> tuple[F32, tuple[str, ...]]:
    """Return the features of all hits, shape (H, F), and those that some collection lacks.

    The momentum of a hit is its energy along the line from the origin. A hit on the beam axis has
    eta = +-ETA_MAX (0 at the origin) and phi = 0.
    """
    hits = cells.elements
    x_HF = np.zeros((hits.count, HIT.width), np.float32)
    slope_H = np.empty(hits.count, np.float32)
    for number, source in enumerate(hits.sources):
        place = (hits.own_SF[number], hits.first_SE[number])
        _fill(x_HF, slope_H, _members(collections, source), place, _code(source))
    np.arcsinh(slope_H, out=slope_H)
    np.clip(slope_H, -ETA_MAX, ETA_MAX, out=slope_H)
    x_HF[:, _ETA] = slope_H
    lacking = [name for name in ("time", "type") if not hits.stored(collections, name)]
    return x_HF, tuple(f"{HIT.name}.{name}" for name in lacking)


class _Members(NamedTuple):
    """What the hits of one collection store; `time` and `type` are empty where it has none."""

    energy: F32
    x: F32
    y: F32
    z: F32
    time: F32
    type: F32


def _members(collections: Collections, source: HitSource) -> _Members:
    """Return the members of one collection in single precision, that of files and features."""
    names = (source.energy, "position.x", "position.y", "position.z", "time", "type")
    leaves = [f"{source.name}.{name}" for name in names]
    nothing = np.zeros(0, np.float32)
    return _Members(
        *(
            collections[leaf].values.astype(np.float32, copy=False)
            if leaf in collections
            else nothing
            for leaf in leaves
        )
    )


def _code(source: HitSource) -> tuple[int, int]:
    """Return what tells the hits of one collection from others."""
    return source.elemtype, source.subdetector


@compiled()
def _fill(
    x_HF: F32, slope_H: F32, hit: _Members, place: tuple[I64, I64], code: tuple[int, int]
) -> None:
    """Fill in the features of the hits of one collection, and z / r for that of eta."""
    own, first_E = place
    elemtype, subdetector = np.float32(code[0]), np.float32(code[1])
    for event in range(len(first_E)):
        shift = first_E[event] - own[event]
        for at in range(own[event], own[event + 1]):
            x, y, z, energy = hit.x[at], hit.y[at], hit.z[at], hit.energy[at]
            radius, row = np.sqrt(x * x + y * y), shift + at
            if radius == 0:
                # The arcsinh of this is beyond ETA_MAX, or 0 at the origin.
                slope_H[row], x_HF[row, _COS_PHI] = np.sign(z) * _STEEP, 1
            else:
                slope_H[row] = z / radius
                x_HF[row, _ET] = energy * (radius / np.sqrt(radius * radius + z * z))
                x_HF[row, _SIN_PHI], x_HF[row, _COS_PHI] = y / radius, x / radius
            x_HF[row, _ENERGY] = energy
            x_HF[row, _X], x_HF[row, _Y], x_HF[row, _Z] = x, y, z
            x_HF[row, _ELEMTYPE], x_HF[row, _SUBDETECTOR] = elemtype, subdetector
            if len(hit.time):
                x_HF[row, _TIME] = hit.time[at]
            if len(hit.type):
                x_HF[row, _TYPE] = hit.type[at]

"""The calorimeters of CLIC_o3_v14 as cells: where a point falls, and where a cell lies.

A cell is named by one integer: collection, stave or side, layer, and two indices in the plane of
the layer. Barrels are dodecagons of flat staves, endcaps are planes across the beam.

Units: mm.

Source: k4geo CLIC_o3_v14 compact files; concept in arXiv:1812.07337.
"""

from typing import Final

import numpy as np
from numba import njit

COLLECTIONS: Final = (
    "ECALBarrel",
    "ECALEndcap",
    "ECALOther",
    "HCALBarrel",
    "HCALEndcap",
    "HCALOther",
    "MUON",
)
"""Hit collections in the order of their codes; MUON is the yoke, barrel and endcaps."""
ECAL, HCAL, YOKE = range(3)
"""Subdetectors: calorimeters that share a cell size."""
SUBDETECTOR: Final = np.array([ECAL, ECAL, ECAL, HCAL, HCAL, HCAL, YOKE], np.int8)
"""Subdetector of every collection."""

ECAL_CELL: Final = 5.1
ECAL_PITCH: Final = 202.0 / 40.0
HCAL_CELL: Final = 30.0
HCAL_PITCH: Final = 1590.0 / 60.0
YOKE_CELL: Final = 30.0
YOKE_PITCH: Final = 284.0
CELL: Final = np.array([ECAL_CELL, HCAL_CELL, YOKE_CELL])
"""Width of a cell by subdetector [mm]."""
PITCH: Final = np.array([ECAL_PITCH, HCAL_PITCH, YOKE_PITCH])
"""Distance of layers by subdetector [mm]."""

ECAL_BARREL: Final = (1500.0, 1702.0)
HCAL_BARREL: Final = (1740.0, 3330.0)
YOKE_BARREL: Final = (4461.0, 6449.0)
BARREL_HALF_LENGTH: Final = 2210.0
YOKE_HALF_LENGTH: Final = 4129.0
ECAL_ENDCAP: Final = (2307.0, 2509.0)
HCAL_ENDCAP: Final = (2539.0, 4129.0)
YOKE_ENDCAP: Final = (4179.0, 5599.0)
ECAL_ENDCAP_RADII: Final = (410.0, 1700.0)
ECAL_PLUG_RADII: Final = (260.0, 380.0)
HCAL_ENDCAP_RADII: Final = (250.0, 3246.0)
HCAL_RING: Final = (2360.0, 2539.0)
HCAL_RING_RADII: Final = (1740.0, 3246.0)
YOKE_ENDCAP_RADII: Final = (490.0, 6450.0)
"""Inner and outer faces: apothems of barrels, |z| and radii of endcaps [mm]."""

LAYER_STEP: Final = 1 << 24
U_STEP: Final = 1 << 12
V_STEP: Final = 1
"""From the name of a cell to those of the next layer, and the next cells in the plane."""
NOWHERE: Final = -1
"""Name of no cell: outside of all sensitive layers."""
_SYMMETRY: Final = 12
_OFFSET: Final = 2048
_STAVE_COSINE: Final = np.cos(2.0 * np.pi * np.arange(_SYMMETRY) / _SYMMETRY)
_STAVE_SINE: Final = np.sin(2.0 * np.pi * np.arange(_SYMMETRY) / _SYMMETRY)
_EB, _EE, _EO, _HB, _HE, _HO, _MU = range(len(COLLECTIONS))


@njit(cache=True)
def _name(collection: int, stave: int, layer: int, u: float, v: float) -> int:
    """Return the name of a cell from its indices in the plane."""
    iu, iv = int(np.floor(u)) + _OFFSET, int(np.floor(v)) + _OFFSET
    return ((((collection * 32 + stave) * 128 + layer) * 4096) + iu) * 4096 + iv


@njit(cache=True)
def _inside(value: float, limits: tuple[float, float]) -> bool:
    """Return whether a value lies between two limits."""
    return limits[0] <= value < limits[1]


@njit(cache=True)
def cell_at(x: float, y: float, z: float) -> int:
    """Return the name of the cell that holds a point [mm], or `NOWHERE`."""
    away = abs(z)
    yoke = away < YOKE_HALF_LENGTH and x * x + y * y > YOKE_BARREL[0] ** 2
    if away < BARREL_HALF_LENGTH or yoke:
        stave, apothem = _stave(x, y)
        across = y * _STAVE_COSINE[stave] - x * _STAVE_SINE[stave]
        return _barrel_cell(stave, apothem, across, z)
    return _endcap_cell(x, y, z, away)


@njit(cache=True)
def _stave(x: float, y: float) -> tuple[int, float]:
    """Return the stave that a point lies in, and its distance along the normal of it [mm]."""
    # By symmetry, the four staves of the first quadrant stand for all.
    stave, apothem = 0, abs(x)
    for number in range(1, 4):
        reach = abs(x) * _STAVE_COSINE[number] + abs(y) * _STAVE_SINE[number]
        if reach > apothem:
            stave, apothem = number, reach
    if x < 0:
        stave = _SYMMETRY // 2 - stave
    if y < 0 and stave:
        stave = _SYMMETRY - stave
    return stave, apothem


@njit(cache=True)
def _barrel_cell(stave: int, apothem: float, across: float, z: float) -> int:
    """Return the cell of a point in a stave, by its depth and its place in the plane."""
    if _inside(apothem, ECAL_BARREL):
        layer = int((apothem - ECAL_BARREL[0]) / ECAL_PITCH)
        return _name(_EB, stave, layer, across / ECAL_CELL, z / ECAL_CELL)
    if _inside(apothem, HCAL_BARREL):
        layer = int((apothem - HCAL_BARREL[0]) / HCAL_PITCH)
        return _name(_HB, stave, layer, across / HCAL_CELL, z / HCAL_CELL)
    if _inside(apothem, YOKE_BARREL):
        layer = int((apothem - YOKE_BARREL[0]) / YOKE_PITCH)
        return _name(_MU, stave, layer, across / YOKE_CELL, z / YOKE_CELL)
    return NOWHERE


@njit(cache=True)
def _endcap_cell(x: float, y: float, z: float, away: float) -> int:
    """Return the cell of a point in an endcap, plug or ring."""
    radius = np.sqrt(x * x + y * y)
    stave = 12 + (z > 0)
    if _inside(away, ECAL_ENDCAP):
        layer = int((away - ECAL_ENDCAP[0]) / ECAL_PITCH)
        if _inside(radius, ECAL_ENDCAP_RADII):
            return _name(_EE, stave, layer, x / ECAL_CELL, y / ECAL_CELL)
        if _inside(radius, ECAL_PLUG_RADII):
            return _name(_EO, stave, layer, x / ECAL_CELL, y / ECAL_CELL)
    if _inside(away, HCAL_ENDCAP) and _inside(radius, HCAL_ENDCAP_RADII):
        layer = int((away - HCAL_ENDCAP[0]) / HCAL_PITCH)
        return _name(_HE, stave, layer, x / HCAL_CELL, y / HCAL_CELL)
    if _inside(away, HCAL_RING) and _inside(radius, HCAL_RING_RADII):
        layer = int((away - HCAL_RING[0]) / HCAL_PITCH)
        return _name(_HO, stave, layer, x / HCAL_CELL, y / HCAL_CELL)
    if _inside(away, YOKE_ENDCAP) and _inside(radius, YOKE_ENDCAP_RADII):
        layer = int((away - YOKE_ENDCAP[0]) / YOKE_PITCH)
        return _name(_MU, stave, layer, x / YOKE_CELL, y / YOKE_CELL)
    return NOWHERE


_FIRST_FACE: Final = np.array(
    [
        ECAL_BARREL[0],
        ECAL_ENDCAP[0],
        ECAL_ENDCAP[0],
        HCAL_BARREL[0],
        HCAL_ENDCAP[0],
        HCAL_RING[0],
        YOKE_BARREL[0],
    ]
)


@njit(cache=True)
def collection_of(cell: int) -> int:
    """Return the code of the collection of a cell."""
    return cell >> 36


@njit(cache=True)
def layer_of(cell: int) -> int:
    """Return the layer of a cell, 0 at the inner face."""
    return (cell >> 24) & 127


@njit(cache=True)
def centre_of(cell: int) -> tuple[float, float, float]:
    """Return the centre of a cell [mm]."""
    collection, stave = collection_of(cell), (cell >> 31) & 31
    layer = layer_of(cell)
    size = CELL[SUBDETECTOR[collection]]
    u = (((cell >> 12) & 4095) - _OFFSET + 0.5) * size
    v = ((cell & 4095) - _OFFSET + 0.5) * size
    depth = _FIRST_FACE[collection] + (layer + 0.5) * PITCH[SUBDETECTOR[collection]]
    if stave < _SYMMETRY:
        cosine, sine = _STAVE_COSINE[stave], _STAVE_SINE[stave]
        return depth * cosine - u * sine, depth * sine + u * cosine, v
    if collection == _MU:
        depth += YOKE_ENDCAP[0] - YOKE_BARREL[0]
    return u, v, depth if stave == 13 else -depth

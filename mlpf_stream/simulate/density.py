"""Hits follow denser neighbours, peaks follow denser peaks nearby, and the rest found clusters.

So showers that overlap merge, and fragments that lie apart split off, as in any pattern
recognition. Lengths are in cell widths, so that one rule serves fine and coarse calorimeters.

Shape letters: H hits of all events end to end, N hits of one calorimeter in one event, Q pairs of
neighbours, 3 coordinates x, y, z.

Source: density peaks after Rodriguez and Laio, Science 344 (2014) 1492, as in CLUE (Rovere et al.,
arXiv:2001.09761).
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mlpf_stream.event import F64, I8, I32, I64
from mlpf_stream.simulate.cells import Cells
from mlpf_stream.simulate.geometry import (
    CELL,
    ECAL,
    HCAL,
    LAYER_STEP,
    SUBDETECTOR,
    U_STEP,
    V_STEP,
)

_DIRECTIONS: Final = np.array(
    [
        (layer, u, v)
        for layer in (0, 1)
        for u in (-1, 0, 1)
        for v in (-1, 0, 1)
        if (layer, u, v) > (0, 0, 0)
    ]
)
STEPS: Final = _DIRECTIONS @ np.array([LAYER_STEP, U_STEP, V_STEP])
"""From the name of a cell to those of half of the 26 around it: the other half meets this one."""
_SQUARE: Final = np.sum(_DIRECTIONS**2, axis=1).astype(np.float64)
"""Squared distances of those cells: layers are about one cell width apart."""
LINK_RADIUS: Final = np.array([20.0, 12.0])
"""A peak of ECAL or HCAL follows a denser one within so many cell widths."""
SCALES: Final = (0.25, 0.5, 1.0)
"""Peaks follow denser peaks, scale by scale, in parts of the link radius."""
LEAST_CROWD: Final = 2
"""A peak with fewer hits in and around its cell founds no cluster."""
_FALL: Final = 0.3
"""Energy at distance d counts 1 / (1 + 0.3 d^2) towards the density."""
_SLOTS: Final = 1 << 13
"""Slots of a search grid; a power of two."""
_ROOM: Final = 3
"""Pairs of neighbours per hit that there is room for at first."""


class _Hits(NamedTuple):
    """The columns of `Cells` that peaks are made of."""

    cell_H: I64
    position_H3: F64
    energy_H: F64
    subdetector_H: I8


def find_peaks(cells: Cells) -> tuple[I64, I64]:
    """Return the peak that every hit belongs to, -1 for none, and the hit that founded each peak.

    Peaks are numbered event by event, in ECAL first. Hits of the yoke belong to none.
    """
    subdetector_H = SUBDETECTOR[cells.collection_H]
    hits = _Hits(cells.cell_H, cells.position_H3, cells.energy_H, subdetector_H)
    peak_H, founders = _peaks(hits, cells.offsets)
    return peak_H, founders


@njit(cache=True)
def _peaks(hits: _Hits, offsets: I64) -> tuple[I64, I64]:
    """Find the peaks of both calorimeters of every event."""
    peak_H = np.full(len(hits.energy_H), -1, np.int64)
    founders = np.empty(len(hits.energy_H), np.int64)
    peaks = 0
    for event in range(len(offsets) - 1):
        for wanted in (ECAL, HCAL):
            own = np.empty(offsets[event + 1] - offsets[event], np.int64)
            count = 0
            for hit in range(offsets[event], offsets[event + 1]):
                if hits.subdetector_H[hit] == wanted:
                    own[count] = hit
                    count += 1
            own = own[:count]
            place_N3 = hits.position_H3[own] / CELL[wanted]
            leader_N, crowd_N = _leaders(
                hits.cell_H[own], place_N3, hits.energy_H[own], LINK_RADIUS[wanted]
            )
            for number in range(count):
                if leader_N[number] < 0 and crowd_N[number] >= LEAST_CROWD:
                    peak_H[own[number]] = peaks
                    founders[peaks] = own[number]
                    peaks += 1
            for number in range(count):
                top = number
                while leader_N[top] >= 0:
                    top = leader_N[top]
                peak_H[own[number]] = peak_H[own[top]]
                step = number
                while leader_N[step] >= 0:  # the next one on this way finds the top at once
                    ahead = leader_N[step]
                    leader_N[step] = top
                    step = ahead
    return peak_H, founders[:peaks].copy()


@njit(cache=True)
def _leaders(cell_N: I64, place_N3: F64, energy_N: F64, radius: float) -> tuple[I64, I64]:
    """Return the nearest denser hit of every hit, -1 for none, and the hits around each."""
    count = len(energy_N)
    first_Q, second_Q, step_Q = _neighbours(cell_N)
    density_N = energy_N.copy()
    crowd_N = np.ones(count, np.int64)
    for pair in range(len(first_Q)):
        one, two = first_Q[pair], second_Q[pair]
        weight = 1.0 / (1.0 + _FALL * _SQUARE[step_Q[pair]])
        density_N[one] += weight * energy_N[two]
        density_N[two] += weight * energy_N[one]
        crowd_N[one] += 1
        crowd_N[two] += 1
    leader_N = np.full(count, -1, np.int64)
    best_N = np.full(count, radius * radius)
    for pair in range(len(first_Q)):
        low, high = first_Q[pair], second_Q[pair]
        if density_N[low] > density_N[high]:
            low, high = high, low
        square = _SQUARE[step_Q[pair]]
        if density_N[low] < density_N[high] and square < best_N[low]:
            best_N[low] = square
            leader_N[low] = high
    for part in SCALES:
        _lead_among_peaks(place_N3, density_N, part * radius, leader_N)
    return leader_N, crowd_N


@njit(cache=True)
def _slot(gx: int, gy: int, gz: int) -> int:
    """Return the slot of a cell of a search grid; several cells may share one."""
    return (gx * 73856093 ^ gy * 19349663 ^ gz * 83492791) & (_SLOTS - 1)


@njit(cache=True)
def _grid(place_N3: F64, width: float) -> tuple[I32, I32]:
    """Sort points into cells of a width: first point of every slot, and points by slot."""
    count = len(place_N3)
    slot_N = np.empty(count, np.int32)
    first = np.zeros(_SLOTS + 1, np.int32)
    for number in range(count):
        gx = int(np.floor(place_N3[number, 0] / width))
        gy = int(np.floor(place_N3[number, 1] / width))
        gz = int(np.floor(place_N3[number, 2] / width))
        slot_N[number] = _slot(gx, gy, gz)
        first[slot_N[number] + 1] += 1
    for number in range(_SLOTS):
        first[number + 1] += first[number]
    fill = first[:-1].copy()
    point_N = np.empty(count, np.int32)
    for number in range(count):
        point_N[fill[slot_N[number]]] = number
        fill[slot_N[number]] += 1
    return first, point_N


@njit(cache=True)
def _neighbours(cell_N: I64) -> tuple[I32, I32, I8]:
    """Return all pairs of hits in touching cells of a stave or endcap, each once, and their step.

    A step names one of the 13 directions of `STEPS`.
    """
    count = len(cell_N)
    mask = 15
    while mask < 2 * count:
        mask = 2 * mask + 1
    table = np.full(mask + 1, -1, np.int32)
    for number in range(count):
        slot = _spread(cell_N[number], mask)
        while table[slot] >= 0:
            slot = (slot + 1) & mask
        table[slot] = number
    one_Q = np.empty(_ROOM * count + 16, np.int32)
    two_Q, step_Q = np.empty_like(one_Q), np.empty(len(one_Q), np.int8)
    used = 0
    for number in range(count):
        if used + len(STEPS) > len(one_Q):
            one_Q = np.concatenate((one_Q, np.empty_like(one_Q)))
            two_Q = np.concatenate((two_Q, np.empty_like(two_Q)))
            step_Q = np.concatenate((step_Q, np.empty_like(step_Q)))
        for step in range(len(STEPS)):
            wanted = cell_N[number] + STEPS[step]
            slot = _spread(wanted, mask)
            while table[slot] >= 0:
                if cell_N[table[slot]] == wanted:
                    one_Q[used], two_Q[used], step_Q[used] = number, table[slot], step
                    used += 1
                    break
                slot = (slot + 1) & mask
    return one_Q[:used], two_Q[:used], step_Q[:used]


@njit(cache=True)
def _spread(cell: int, mask: int) -> int:
    """Return the slot where a cell would be."""
    return ((cell * 0x9E3779B97F4A7C1) >> 24) & mask


@njit(cache=True)
def _lead_among_peaks(place_N3: F64, density_N: F64, radius: float, leader_N: I64) -> None:
    """Give peaks their nearest denser peak within a radius, if any."""
    peak_N = np.flatnonzero(leader_N < 0)
    first, point_N = _grid(place_N3[peak_N], radius)
    hit_N = peak_N[point_N]
    near_N3, dense_N = place_N3[hit_N], density_N[hit_N]
    for number in range(len(hit_N)):
        best, own = radius * radius, dense_N[number]
        x, y, z = near_N3[number, 0], near_N3[number, 1], near_N3[number, 2]
        gx, gy, gz = int(np.floor(x / radius)), int(np.floor(y / radius)), int(np.floor(z / radius))
        for ix in range(gx - 1, gx + 2):
            for iy in range(gy - 1, gy + 2):
                for iz in range(gz - 1, gz + 2):
                    slot = _slot(ix, iy, iz)
                    for other in range(first[slot], first[slot + 1]):
                        if dense_N[other] <= own:
                            continue
                        dx = near_N3[other, 0] - x
                        dy = near_N3[other, 1] - y
                        dz = near_N3[other, 2] - z
                        square = dx * dx + dy * dy + dz * dz
                        if square < best:
                            best = square
                            leader_N[hit_N[number]] = hit_N[other]

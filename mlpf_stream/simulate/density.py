"""Hits follow their nearest denser neighbour: those without one found a cluster.

So showers that overlap merge, and fragments that lie apart split off, as in any pattern
recognition. Lengths are in cell widths, so that one rule serves fine and coarse calorimeters.

Shape letters: H hits of all events end to end, N hits of one calorimeter in one event, Q pairs of
neighbours, 3 coordinates x, y, z.

Source: density peaks after Rodriguez and Laio, Science 344 (2014) 1492, as in CLUE (Rovere et al.,
arXiv:2001.09761).
"""

from typing import Final

import numpy as np
from numba import njit

from mlpf_stream.event import F64, I8, I32, I64
from mlpf_stream.simulate.cells import Cells
from mlpf_stream.simulate.geometry import CELL, ECAL, HCAL, SUBDETECTOR

DENSITY_RADIUS: Final = 1.8
"""Neighbours within so many cell widths, the 26 around a cell, count towards its density."""
LINK_RADIUS: Final = np.array([17.0, 10.0])
"""A hit of ECAL or HCAL follows a denser one within so many cell widths."""
LEAST_CROWD: Final = 2
"""A peak of fewer hits within the density radius founds no cluster."""
_FALL: Final = 0.3
"""Energy at distance d counts 1 / (1 + 0.3 d^2) towards the density."""
_SLOTS: Final = 1 << 13
"""Slots of a search grid; a power of two."""
_ROOM: Final = 3
"""Pairs per hit that there is room for at first."""


def find_peaks(cells: Cells) -> tuple[I64, I64]:
    """Return the peak that every hit belongs to, -1 for none, and the hit that founded each peak.

    Peaks are numbered event by event, in ECAL first. Hits of the yoke belong to none.
    """
    subdetector_H = SUBDETECTOR[cells.collection_H]
    peak_H, founders = _peaks(cells.position_H3, cells.energy_H, subdetector_H, cells.offsets)
    return peak_H, founders


@njit(cache=True)
def _peaks(position_H3: F64, energy_H: F64, subdetector_H: I8, offsets: I64) -> tuple[I64, I64]:
    """Find the peaks of both calorimeters of every event."""
    peak_H = np.full(len(energy_H), -1, np.int64)
    founders = np.empty(len(energy_H), np.int64)
    peaks = 0
    for event in range(len(offsets) - 1):
        for wanted in (ECAL, HCAL):
            own = np.empty(offsets[event + 1] - offsets[event], np.int64)
            count = 0
            for hit in range(offsets[event], offsets[event + 1]):
                if subdetector_H[hit] == wanted:
                    own[count] = hit
                    count += 1
            own = own[:count]
            place_N3 = position_H3[own] / CELL[wanted]
            leader_N, crowd_N = _leaders(place_N3, energy_H[own], LINK_RADIUS[wanted])
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
def _leaders(place_N3: F64, energy_N: F64, radius: float) -> tuple[I64, I64]:
    """Return the nearest denser hit of every hit, -1 for none, and the hits around each."""
    count = len(energy_N)
    first_Q, second_Q, square_Q = _pairs(place_N3)
    density_N = energy_N.copy()
    crowd_N = np.ones(count, np.int64)
    for pair in range(len(first_Q)):
        one, two = first_Q[pair], second_Q[pair]
        weight = 1.0 / (1.0 + _FALL * square_Q[pair])
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
        if density_N[low] < density_N[high] and square_Q[pair] < best_N[low]:
            best_N[low] = square_Q[pair]
            leader_N[low] = high
    # Most have one not far away: the wide search is for the few that have none.
    _lead_from_afar(place_N3, density_N, radius / 2.0, leader_N)
    _lead_from_afar(place_N3, density_N, radius, leader_N)
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
def _pairs(place_N3: F64) -> tuple[I32, I32, F64]:
    """Return all pairs within the density radius, each once, with their squared distances."""
    count = len(place_N3)
    first, point_N = _grid(place_N3, DENSITY_RADIUS)
    near_N3 = place_N3[point_N]
    grid_N3 = np.floor(near_N3 / DENSITY_RADIUS).astype(np.int64)
    one_Q = np.empty(_ROOM * count, np.int32)
    two_Q = np.empty(_ROOM * count, np.int32)
    square_Q = np.empty(_ROOM * count)
    used, limit = 0, DENSITY_RADIUS * DENSITY_RADIUS
    for number in range(count):
        x, y, z = near_N3[number]
        gx, gy, gz = grid_N3[number]
        # Half of the cells around, and the rest of the own one: each pair is met once.
        for step in range(14):
            if step < 9:
                ix, iy, iz = gx + 1, gy + step // 3 - 1, gz + step % 3 - 1
            elif step < 12:
                ix, iy, iz = gx, gy + 1, gz + step - 10
            elif step == 12:
                ix, iy, iz = gx, gy, gz + 1
            else:
                ix, iy, iz = gx, gy, gz
            slot = _slot(ix, iy, iz)
            begin = number + 1 if step == 13 else first[slot]
            for other in range(begin, first[slot + 1]):
                dx, dy, dz = near_N3[other, 0] - x, near_N3[other, 1] - y, near_N3[other, 2] - z
                square = dx * dx + dy * dy + dz * dz
                # Cells that share a slot lie far apart, but a cell must not be met twice.
                here = grid_N3[other, 0] == ix and grid_N3[other, 1] == iy
                if square < limit and here and grid_N3[other, 2] == iz:
                    if used == len(one_Q):
                        one_Q = np.concatenate((one_Q, np.empty_like(one_Q)))
                        two_Q = np.concatenate((two_Q, np.empty_like(two_Q)))
                        square_Q = np.concatenate((square_Q, np.empty_like(square_Q)))
                    one_Q[used], two_Q[used] = point_N[number], point_N[other]
                    square_Q[used] = square
                    used += 1
    return one_Q[:used], two_Q[:used], square_Q[:used]


@njit(cache=True)
def _lead_from_afar(place_N3: F64, density_N: F64, radius: float, leader_N: I64) -> None:
    """Give points without a leader their nearest denser point within a radius, if any."""
    first, point_N = _grid(place_N3, radius)
    near_N3, dense_N = place_N3[point_N], density_N[point_N]
    for number in range(len(leader_N)):
        if leader_N[number] >= 0:
            continue
        best, own = radius * radius, density_N[number]
        x, y, z = place_N3[number]
        gx, gy, gz = int(np.floor(x / radius)), int(np.floor(y / radius)), int(np.floor(z / radius))
        for ix in range(gx - 1, gx + 2):
            for iy in range(gy - 1, gy + 2):
                for iz in range(gz - 1, gz + 2):
                    slot = _slot(ix, iy, iz)
                    for other in range(first[slot], first[slot + 1]):
                        dx, dy, dz = (
                            near_N3[other, 0] - x,
                            near_N3[other, 1] - y,
                            near_N3[other, 2] - z,
                        )
                        square = dx * dx + dy * dy + dz * dz
                        if square < best and dense_N[other] > own:
                            best = square
                            leader_N[number] = point_N[other]

"""From pieces of showers to hits: deposits fall into cells, cells above threshold are read out.

Shape letters: D pieces of showers, H hits and K contributions of particles to hits, of all events
end to end; E events.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mlpf_stream.event import F64, I8, I32, I64, offsets_of
from mlpf_stream.simulate.components import LARGEST_TURN, TRAIL, Components, Profile
from mlpf_stream.simulate.geometry import (
    COLLECTIONS,
    HCAL,
    HCAL_BARREL,
    NOWHERE,
    SUBDETECTOR,
    cell_at,
    centre_of,
    collection_of,
)

LIGHT: Final = 299.792458
"""Speed of light [mm / ns]."""
MIP: Final = np.array([0.0072, 0.029, 0.029])
"""Mean calibrated energy of a minimum-ionising particle in a cell by subdetector [GeV]."""
THRESHOLD: Final = 0.5 * MIP
"""Least energy of a hit: half a minimum-ionising particle."""
NOISE: Final = 12.0
"""Mean noise hits of an event, in the HCAL barrel: dark counts of its silicon photomultipliers."""
GATE: Final = 200.0
"""Hits later than this after the collision are not read out [ns]."""
RESOLUTION: Final = 0.4
"""Resolution of hit times [ns]."""
GAP: Final = 45.0
"""A little more than the space between ECAL and HCAL [mm]."""
_TRAIL_WIDTH: Final = 0.35
"""Logarithmic width of the energy that a minimum-ionising particle leaves in a cell."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Hits of E events: event `e` owns the rows `offsets[e]:offsets[e + 1]`.

    `cell_H` name of the cell, `collection_H` code of the hit collection, `layer_H` 0 at the inner
    face, `energy_H` [GeV], `position_H3` [mm], `time_H` [ns]. Contribution k gave `energy_K` [GeV]
    of particle row `particle_K` (in the record of all events) to the hit row `hit_K`, which
    ascends; noise has no contribution.
    """

    cell_H: I64
    collection_H: I8
    layer_H: I8
    energy_H: F64
    position_H3: F64
    time_H: F64
    offsets: I64
    hit_K: I64
    particle_K: I64
    energy_K: F64


class _Pieces(NamedTuple):
    """The columns of `Components` that the loop over deposits reads; `first_E` (E + 1,)."""

    first_E: I64
    particle_D: I64
    shape_D: I8
    energy_D: F64
    spots_D: I64
    origin_D3: F64
    direction_D3: F64
    bend_D3: F64
    time_D: F64
    delay_D: F64


class _Axes(NamedTuple):
    """A bent axis: where it begins [mm], its direction, half its bend, two unit vectors across.

    It bends up to the path `straight` [mm].
    """

    origin: tuple[float, float, float]
    along: tuple[float, float, float]
    half_bend: tuple[float, float, float]
    straight: float
    one: tuple[float, float, float]
    other: tuple[float, float, float]


class _Table(NamedTuple):
    """Cells of all events, and the open hash table of those of the present one."""

    slot: I32
    cell: I64
    energy: F64
    time: F64
    first: I64
    next: I64
    owner: I64
    given: F64


def deposit(components: Components, events: int, random: np.random.Generator) -> Cells:
    """Return the hits that the pieces of showers and noise leave."""
    bounds = np.arange(events + 1)
    pieces = _Pieces(
        np.searchsorted(components.event_D, bounds).astype(np.int64),
        components.particle_D,
        components.shape_D,
        components.energy_D,
        components.spots_D,
        components.origin_D3,
        components.direction_D3,
        components.bend_D3,
        components.time_D,
        components.delay_D,
    )
    noise_E = random.poisson(NOISE, events)
    room = int(components.spots_D.sum() + noise_E.sum())
    largest = int(np.add.reduceat(np.append(components.spots_D, 0), pieces.first_E[:-1]).max())
    slots = 1 << int(np.ceil(np.log2(1.2 * (largest + noise_E.max(initial=0) + 16))))
    table = _Table(
        slot=np.full(slots, -1, np.int32),
        cell=np.empty(room, np.int64),
        energy=np.empty(room),
        time=np.empty(room),
        first=np.empty(room, np.int64),
        next=np.empty(room, np.int64),
        owner=np.empty(room, np.int64),
        given=np.empty(room),
    )
    counts_E, contributions = _fill(pieces, components.profile, noise_E, table, random)
    return _read_out(table, counts_E, int(contributions), random)


@njit(cache=True)
def _fill(
    pieces: _Pieces, profile: Profile, noise_E: I64, table: _Table, random: np.random.Generator
) -> tuple[I64, int]:
    """Let all deposits of every event fall into cells; return cells per event, contributions."""
    counts_E = np.zeros(len(noise_E), np.int64)
    used, given = 0, 0
    for event in range(len(noise_E)):
        begin = used
        for piece in range(pieces.first_E[event], pieces.first_E[event + 1]):
            used, given = _fill_piece(pieces, profile, table, (piece, begin, used, given), random)
        for _ in range(noise_E[event]):
            used = _fill_noise(table, begin, used, random)
        table.slot[:] = -1
        counts_E[event] = used - begin
    return counts_E, given


@njit(cache=True)
def _fill_piece(
    pieces: _Pieces,
    profile: Profile,
    table: _Table,
    state: tuple[int, int, int, int],
    random: np.random.Generator,
) -> tuple[int, int]:
    """Let the deposits of one piece fall into cells."""
    piece, begin, used, given = state
    count = pieces.spots_D[piece]
    trail = pieces.shape_D[piece] == TRAIL
    energy = np.empty(count)
    for spot in range(count):
        if trail:
            energy[spot] = np.exp(_TRAIL_WIDTH * random.standard_normal())
        else:
            energy[spot] = random.standard_exponential()
    energy *= pieces.energy_D[piece] / energy.sum()
    axes = _axes(pieces, piece)
    begin_time, delay = pieces.time_D[piece], pieces.delay_D[piece]
    owner = pieces.particle_D[piece]
    start, alpha, scale = profile.start_D[piece], profile.alpha_D[piece], profile.scale_D[piece]
    core, tail = profile.core_D[piece], profile.tail_D[piece]
    share = profile.tail_share_D[piece]
    for spot in range(count):
        if trail:
            depth = start + (spot + 0.5) * scale
        else:
            depth = start + random.standard_gamma(alpha) * scale
        width = tail if random.random() < share else core
        radius = width * (random.standard_exponential() + random.standard_exponential())
        # A random direction without sine and cosine: a point of the unit disc.
        u, v, square = 1.0, 1.0, 2.0
        while square > 1.0 or square == 0.0:
            u, v = 2.0 * random.random() - 1.0, 2.0 * random.random() - 1.0
            square = u * u + v * v
        stretch = radius / np.sqrt(square)
        aside = (stretch * u, stretch * v)
        cell = _cell(axes, depth, aside)
        if cell == NOWHERE:  # what would fall into the gap before the HCAL falls behind it
            depth += GAP
            cell = _cell(axes, depth, aside)
        if cell == NOWHERE:
            continue
        time = begin_time + depth / LIGHT
        if delay > 0.0:
            time += delay * random.standard_exponential()
        if time < GATE:
            used, number = _add(table, cell, (energy[spot], time), begin, used)
            given = _credit(table, number, owner, energy[spot], given)
    return used, given


@njit(cache=True)
def _axes(pieces: _Pieces, piece: int) -> _Axes:
    """Return where a piece begins, its axis and bend, and two unit vectors across."""
    ax = pieces.direction_D3[piece, 0]
    ay = pieces.direction_D3[piece, 1]
    az = pieces.direction_D3[piece, 2]
    if abs(az) < 0.9:
        norm = np.sqrt(ax * ax + ay * ay)
        bx, by, bz = -ay / norm, ax / norm, 0.0
    else:
        norm = np.sqrt(ay * ay + az * az)
        bx, by, bz = 0.0, az / norm, -ay / norm
    across = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    origin, bend = pieces.origin_D3, pieces.bend_D3
    turn = np.sqrt(bend[piece, 0] ** 2 + bend[piece, 1] ** 2 + bend[piece, 2] ** 2)
    return _Axes(
        (origin[piece, 0], origin[piece, 1], origin[piece, 2]),
        (ax, ay, az),
        (0.5 * bend[piece, 0], 0.5 * bend[piece, 1], 0.5 * bend[piece, 2]),
        LARGEST_TURN / max(turn, 1e-12),
        (bx, by, bz),
        across,
    )


@njit(cache=True)
def _cell(axes: _Axes, depth: float, aside: tuple[float, float]) -> int:
    """Return the cell of a deposit at a depth along the bent axis, and aside from it [mm]."""
    u, v = aside
    bent = min(depth, axes.straight)
    square = bent * (2.0 * depth - bent)
    o, a, k, b, c = axes.origin, axes.along, axes.half_bend, axes.one, axes.other
    return cell_at(
        o[0] + depth * a[0] + square * k[0] + u * b[0] + v * c[0],
        o[1] + depth * a[1] + square * k[1] + u * b[1] + v * c[1],
        o[2] + depth * a[2] + square * k[2] + u * b[2] + v * c[2],
    )


@njit(cache=True)
def _slot(table: _Table, cell: int, begin: int) -> int:
    """Return the slot of the hash table where a cell is or would be."""
    mask = len(table.slot) - 1
    slot = (cell * 0x9E3779B97F4A7C1) >> 20 & mask
    while table.slot[slot] >= 0 and table.cell[begin + table.slot[slot]] != cell:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def _add(
    table: _Table, cell: int, deposit: tuple[float, float], begin: int, used: int
) -> tuple[int, int]:
    """Add energy to a cell; return the number of cells in use, and that of this one."""
    energy, time = deposit
    slot = _slot(table, cell, begin)
    if table.slot[slot] >= 0:
        number = begin + table.slot[slot]
        table.energy[number] += energy
        table.time[number] = min(table.time[number], time)
        return used, number
    table.slot[slot] = used - begin
    table.cell[used] = cell
    table.energy[used] = energy
    table.time[used] = time
    table.first[used] = -1
    return used + 1, used


@njit(cache=True)
def _credit(table: _Table, number: int, particle: int, energy: float, given: int) -> int:
    """Note who gave a deposit; particles come one after the other, so the last one is looked at."""
    last = table.first[number]
    if last >= 0 and table.owner[last] == particle:
        table.given[last] += energy
        return given
    table.owner[given] = particle
    table.given[given] = energy
    table.next[given] = last
    table.first[number] = given
    return given + 1


@njit(cache=True)
def _fill_noise(table: _Table, begin: int, used: int, random: np.random.Generator) -> int:
    """Add one noise hit to the HCAL barrel."""
    inner = HCAL_BARREL[0] / np.cos(np.pi / 12.0)  # where a corner between staves lies
    radius = inner + random.random() * (HCAL_BARREL[1] - inner)
    angle = 2.0 * np.pi * random.random()
    z = 4400.0 * (random.random() - 0.5)
    cell = cell_at(radius * np.cos(angle), radius * np.sin(angle), z)
    if cell == NOWHERE:
        return used
    energy = THRESHOLD[HCAL] * (1.0 + 0.3 * random.standard_exponential())
    used, _ = _add(table, cell, (energy, GATE * random.random()), begin, used)
    return used


def _read_out(
    table: _Table, counts_E: I64, contributions: int, random: np.random.Generator
) -> Cells:
    """Keep the cells above threshold, collection by collection inside every event."""
    total = int(counts_E.sum())
    cell_H = table.cell[:total]
    seen, seen_E = _seen(cell_H, table.energy, counts_E)
    hit_K, owner_K, given_K = _gather(table, seen, contributions)
    cell_H = cell_H[seen]
    return Cells(
        cell_H=cell_H,
        collection_H=(cell_H >> 36).astype(np.int8),
        layer_H=((cell_H >> 24) & 127).astype(np.int8),
        energy_H=table.energy[seen],
        position_H3=_centres(cell_H),
        time_H=table.time[seen] + RESOLUTION * random.standard_normal(len(seen)),
        offsets=offsets_of(seen_E),
        hit_K=hit_K,
        particle_K=owner_K,
        energy_K=given_K,
    )


@njit(cache=True)
def _seen(cell_H: I64, energy_H: F64, counts_E: I64) -> tuple[I64, I64]:
    """Return the cells above threshold, by event and collection, and their number per event."""
    seen, used = np.empty(len(cell_H), np.int64), 0
    seen_E = np.zeros(len(counts_E), np.int64)
    first = 0
    for event in range(len(counts_E)):
        last = first + counts_E[event]
        begin = used
        for collection in range(len(COLLECTIONS)):
            least = THRESHOLD[SUBDETECTOR[collection]]
            for cell in range(first, last):
                if collection_of(cell_H[cell]) == collection and energy_H[cell] > least:
                    seen[used] = cell
                    used += 1
        seen_E[event] = used - begin
        first = last
    return seen[:used], seen_E


@njit(cache=True)
def _gather(table: _Table, seen: I64, contributions: int) -> tuple[I64, I64, F64]:
    """Return the contributions to the hits that are seen, in the order of hits."""
    hit_K = np.empty(contributions, np.int64)
    owner_K = np.empty(contributions, np.int64)
    given_K = np.empty(contributions)
    count = 0
    for hit in range(len(seen)):
        link = table.first[seen[hit]]
        while link >= 0:
            hit_K[count], owner_K[count] = hit, table.owner[link]
            given_K[count] = table.given[link]
            count += 1
            link = table.next[link]
    return hit_K[:count], owner_K[:count], given_K[:count]


@njit(cache=True)
def _centres(cell_H: I64) -> F64:
    """Return the centres of cells [mm], shape (H, 3)."""
    position_H3 = np.empty((len(cell_H), 3))
    for hit in range(len(cell_H)):
        x, y, z = centre_of(cell_H[hit])
        position_H3[hit, 0], position_H3[hit, 1], position_H3[hit, 2] = x, y, z
    return position_H3

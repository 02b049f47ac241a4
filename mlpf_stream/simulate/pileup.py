"""Pile-up: soft hadronic events laid over every event, as beams of many photons make them.

Two-photon collisions need photon spectra that are not simulated: hadronic events of low mass,
thrown along the beams, stand in for them.

Shape letters: E events, P particles of the record, V overlaid events, X particles of those.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mlpf_stream.event import I64, gather_index, offsets_of
from mlpf_stream.simulate.generator import generate_soft
from mlpf_stream.simulate.record import NO_PARENT, Record

MASSES: Final = (3.5, 6.0, 10.0, 16.0)
"""Masses of overlaid events [GeV], equally frequent: about flat in the logarithm."""
LARGEST_RAPIDITY: Final = 2.5
_POOL: Final = 400
"""Events of each mass that are drawn from, turned and thrown anew each time."""


def make_pool(seed: int) -> list[Record]:
    """Return soft events of every mass.

    Raises:
        DataError: Pythia fails.
    """
    return [
        next(iter(generate_soft(mass, seed + number, [_POOL])))
        for number, mass in enumerate(MASSES)
    ]


def overlay(
    record: Record, pool: Sequence[Record], mean: float, random: np.random.Generator
) -> Record:
    """Return the record with a Poisson number of soft events, `mean` on average, in every event."""
    number_E = random.poisson(mean, record.events)
    kind_V = random.integers(len(pool), size=number_E.sum())
    event_V = np.repeat(np.arange(record.events), number_E)
    rows_E = np.diff(record.offsets)
    for kind, soft in enumerate(pool):
        chosen = event_V[kind_V == kind]
        extra, event_X = _drawn(soft, chosen, rows_E, random)
        record = record.with_secondaries(extra, event_X)
        rows_E = np.diff(record.offsets)
    return record


def _drawn(
    soft: Record, event_V: I64, rows_E: I64, random: np.random.Generator
) -> tuple[Record, I64]:
    """Draw soft events for the events `event_V`; return their particles and events of these."""
    index, taken = gather_index(soft.offsets, random.integers(soft.events, size=len(event_V)))
    size_V = np.diff(taken)
    turn_X = np.repeat(random.uniform(-np.pi, np.pi, len(event_V)), size_V)
    throw_X = np.repeat(random.uniform(-1.0, 1.0, len(event_V)) * LARGEST_RAPIDITY, size_V)
    px, py, pz = soft.momentum_P3[index].T
    energy_X = soft.energy_P[index]
    cosine_X, sine_X = np.cos(turn_X), np.sin(turn_X)
    momentum_X3 = np.stack(
        [
            px * cosine_X - py * sine_X,
            px * sine_X + py * cosine_X,
            pz * np.cosh(throw_X) + energy_X * np.sinh(throw_X),
        ],
        axis=1,
    )
    # Overlaid events follow each other at the end of their event: parents move with them.
    before_V = np.cumsum(size_V) - size_V
    first_V = np.searchsorted(event_V, event_V, side="left")
    base_X = np.repeat(rows_E[event_V] + before_V - before_V[first_V], size_V)
    parent_X = soft.parent_P[index]
    extra = replace(
        soft,
        pdg_P=soft.pdg_P[index],
        charge_P=soft.charge_P[index],
        mass_P=soft.mass_P[index],
        momentum_P3=momentum_X3,
        vertex_P3=soft.vertex_P3[index],
        status_P=soft.status_P[index],
        simulator_P=soft.simulator_P[index],
        parent_P=np.where(parent_X == NO_PARENT, NO_PARENT, parent_X + base_X),
        offsets=offsets_of(size_V),
    )
    return extra, np.repeat(event_V, size_V)

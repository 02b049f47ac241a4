"""Pairs of neighbours inside events: which directions or showers lie close together.

Shape letters: N points of all events end to end, K pairs.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.event import F64, I64, offsets_of


@dataclass(frozen=True, slots=True)
class Pairs:
    """K pairs of points of one event: `first < second`, and their distance."""

    first: I64
    second: I64
    distance_K: F64


def close_pairs(point_N3: F64, reach_N: F64, offsets: I64) -> Pairs:
    """Return all pairs of one event that are nearer than the mean of their reaches.

    Points are sorted along z inside their event, so that only those within the largest reach along
    this axis are compared: memory and time grow with the neighbours, not with all pairs.
    """
    count = len(point_N3)
    event_N = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((point_N3[:, 2], event_N))
    widest = float(reach_N.max(initial=0.0))
    # One axis for all events: each is moved beyond the reach of the one before.
    stride = float(np.ptp(point_N3[:, 2])) + 2.0 * widest + 1.0 if count else 1.0
    axis_N = point_N3[order, 2] + stride * event_N[order]
    until_N = np.searchsorted(axis_N, axis_N + widest, side="right")
    partners_N = until_N - np.arange(count) - 1
    first = np.repeat(np.arange(count), partners_N)
    starts = offsets_of(partners_N)
    second = np.arange(starts[-1]) - starts[:-1][first] + first + 1
    a, b = order[first], order[second]
    distance_K = np.linalg.norm(point_N3[a] - point_N3[b], axis=1)
    near = distance_K < (reach_N[a] + reach_N[b]) / 2.0
    a, b = a[near], b[near]
    return Pairs(np.minimum(a, b), np.maximum(a, b), distance_K[near])

"""Response = reconstructed / true: matching of jets, medians, widths and their errors.

Errors come from resampling whole events (jets of one event are not independent) with the same
resamplings for every reconstruction, so that differences between reconstructions are paired.
Shape letters: E events, B resamplings, N values, J jets, M matched pairs.
"""

from dataclasses import asdict, dataclass
from math import isnan

import numpy as np

from mlpf_stream.errors import SchemaError
from mlpf_stream.event import F64, I64, gather_index
from mlpf_stream.physics.jets import Jets

QUARTILES = np.array([0.25, 0.5, 0.75])
STATISTICS = ("median", "iqr", "resolution", "matched_fraction")
"""Columns of the statistics of resamplings."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Matched pairs: row numbers in the reconstructed and in the generator jets, shape (M,)."""

    reco_M: I64
    gen_M: I64


def match_jets(reco: Jets, gen: Jets, radius: float) -> Matches:
    """Match generator to reconstructed jets of the same event one to one, nearest first.

    Args:
        reco: reconstructed jets of E events.
        gen: generator jets of the same events.
        radius: largest Delta R = sqrt(Delta eta^2 + Delta phi^2).

    Returns:
        Pairs sorted by generator jet.

    Raises:
        SchemaError: the numbers of events differ.
    """
    if reco.events != gen.events:
        msg = (
            f"expected as many reconstructed as generator events, found {reco.events} and "
            f"{gen.events}; compare reconstructions of one set of events"
        )
        raise SchemaError(msg)
    reco_Q, offsets = gather_index(reco.offsets, gen.event_J)
    gen_Q = np.repeat(np.arange(len(gen.pt), dtype=np.int64), np.diff(offsets))
    turn_Q = np.abs(reco.phi[reco_Q] - gen.phi[gen_Q])
    distance_Q = np.hypot(reco.eta[reco_Q] - gen.eta[gen_Q], np.minimum(turn_Q, 2 * np.pi - turn_Q))
    near_Q = np.flatnonzero(distance_Q < radius)
    order = near_Q[np.argsort(distance_Q[near_Q], kind="stable")]
    reco_M, gen_M = _nearest_first(reco_Q[order], gen_Q[order])
    by_gen = np.argsort(gen_M)
    return Matches(reco_M[by_gen], gen_M[by_gen])


def _nearest_first(reco_Q: I64, gen_Q: I64) -> tuple[I64, I64]:
    """Pick pairs in the given order such that every jet is in at most one of them.

    Pairs that come first for both of their jets are final; each round settles all of them.
    """
    taken_reco, taken_gen = [reco_Q[:0]], [gen_Q[:0]]
    while len(reco_Q):
        first_reco = np.unique(reco_Q, return_index=True)[1]
        first_gen = np.unique(gen_Q, return_index=True)[1]
        settled = np.intersect1d(first_reco, first_gen)
        taken_reco.append(reco_Q[settled])
        taken_gen.append(gen_Q[settled])
        open_Q = ~np.isin(reco_Q, reco_Q[settled]) & ~np.isin(gen_Q, gen_Q[settled])
        reco_Q, gen_Q = reco_Q[open_Q], gen_Q[open_Q]
    return np.concatenate(taken_reco), np.concatenate(taken_gen)


@dataclass(frozen=True, slots=True)
class Sample:
    """Values measured in E events.

    `value_N` the values, `event_N` their event numbers, `possible_E` how many values every event
    could have given (generator jets of an event, or 1).
    """

    value_N: F64
    event_N: I64
    possible_E: I64


@dataclass(frozen=True, slots=True)
class Summary:
    """Median, q75 - q25 and matched fraction of a sample, with standard errors.

    `resolution` is iqr / median. Numbers that a sample is too small for are NaN.
    """

    count: int
    median: float
    iqr: float
    resolution: float
    matched_fraction: float
    median_error: float
    iqr_error: float
    resolution_error: float
    matched_fraction_error: float

    def as_json(self) -> dict[str, float | int | None]:
        """Return the numbers by name, None for NaN (JSON has no NaN)."""
        return {name: None if isnan(value) else value for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Gain:
    """How much smaller a resolution is, and the error of that difference."""

    difference: float
    error: float


def resample_events(events: int, resamplings: int, seed: int) -> I64:
    """Return how often every event is drawn in every resampling, shape (B, E).

    Equal arguments give equal draws: that pairs reconstructions of the same events.
    """
    draws_BE = np.random.default_rng(seed).integers(0, max(events, 1), (resamplings, events))
    rows = [np.bincount(draw_E, minlength=events) for draw_E in draws_BE]
    return np.array(rows, np.int64).reshape(resamplings, events)


def jet_sample(reco: Jets, gen: Jets, radius: float) -> Sample:
    """Return the pt response of all generator jets that have a reconstructed jet.

    Raises:
        SchemaError: the numbers of events differ.
    """
    matches = match_jets(reco, gen, radius)
    response_M = reco.pt[matches.reco_M] / gen.pt[matches.gen_M]
    return Sample(response_M, gen.event_J[matches.gen_M], gen.counts)


def summarise(sample: Sample, draws_BE: I64) -> Summary:
    """Return median, width and matched fraction of a sample with bootstrap errors.

    Args:
        sample: values of E events.
        draws_BE: of `resample_events`.
    """
    once_1E = np.ones((1, len(sample.possible_E)), np.int64)
    center, error = _statistics(sample, once_1E)[0], _spread(_statistics(sample, draws_BE))
    median, iqr, resolution, fraction = (float(value) for value in center)
    return Summary(
        len(sample.value_N), median, iqr, resolution, fraction, *(float(value) for value in error)
    )


def paired_difference(first: Sample, second: Sample, draws_BE: I64) -> Gain:
    """Return by how much the resolution of `first` is smaller than that of `second`.

    Both samples are of the same events; the error is that of the difference, event by event.
    """
    once_1E = np.ones((1, len(first.possible_E)), np.int64)
    center, draws = (
        _statistics(second, rows) - _statistics(first, rows) for rows in (once_1E, draws_BE)
    )
    column = STATISTICS.index("resolution")
    return Gain(float(center[0, column]), float(_spread(draws)[column]))


def _statistics(sample: Sample, draws_BE: I64) -> F64:
    """Return the `STATISTICS` of every resampling, shape (B, 4)."""
    order = np.argsort(sample.value_N, kind="stable")
    value_N, event_N = sample.value_N[order], sample.event_N[order]
    rows = []
    for draw_E in draws_BE:
        low, median, high = _quartiles(value_N, draw_E[event_N])
        possible = float(draw_E @ sample.possible_E)
        fraction = float(draw_E[event_N].sum()) / possible if possible else np.nan
        resolution = (high - low) / median if median else np.nan
        rows.append((median, high - low, resolution, fraction))
    return np.array(rows, np.float64).reshape(-1, len(STATISTICS))


def _quartiles(value_N: F64, weight_N: I64) -> tuple[float, float, float]:
    """Return the quartiles of sorted values that are repeated `weight_N` times."""
    last_N = np.cumsum(weight_N)
    total = int(last_N[-1]) if len(last_N) else 0
    if not total:
        return (np.nan, np.nan, np.nan)
    place = QUARTILES * (total - 1)
    below = np.floor(place)
    lower = value_N[np.searchsorted(last_N, below, side="right")]
    upper = value_N[np.searchsorted(last_N, np.minimum(below + 1, total - 1), side="right")]
    low, median, high = lower + (place - below) * (upper - lower)
    return (float(low), float(median), float(high))


def _spread(values_B4: F64) -> F64:
    """Return the standard deviation of every column over the resamplings that have a value."""
    spread = []
    for column in values_B4.T:
        finite = column[np.isfinite(column)]
        spread.append(float(finite.std(ddof=1)) if len(finite) > 1 else np.nan)
    return np.array(spread, np.float64)

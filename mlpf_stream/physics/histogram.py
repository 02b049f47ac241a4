"""Histograms with equal bins: how values are spread, small enough to be kept beside the summaries.

Shape letters: N values.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.event import F64

JsonHistogram = dict[str, dict[str, float | int] | list[int] | int]


@dataclass(frozen=True, slots=True)
class Binning:
    """Bins of equal width from `first` to `last`; the last edge belongs to the overflow."""

    first: float
    last: float
    bins: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bin, and how many values lie below and above all bins."""

    binning: Binning
    counts: tuple[int, ...]
    underflow: int
    overflow: int

    def as_json(self) -> JsonHistogram:
        """Return edges and counts as plain values."""
        edges = self.binning
        return {
            "edges": {"first": edges.first, "last": edges.last, "bins": edges.bins},
            "counts": list(self.counts),
            "underflow": self.underflow,
            "overflow": self.overflow,
        }


def fill(value_N: F64, binning: Binning) -> Histogram:
    """Count values in bins; not a number is not counted."""
    width = (binning.last - binning.first) / binning.bins
    known_N = value_N[~np.isnan(value_N)]
    near_N = np.clip(known_N, binning.first - width, binning.last + width)
    place_N = np.clip(np.floor((near_N - binning.first) / width), -1, binning.bins)
    counts = np.bincount(place_N.astype(np.int64) + 1, minlength=binning.bins + 2).tolist()
    return Histogram(binning, tuple(counts[1:-1]), counts[0], counts[-1])

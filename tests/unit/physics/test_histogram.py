"""Histograms count every value once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpf_stream.physics.histogram import Binning, fill


@given(st.lists(st.floats(allow_nan=True), max_size=50))
def test_every_number_is_counted_once(values):
    histogram = fill(np.array(values, np.float64), Binning(-1.0, 1.0, 7))
    counted = sum(histogram.counts) + histogram.underflow + histogram.overflow
    assert counted == sum(not np.isnan(value) for value in values)
    assert len(histogram.counts) == 7


@pytest.mark.parametrize(
    ("value", "counts", "outside"),
    [
        (0.0, [1, 0, 0, 0], (0, 0)),
        (0.5, [0, 1, 0, 0], (0, 0)),
        (1.99, [0, 0, 0, 1], (0, 0)),
        (2.0, [0, 0, 0, 0], (0, 1)),
        (-0.01, [0, 0, 0, 0], (1, 0)),
        (np.inf, [0, 0, 0, 0], (0, 1)),
    ],
)
def test_values_lie_in_their_bins(value, counts, outside):
    histogram = fill(np.array([value]), Binning(0.0, 2.0, 4))
    assert list(histogram.counts) == counts
    assert (histogram.underflow, histogram.overflow) == outside


def test_as_json_says_edges_and_counts():
    tree = fill(np.array([0.1, 0.2, 5.0]), Binning(0.0, 2.0, 2)).as_json()
    assert tree == {
        "edges": {"first": 0.0, "last": 2.0, "bins": 2},
        "counts": [2, 0],
        "underflow": 0,
        "overflow": 1,
    }

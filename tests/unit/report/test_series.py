"""Curves: what is thinned to be looked at must not lose or invent anything."""

import numpy as np
import pytest

from mlpf_stream.report.series import POINTS, Series


@pytest.fixture
def noisy():
    """10,000 steps of noise, one outlier among them."""
    value_N = np.random.default_rng(1).normal(5.0, 1.0, 10_000)
    value_N[7777] = 80.0
    return Series(np.arange(10_000.0), value_N)


def test_what_is_no_number_is_left_out():
    series = Series.of([(0, 1.0), (1, None), (2, float("nan")), (3, 4.0)])
    assert series.step_N.tolist() == [0, 3]
    assert (series.last, series.highest, len(Series.of([]))) == (4.0, 4.0, 0)
    assert Series.of([]).final is None


def test_an_envelope_keeps_every_outlier(noisy):
    shown = noisy.envelope()
    assert len(shown) == 2 * POINTS
    assert (shown.value_N.max(), shown.value_N.min()) == (80.0, noisy.value_N.min())
    assert (shown.step_N[0], shown.step_N[-1]) == (0, 9999)


def test_a_running_mean_follows_a_straight_line_up_to_its_ends():
    step_N = np.arange(1000.0)
    smooth = Series(step_N, 3 * step_N + 1).smooth()
    np.testing.assert_allclose(smooth.value_N, 3 * smooth.step_N + 1, rtol=1e-12)
    assert (smooth.step_N[0], smooth.step_N[-1]) == (0, 999)


def test_a_running_mean_is_calmer(noisy):
    smooth = noisy.smooth()
    assert len(smooth) == POINTS
    assert smooth.value_N[5:-5].std() < noisy.value_N.std() / 5


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_short_series_stay_as_they_are(count):
    series = Series(np.arange(float(count)), np.arange(float(count)))
    for shown in (series.smooth(), series.envelope(), series.thin()):
        assert shown.value_N.tolist() == series.value_N.tolist()

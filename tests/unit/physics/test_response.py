"""Medians, widths, matching and bootstrap errors."""

import numpy as np
import pytest

from mlpf_stream.errors import SchemaError
from mlpf_stream.event import offsets_of
from mlpf_stream.physics.jets import Jets
from mlpf_stream.physics.response import (
    Sample,
    jet_sample,
    match_jets,
    paired_difference,
    resample_events,
    summarise,
)


def jets(*events):
    """Build from (pt, eta, phi) per event."""
    rows = np.array([jet for event in events for jet in event], np.float64).reshape(-1, 3)
    pt, eta, phi = rows.T
    counts = np.array([len(event) for event in events])
    return Jets(pt, eta, phi, pt * np.cosh(eta), offsets_of(counts))


def one_each(values):
    """Return a sample of one value per event."""
    events = len(values)
    return Sample(np.asarray(values, float), np.arange(events), np.ones(events, np.int64))


def test_nearest_pair_wins_and_the_other_jet_stays_alone():
    gen = jets([(50, 0.0, 0.0), (40, 0.0, 0.09)])
    reco = jets([(45, 0.0, 0.05)])
    matches = match_jets(reco, gen, 0.1)
    assert (matches.reco_M.tolist(), matches.gen_M.tolist()) == ([0], [1])


def test_second_choice_is_taken_when_the_first_is_gone():
    gen = jets([(50, 0.0, 0.00), (40, 0.0, 0.05)])
    reco = jets([(45, 0.0, 0.04), (44, 0.0, -0.08)])
    matches = match_jets(reco, gen, 0.1)
    assert (matches.reco_M.tolist(), matches.gen_M.tolist()) == ([1, 0], [0, 1])


def test_matching_stays_in_the_event_and_goes_round_in_phi():
    gen = jets([(50, 0.0, 3.12)], [(50, 0.0, 1.0)])
    reco = jets([(49, 0.0, 1.0), (48, 0.0, -3.12)], [])
    matches = match_jets(reco, gen, 0.1)
    assert (matches.reco_M.tolist(), matches.gen_M.tolist()) == ([1], [0])


def test_other_number_of_events_is_refused():
    with pytest.raises(SchemaError, match="found 2 and 1"):
        match_jets(jets([], []), jets([]), 0.1)


def test_matched_fraction_counts_all_generator_jets():
    gen = jets([(50, 0, 0), (40, 0, 2)], [(30, 0, 0)], [])
    reco = jets([(55, 0, 0)], [(33, 0, 0)], [(9, 0, 0)])
    summary = summarise(jet_sample(reco, gen, 0.1), resample_events(3, 50, 1))
    assert summary.matched_fraction == pytest.approx(2 / 3)
    assert summary.median == pytest.approx(1.1)
    assert summary.count == 2


def test_quartiles_agree_with_numpy_on_repeated_events():
    rng = np.random.default_rng(3)
    value_N, event_N = rng.normal(1, 0.2, 57), np.sort(rng.integers(0, 20, 57))
    sample = Sample(value_N, event_N, np.bincount(event_N, minlength=20))
    draws = resample_events(20, 40, 7)
    repeated = [np.repeat(value_N, draw[event_N]) for draw in draws]
    medians = [np.median(values) for values in repeated]
    widths = [np.subtract(*np.quantile(values, [0.75, 0.25])) for values in repeated]
    summary = summarise(sample, draws)
    assert summary.median == pytest.approx(np.median(value_N))
    assert summary.iqr == pytest.approx(np.subtract(*np.quantile(value_N, [0.75, 0.25])))
    assert summary.median_error == pytest.approx(np.std(medians, ddof=1))
    assert summary.iqr_error == pytest.approx(np.std(widths, ddof=1))
    ratios = np.divide(widths, medians)
    assert summary.resolution_error == pytest.approx(np.std(ratios, ddof=1))


def test_errors_are_those_of_normal_samples_and_fall_with_the_root():
    rng = np.random.default_rng(5)
    mean_errors = []
    for events in (400, 6400):
        draws = resample_events(events, 200, 1)
        found = [summarise(one_each(rng.normal(1, 0.1, events)), draws) for _ in range(10)]
        median_error = np.mean([summary.median_error for summary in found])
        iqr_error = np.mean([summary.iqr_error for summary in found])
        assert median_error == pytest.approx(1.2533 * 0.1 / events**0.5, rel=0.15)
        assert iqr_error == pytest.approx(1.573 * 0.1 / events**0.5, rel=0.15)
        mean_errors.append(median_error)
    assert mean_errors[0] / mean_errors[1] == pytest.approx(4.0, rel=0.2)


def test_correlated_values_of_one_event_are_resampled_together():
    values = np.random.default_rng(5).normal(1, 0.1, 400)
    tenfold = Sample(np.repeat(values, 10), np.repeat(np.arange(400), 10), np.full(400, 10))
    draws = resample_events(400, 300, 1)
    alone = summarise(one_each(values), draws)
    assert summarise(tenfold, draws).median_error == pytest.approx(alone.median_error, rel=0.1)


def test_paired_difference_knows_that_events_are_shared():
    values = np.random.default_rng(5).normal(1, 0.1, 1000)
    wide = 1 + 1.5 * (values - 1)
    draws = resample_events(1000, 200, 1)
    narrow_sample, wide_sample = one_each(values), one_each(wide)
    gain = paired_difference(narrow_sample, wide_sample, draws)
    alone = [summarise(sample, draws).resolution_error for sample in (narrow_sample, wide_sample)]
    assert gain.difference == pytest.approx(0.5 * 0.1349, rel=0.15)
    assert 0 < gain.error < 0.6 * np.hypot(*alone)
    assert paired_difference(wide_sample, narrow_sample, draws).difference == -gain.difference


def test_empty_sample_has_no_numbers_and_says_so_in_json():
    empty = Sample(np.zeros(0), np.zeros(0, np.int64), np.zeros(4, np.int64))
    summary = summarise(empty, resample_events(4, 20, 1))
    assert summary.count == 0
    assert np.isnan(summary.median)
    assert np.isnan(summary.median_error)
    numbers = summary.as_json()
    assert numbers.pop("count") == 0
    assert set(numbers.values()) == {None}


def test_no_events():
    empty = Sample(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert summarise(empty, resample_events(0, 20, 1)).count == 0


def test_equal_seeds_give_equal_resamplings():
    np.testing.assert_array_equal(resample_events(50, 10, 3), resample_events(50, 10, 3))
    assert (resample_events(50, 10, 3) != resample_events(50, 10, 4)).any()
    assert (resample_events(50, 10, 3).sum(axis=1) == 50).all()

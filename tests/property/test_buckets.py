"""Optimal edges against all edges, and how a bucket waits, carries and promotes."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.stream.buckets import fill_buckets, optimal_edges

few_lengths = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def padded_rows(lengths, edges):
    """Return the rows of all events, each padded to the smallest edge that holds it."""
    return sum(min(edge for edge in edges if edge >= length) for length in lengths)


@settings(max_examples=300, deadline=None)
@given(few_lengths, st.integers(1, 5))
def test_no_other_edges_pad_less(lengths, buckets):
    edges = optimal_edges(lengths, buckets)
    assert list(edges) == sorted(set(edges))
    assert len(edges) <= buckets
    distinct = sorted(set(lengths))
    others = combinations(distinct[:-1], min(buckets, len(distinct)) - 1)
    least = min(padded_rows(lengths, (*inner, distinct[-1])) for inner in others)
    assert padded_rows(lengths, edges) == least


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=300), st.integers(1, 20))
def test_more_buckets_never_pad_more(lengths, buckets):
    fewer, more = (padded_rows(lengths, optimal_edges(lengths, k)) for k in (buckets, buckets + 1))
    assert more <= fewer
    assert optimal_edges(lengths, len(lengths)) == tuple(sorted(set(lengths)))


def test_an_event_without_elements_has_an_edge_too():
    assert optimal_edges([0, 0, 3], 2) == (1, 3)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=120),
    st.integers(1, 5),
    st.integers(30, 200),
)
def test_no_event_is_lost_or_doubled_by_carrying_and_promoting(events, buckets, row_budget):
    events = sorted(events, key=lambda event: event[1])
    lengths, windows = np.array(events).T
    filling = fill_buckets(lengths, windows, optimal_edges(lengths, buckets), row_budget)
    assert sorted(filling.order.tolist()) == list(range(len(events)))
    assert (filling.length <= row_budget).all()
    assert filling.offsets[-1] == len(events)


def leaving(events, edges, row_budget):
    """Return window, padded length and events of each micro-batch; events are (length, window)."""
    lengths, windows = np.array(events).T
    filling = fill_buckets(lengths, windows, edges, row_budget)
    runs = zip(filling.offsets[:-1], filling.offsets[1:], strict=True)
    members = [filling.order[a:b].tolist() for a, b in runs]
    return list(zip(filling.window.tolist(), filling.length.tolist(), members, strict=True))


def test_what_is_left_over_waits_for_the_next_window():
    events = [(10, 0), (10, 0), (10, 0), (10, 1)]
    assert leaving(events, (10, 20), 20) == [(0, 10, [0, 1]), (1, 10, [2, 3])]


def test_who_waited_in_vain_is_promoted_and_goes_first():
    # B = 4 of length 10, 2 of length 20. Window 1 does not fill the smaller bucket.
    events = [(10, 0), (20, 1), (20, 1), (20, 2), (1, 3)]
    assert leaving(events, (10, 20), 40) == [
        (1, 20, [0, 1]),
        (2, 20, [2, 3]),
        (3, 20, [4]),
    ]


def test_a_window_without_events_counts_as_waiting():
    assert leaving([(10, 0), (10, 2)], (10, 20), 40) == [(1, 20, [0]), (2, 20, [1])]


def test_the_last_window_leaves_nothing_behind():
    # 3 of length 10 are promoted beside the one of length 20: 2 micro-batches of 2.
    events = [(10, 0), (10, 0), (20, 0), (10, 0)]
    assert leaving(events, (10, 20), 40) == [(0, 20, [0, 1]), (0, 20, [3, 2])]

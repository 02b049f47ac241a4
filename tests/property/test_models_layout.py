"""Invariants of layout and sort-tile over random event sizes."""

import math
from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.models.layout import build_layout, padded_layout
from mlpf_stream.models.sort_tile import sort_tile, tiling

sizes = st.lists(st.integers(0, 300), max_size=12)


@settings(deadline=None)
@given(sizes, st.integers(0, 200), st.integers(2, 70), st.integers(0, 5))
def test_every_row_lies_in_exactly_one_block_of_its_event(sizes, tail, block, surplus):
    rows = sum(sizes) + tail
    exact = build_layout(sizes, rows, block)
    layout = build_layout(sizes, rows, block, max(exact.blocks + surplus, 1))
    rank_BW = layout.rank_of_slot_S.view(layout.blocks, block)
    assert torch.equal(rank_BW[layout.real_BW], torch.arange(rows))
    assert torch.equal(layout.rank_of_slot_S[layout.slot_of_rank_T], torch.arange(rows))
    filled = [
        row.unique() for row in (layout.event_T[r[m]] for r, m in _blocks(layout)) if len(row)
    ]
    assert all(len(owners) == 1 for owners in filled)
    blocks_of_event = torch.bincount(torch.tensor([int(o) for o in filled], dtype=torch.int64))
    for event, size in enumerate([*sizes, tail]):
        found = int(blocks_of_event[event]) if event < len(blocks_of_event) else 0
        assert found == math.ceil(size / block)


@settings(deadline=None, max_examples=50)
@given(sizes, st.integers(0, 3), st.integers(0, 40), st.integers(2, 70), st.integers(0, 2**31))
def test_padding_moves_rows_and_nothing_else(sizes, surplus, slack, block, seed):
    places, length = len(sizes) + surplus, max([1, *sizes]) + slack
    padded = padded_layout(sizes, places, length, block)
    packed = build_layout(sizes, places * length, block)
    for name in ("strip_of_rank_T", "slot_of_rank_T", "rank_of_slot_S", "real_BW"):
        assert torch.equal(getattr(padded, name), getattr(packed, name))
    assert torch.equal(padded.event_T.sort().values, packed.event_T)
    for event, size in enumerate(sizes):
        own_T = torch.nonzero(padded.event_T == event)[:, 0]
        assert torch.equal(own_T, event * length + torch.arange(size))
    place_T = torch.argsort(padded.event_T, stable=True)
    s_T3 = torch.from_numpy(np.random.default_rng(seed).normal(size=(places * length, 3)))
    moved_T3 = torch.empty_like(s_T3)
    moved_T3[place_T] = s_T3
    assert torch.equal(sort_tile(moved_T3, padded), place_T[sort_tile(s_T3, packed)])


@settings(deadline=None)
@given(sizes, st.integers(0, 200), st.integers(2, 70))
def test_blocks_of_an_event_are_equal_and_strips_are_few(sizes, tail, block):
    layout = build_layout(sizes, sum(sizes) + tail, block)
    size_B = layout.real_BW.sum(1)
    for event in range(len(sizes) + 1):
        ranks = torch.nonzero(layout.event_T == event)[:, 0]
        if not len(ranks):
            continue
        own_B = (layout.slot_of_rank_T[ranks] // block).unique()
        assert int(size_B[own_B].max() - size_B[own_B].min()) <= 1
        strips = layout.strip_of_rank_T[ranks].unique()
        assert len(strips) == round(math.sqrt(len(own_B)))
        for own in own_B:
            strip = layout.strip_of_rank_T[layout.slot_of_rank_T // block == own]
            assert len(strip.unique()) == 1
    assert (torch.diff(layout.strip_of_rank_T) >= 0).all()


@settings(deadline=None, max_examples=50)
@given(sizes, st.integers(1, 100), st.integers(0, 2**31), st.integers(1, 9))
def test_tiling_is_a_permutation_sorted_as_promised(sizes, tail, seed, levels):
    """Few `levels` make many equal coordinates."""
    rows = sum(sizes) + tail
    layout = build_layout(sizes, rows, 16)
    rng = np.random.default_rng(seed)
    s_T3 = torch.from_numpy(rng.integers(-levels, levels + 1, (rows, 3)).astype(np.float32))
    order_T = sort_tile(s_T3, layout)
    assert torch.equal(order_T.sort().values, torch.arange(rows))
    assert torch.equal(layout.event_T[order_T], layout.event_T)
    tiles = tiling(order_T, layout)
    assert torch.equal(tiles.row_of_slot_S[tiles.slot_of_row_T], torch.arange(rows))
    first_T, second_T = s_T3[order_T, 0], s_T3[order_T, 1]
    same_strip = torch.diff(layout.strip_of_rank_T) == 0
    assert (torch.diff(second_T)[same_strip] >= 0).all()
    for event in layout.event_T.unique():
        own = layout.event_T == event
        strips = layout.strip_of_rank_T[own]
        borders = [first_T[own][strips == strip] for strip in strips.unique()]
        for left, right in pairwise(borders):
            assert left.max() <= right.min()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=40))
def test_keys_sort_every_float_exactly(values):
    s_T = torch.tensor(values, dtype=torch.float32)
    layout = build_layout([len(values)], len(values), len(values))
    order_T = sort_tile(torch.stack([s_T, s_T], 1), layout)
    assert torch.equal(s_T[order_T], s_T.sort().values)


def _blocks(layout):
    """Pairs of ranks and mask of each block."""
    return zip(layout.rank_of_slot_S.view(layout.blocks, layout.block), layout.real_BW, strict=True)

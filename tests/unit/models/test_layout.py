"""Refusals of the layout and its behaviour at the edges; its invariants are property tests."""

import pytest
import torch

from mlpf_stream.models.layout import build_layout, padded_layout


def test_equal_split_and_strips():
    layout = build_layout([130], rows=130, block=64)
    assert layout.real_BW.sum(1).tolist() == [44, 43, 43]
    assert layout.strip_of_rank_T.unique().tolist() == [0, 1]  # round(sqrt(3)) = 2


def test_rows_without_event_are_one_tail_event():
    layout = build_layout([3, 0, 2], rows=8, block=4)
    assert layout.event_T.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
    assert build_layout([], rows=5, block=4).event_T.tolist() == [0] * 5


def test_more_blocks_than_needed_are_empty():
    layout = build_layout([3], rows=3, block=4, blocks=3)
    assert layout.real_BW.sum(1).tolist() == [3, 0, 0]
    assert layout.rank_of_slot_S.shape == (12,)


@pytest.mark.parametrize(
    ("sizes", "blocks", "complaint"),
    [([5, 6], None, "at most 10 rows"), ([-1], None, ">= 0"), ([10], 2, "at least 3 blocks")],
)
def test_impossible_layouts_are_refused(sizes, blocks, complaint):
    with pytest.raises(ValueError, match=complaint):
        build_layout(sizes, rows=10, block=4, blocks=blocks)


def test_pads_and_empty_places_are_one_tail_event():
    layout = padded_layout([3, 0, 2], events=4, length=3, block=2)
    assert layout.event_T.view(4, 3).tolist() == [[0, 0, 0], [3, 3, 3], [2, 2, 3], [3, 3, 3]]
    assert padded_layout([], events=2, length=2, block=2).event_T.tolist() == [0] * 4
    assert padded_layout([3], events=2, length=3, block=2, blocks=9).blocks == 9


@pytest.mark.parametrize(
    ("sizes", "blocks", "complaint"),
    [
        ([1, 1, 1], None, "at most 2 events, found 3"),
        ([4, 6], None, "at most 5 rows, found 6 in event 1"),
        ([5, -1], None, ">= 0"),
        ([5, 5], 2, "at least 4 blocks"),
    ],
)
def test_impossible_padded_layouts_are_refused(sizes, blocks, complaint):
    with pytest.raises(ValueError, match=complaint):
        padded_layout(sizes, events=2, length=5, block=4, blocks=blocks)


def test_moves_to_a_device_whole():
    layout = build_layout([5], rows=8, block=4).to(torch.device("meta"))
    assert {getattr(layout, name).device.type for name in layout.__slots__} == {"meta"}
    assert (layout.rows, layout.blocks, layout.block) == (8, 3, 4)

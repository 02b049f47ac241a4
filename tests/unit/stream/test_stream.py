"""The direct engine: the plan's events, in the plan's order, with the bytes that were stored."""

import threading

import numpy as np
import pytest
from batches import same
from dataset import write_dataset

from mlpf_stream.columns import KINDS
from mlpf_stream.errors import ShardError
from mlpf_stream.shards.reader import read_events
from mlpf_stream.stream.collate import BatchShape, collate_all
from mlpf_stream.stream.direct import DirectReader
from mlpf_stream.stream.plan import PlanSpec, plan_epoch, share_range, shares
from mlpf_stream.stream.planner import plan_table
from mlpf_stream.stream.rank_plan import RankPlan
from mlpf_stream.stream.steps import stream_steps

SHAPE = BatchShape(rows=128, block=16)


@pytest.fixture(scope="module")
def index():
    url = "memory://stream-test"
    return write_dataset(url, {"ttbar": (90, "train"), "qq": (60, "train")}, pack_events=8)


def spec(**changes):
    values = {"seed": 3, "epoch": 0, "micro_batches": 4, "row_budget": 128, "window_bytes": 30_000}
    return PlanSpec(**{**values, **changes})


def steps(index, plan, *, world=1, rank=0, start=0, read_ahead=2):
    numbers = share_range(shares(plan.spec.micro_batches, world), rank)
    part = RankPlan(plan, numbers, start)
    return list(stream_steps(reader(index, read_ahead), index, lambda: iter([part]), SHAPE))


def reader(index, read_ahead):
    return DirectReader(index.store, index.kinds, read_ahead)


def test_batches_hold_the_stored_rows_of_the_planned_events(index):
    plan = plan_epoch(plan_table(index, "train"), spec())
    stored = read_events(index)
    number = {key: i for i, key in enumerate(stored.keys)}
    seen = []
    for step in steps(index, plan):
        for batch in step.batches:
            at = 0
            for key in batch.keys:
                event = stored.select(np.array([number[key]]))
                for name, part in event.elements.items():
                    rows = slice(at, at + len(part.x_RF))
                    assert np.array_equal(batch.x_TF[rows, : KINDS[name].width], part.x_RF)
                    assert np.array_equal(batch.class_T[rows], part.class_R)
                    assert (batch.kind_T[rows] == KINDS[name].code).all()
                    at = rows.stop
            assert at == batch.rows
            assert (batch.class_T[at:] == -1).all()
            assert not batch.x_TF[at:].any()
            seen.extend(batch.keys)
    assert sorted(seen) == sorted(np.array(index.keys)[index.in_split("train")])


@pytest.mark.parametrize("world", [2, 3, 4])
def test_any_world_sees_the_same_global_steps(index, world):
    plan = plan_epoch(plan_table(index, "train"), spec())
    alone = steps(index, plan)
    ranks = [steps(index, plan, world=world, rank=rank) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(alone)}
    for number, step in enumerate(alone):
        joined = [batch for rank in ranks for batch in rank[number].batches]
        assert all(same(a, b) for a, b in zip(joined, step.batches, strict=True))
        assert {rank[number].keys for rank in ranks} == {step.keys}
        assert {rank[number].rows_of_step for rank in ranks} == {step.rows_of_step}


@pytest.mark.parametrize("start", [0, 1, 3, "end"])
def test_starting_in_the_middle_gives_the_rest(index, start):
    plan = plan_epoch(plan_table(index, "train"), spec())
    start = plan.steps if start == "end" else start
    whole, rest = steps(index, plan), steps(index, plan, start=start)
    assert [step.number for step in rest] == list(range(start, plan.steps))
    for a, b in zip(whole[start:], rest, strict=True):
        assert all(same(x, y) for x, y in zip(a.batches, b.batches, strict=True))


def test_reading_ahead_changes_nothing_and_leaves_no_thread(index):
    plan = plan_epoch(plan_table(index, "train"), spec())
    for a, b in zip(steps(index, plan, read_ahead=0), steps(index, plan), strict=True):
        assert all(same(x, y) for x, y in zip(a.batches, b.batches, strict=True))
    part = RankPlan(plan, range(4))
    stream = stream_steps(reader(index, 1), index, lambda: iter([part]), SHAPE)
    next(stream)
    stream.close()
    assert "mlpf-read-ahead" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("read_ahead", [0, 2])
def test_a_damaged_pack_stops_the_stream(tmp_path, read_ahead):
    index = write_dataset(str(tmp_path), {"qq": (60, "train")})
    entry = index.packs[2].entry
    path = tmp_path / "shards" / "000000.tar"
    data = bytearray(path.read_bytes())
    data[entry.offset + 100] ^= 0xFF
    path.write_bytes(data)
    splits = {place.entry.split for place in index.packs[2:3]}
    plan = plan_epoch(plan_table(index, splits.pop()), spec())
    with pytest.raises(ShardError, match="checksum"):
        steps(index, plan, read_ahead=read_ahead)


def test_collate_all_keeps_the_order_of_events(index):
    stored = read_events(index)
    batches = list(collate_all(stored, SHAPE))
    assert tuple(key for batch in batches for key in batch.keys) == stored.keys
    assert all(batch.x_TF.shape[0] == SHAPE.rows for batch in batches)

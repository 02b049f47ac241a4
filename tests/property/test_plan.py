"""The plan's invariants over hundreds of random datasets, epochs and worlds."""

import dataclasses
import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.errors import ConfigError
from mlpf_stream.stream.plan import (
    PlanSpec,
    PlanTable,
    plan_digest,
    plan_epoch,
    share_range,
    shares,
)


@st.composite
def tables(draw):
    packs = draw(st.integers(1, 12))
    per_pack = draw(st.lists(st.integers(1, 15), min_size=packs, max_size=packs))
    processes = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    events = sum(per_pack)
    length = rng.integers(1, 64, events)
    chosen = rng.random(events) < draw(st.sampled_from([1.0, 0.6]))
    chosen[0] = True
    return PlanTable(
        digest="d",
        keys=tuple(f"p-f-{i}" for i in range(events)),
        length=length.astype(np.int64),
        particles=rng.integers(0, length + 1).astype(np.int64),
        pack=np.repeat(np.arange(packs, dtype=np.int64), per_pack),
        chosen=chosen,
        pack_bytes=rng.integers(1, 1000, packs).astype(np.int64),
        pack_process=rng.integers(0, processes, packs).astype(np.int64),
        process_names=tuple(f"process{i}" for i in range(processes)),
    )


common = {
    "seed": st.integers(0, 1000),
    "epoch": st.integers(0, 50),
    "micro_batches": st.integers(1, 12),
    "row_budget": st.integers(64, 300),
    "window_bytes": st.integers(1, 4000),
}
packed = st.builds(PlanSpec, **common)
bucketed = st.builds(PlanSpec, **common, layout=st.just("bucketed"), buckets=st.integers(1, 9))
specs = packed | bucketed


@settings(max_examples=300, deadline=None)
@given(tables(), specs, st.data())
def test_every_event_once_over_all_ranks_and_equal_steps(table, spec, data):
    plan = plan_epoch(table, spec)
    world = data.draw(st.integers(1, spec.micro_batches))
    share = shares(spec.micro_batches, world)
    seen = Counter()
    for rank in range(world):
        for step in range(plan.steps):
            for m in share_range(share, rank):
                seen.update(plan.micro_batch(step, m).tolist())
    assert seen == Counter(np.flatnonzero(table.chosen).tolist())


@settings(max_examples=200, deadline=None)
@given(tables(), packed)
def test_no_packed_micro_batch_exceeds_the_budget_and_next_fit_wastes_nothing(table, spec):
    plan = plan_epoch(table, spec)
    sizes = np.diff(plan.micro_offsets)
    rows = np.array([table.length[plan.events[a:b]].sum() for a, b in _ranges(plan)])
    assert (rows <= spec.row_budget).all()
    # Next-fit: the first event of the next micro-batch would not have fitted into this one.
    for m in range(len(sizes) - 1):
        if sizes[m + 1]:
            following = table.length[plan.events[plan.micro_offsets[m + 1]]]
            assert rows[m] + following > spec.row_budget
    assert (plan.micro_length == 0).all()
    assert (plan.computed_rows_of_step == spec.micro_batches * spec.row_budget).all()


@settings(max_examples=300, deadline=None)
@given(tables(), bucketed)
def test_a_bucketed_micro_batch_is_full_unless_it_is_of_the_largest_bucket(table, spec):
    plan = plan_epoch(table, spec)
    sizes = np.diff(plan.micro_offsets)
    assert plan.edges[-1] == table.length[table.chosen].max()
    assert len(plan.edges) <= spec.buckets
    for m, (a, b) in enumerate(_ranges(plan)):
        length = plan.micro_length[m]
        assert length in plan.edges
        assert (table.length[plan.events[a:b]] <= length).all()
        assert sizes[m] <= spec.row_budget // length
        assert sizes[m] in (0, spec.row_budget // length) or length == plan.edges[-1]
    shapes = plan.micro_length.reshape(plan.steps, -1)
    rows = spec.row_budget // shapes * shapes
    assert (plan.computed_rows_of_step == rows.sum(axis=1)).all()
    assert 0 < plan.real_row_fraction <= 1


@settings(max_examples=200, deadline=None)
@given(tables(), specs)
def test_only_the_end_of_the_last_step_is_filled_up_with_empty_micro_batches(table, spec):
    plan = plan_epoch(table, spec)
    sizes = np.diff(plan.micro_offsets)
    used = int(np.flatnonzero(sizes)[-1]) + 1
    assert (sizes[:used] > 0).all()
    assert len(sizes) - used < spec.micro_batches
    assert len(sizes) == plan.steps * spec.micro_batches
    assert (plan.micro_window[used:] == plan.micro_window[used - 1]).all()
    assert (plan.micro_length[used:] == (plan.edges[0] if plan.edges else 0)).all()


@settings(max_examples=200, deadline=None)
@given(tables(), specs)
def test_totals_of_a_step_are_those_of_its_events(table, spec):
    plan = plan_epoch(table, spec)
    for step in range(plan.steps):
        events = plan.step_events(step)
        assert plan.rows_of_step[step] == table.length[events].sum()
        assert plan.particles_of_step[step] == table.particles[events].sum()


@settings(max_examples=300, deadline=None)
@given(tables(), specs)
def test_windows_arrive_before_their_events_are_needed(table, spec):
    plan = plan_epoch(table, spec)
    window_of_pack = {
        int(pack): window for window in range(plan.windows) for pack in plan.window_packs(window)
    }
    read = [window_of_pack[int(table.pack[event])] for event in plan.events]
    assert plan.event_window.tolist() == read
    assert (np.diff(plan.micro_window) >= 0).all()
    for m, (a, b) in enumerate(_ranges(plan)):
        if a == b:
            continue
        if spec.layout == "packed":
            # The last window it needs; and no window of an earlier micro-batch is needed again.
            assert plan.event_window[a:b].max() == plan.micro_window[m]
            before = plan.micro_window[m - 1] if m else 0
        else:
            # An event leaves in its window or the next: two windows hold all a micro-batch needs.
            assert plan.event_window[a:b].max() <= plan.micro_window[m]
            before = plan.micro_window[m] - 1
        assert plan.event_window[a:b].min() >= before


@settings(max_examples=200, deadline=None)
@given(tables(), bucketed)
def test_only_events_that_waited_a_window_are_promoted_or_leave_slots_empty(table, spec):
    plan = plan_epoch(table, spec)
    edges = np.array(plan.edges)
    last = plan.event_window.max()
    for m, (a, b) in enumerate(_ranges(plan)):
        if a == b or plan.micro_window[m] == last:
            continue
        waited = plan.event_window[a:b] < plan.micro_window[m]
        own = edges[np.searchsorted(edges, table.length[plan.events[a:b]])]
        assert waited[own < plan.micro_length[m]].all()
        assert waited.any() or b - a == spec.row_budget // plan.micro_length[m]


@settings(max_examples=200, deadline=None)
@given(tables(), bucketed, st.integers(20, 60), st.data())
def test_ranks_with_equal_shares_compute_equal_rows_within_5_percent(table, spec, events, data):
    longest = int(table.length[table.chosen].max())
    spec = dataclasses.replace(spec, row_budget=events * longest)
    plan = plan_epoch(table, spec)
    worlds = [w for w in range(1, spec.micro_batches + 1) if spec.micro_batches % w == 0]
    world = data.draw(st.sampled_from(worlds))
    shapes = plan.micro_length.reshape(plan.steps, world, -1)
    rows_SW = (spec.row_budget // shapes * shapes).sum(axis=2)
    assert (rows_SW.max(axis=1) - rows_SW.min(axis=1) <= 0.05 * rows_SW.max(axis=1)).all()


@settings(max_examples=100, deadline=None)
@given(tables(), specs)
def test_the_plan_is_a_pure_function_and_epochs_differ(table, spec):
    a, b = plan_epoch(table, spec), plan_epoch(table, spec)
    for field in dataclasses.fields(a):
        assert np.array_equal(getattr(a, field.name), getattr(b, field.name))
    other = plan_epoch(table, dataclasses.replace(spec, epoch=spec.epoch + 1))
    assert other.digest != a.digest
    if table.chosen.sum() > 20:
        assert other.events.tolist() != a.events.tolist()


@pytest.mark.parametrize("change", [{"layout": "bucketed"}, {"buckets": 9}, {"row_budget": 257}])
def test_the_digest_names_the_layout(change):
    spec = PlanSpec(seed=7, epoch=3, micro_batches=4, row_budget=256, window_bytes=450)
    assert plan_digest("index", dataclasses.replace(spec, **change)) != plan_digest("index", spec)


def test_a_packed_plan_is_what_it_was_in_the_first_release():
    """Checkpoints name a place in a plan: a plan may not change under them."""
    event = np.arange(400)
    table = PlanTable(
        digest="pinned",
        keys=tuple(f"p-f-{i}" for i in event),
        length=event * 37 % 61 + 1,
        particles=event % 7,
        pack=event // 20,
        chosen=event % 5 != 0,
        pack_bytes=np.full(20, 100),
        pack_process=np.arange(20) % 3,
        process_names=("a", "b", "c"),
    )
    spec = PlanSpec(7, 3, 4, row_budget=256, window_bytes=450, weights=(("b", 1.5),))
    plan = plan_epoch(table, spec)
    assert plan.events[:8].tolist() == [207, 31, 36, 74, 23, 78, 357, 211]
    content = hashlib.sha256()
    for numbers in (
        plan.events,
        plan.micro_offsets,
        plan.micro_window,
        plan.packs,
        plan.window_offsets,
        plan.rows_of_step,
        plan.particles_of_step,
    ):
        content.update(numbers.astype("<i8").tobytes())
    assert content.hexdigest()[:16] == "dd0a8f949178b707"


def test_eight_buckets_waste_little_and_a_step_mixes_them():
    rng = np.random.default_rng(1)
    length = np.clip(rng.lognormal(np.log(150), 0.5, 20_000), 10, 600).astype(np.int64)
    table = PlanTable(
        digest="d",
        keys=range(20_000),
        length=length,
        particles=length // 3,
        pack=np.arange(20_000) // 250,
        chosen=np.ones(20_000, np.bool_),
        pack_bytes=np.full(80, 1000),
        pack_process=np.zeros(80, np.int64),
        process_names=("a",),
    )
    spec = PlanSpec(1, 0, 16, 16_384, 7_000, layout="bucketed")
    plan = plan_epoch(table, spec)
    assert plan.windows == 12
    assert plan.real_row_fraction > 0.83
    assert plan_epoch(table, dataclasses.replace(spec, buckets=16)).real_row_fraction > 0.88
    mixed = [len(set(step)) for step in plan.micro_length.reshape(plan.steps, -1).tolist()]
    assert np.median(mixed) >= 5


@settings(max_examples=100, deadline=None)
@given(tables(), specs, st.floats(0.0, 3.5))
def test_mixing_weight_gives_floor_or_ceil_visits(table, spec, weight):
    spec = dataclasses.replace(spec, weights=(("process0", weight),))
    own = table.pack_process[table.pack] == 0
    if weight == 0 and (table.chosen & ~own).sum() == 0:
        return
    try:
        plan = plan_epoch(table, spec)
    except ConfigError:
        # A small weight may leave nothing of a single process.
        assert weight < 1
        return
    counts = np.bincount(plan.events, minlength=len(table.length))
    mixed = counts[table.chosen & own]
    assert set(mixed.tolist()) <= {int(np.floor(weight)), int(np.ceil(weight))}
    assert (counts[table.chosen & ~own] == 1).all()
    assert (counts[~table.chosen] == 0).all()


@given(st.integers(1, 64), st.data())
def test_shares_are_contiguous_and_fair(micro_batches, data):
    world = data.draw(st.integers(1, micro_batches))
    share = shares(micro_batches, world)
    assert sum(share) == micro_batches
    assert max(share) - min(share) <= 1
    joined = [m for rank in range(world) for m in share_range(share, rank)]
    assert joined == list(range(micro_batches))


@given(st.integers(2, 64), st.lists(st.floats(0.1, 10.0), min_size=2, max_size=2))
def test_shares_follow_measured_throughput(micro_batches, speed):
    share = shares(micro_batches, 2, speed)
    ideal = micro_batches * speed[0] / sum(speed)
    assert sum(share) == micro_batches
    assert min(share) >= 1
    assert abs(share[0] - ideal) <= 1.5 or min(share) == 1


def test_more_ranks_than_micro_batches_is_refused():
    with pytest.raises(ConfigError, match=r"raise stream\.micro_batches"):
        shares(4, 5)


def test_an_event_longer_than_the_budget_is_named():
    table = PlanTable(
        digest="d",
        keys=("qq-abc-0", "qq-abc-1"),
        length=np.array([10, 500]),
        particles=np.array([1, 1]),
        pack=np.array([0, 0]),
        chosen=np.array([True, True]),
        pack_bytes=np.array([10]),
        pack_process=np.array([0]),
        process_names=("qq",),
    )
    with pytest.raises(ConfigError, match="qq-abc-1"):
        plan_epoch(table, PlanSpec(1, 0, 1, 100, 1000))


def test_windows_hold_the_mixture_of_the_epoch():
    rng = np.random.default_rng(1)
    process = np.repeat([0, 1], [300, 100])
    table = PlanTable(
        digest="d",
        keys=tuple(f"p-f-{i}" for i in range(4000)),
        length=rng.integers(1, 60, 4000),
        particles=np.ones(4000, np.int64),
        pack=np.repeat(np.arange(400), 10),
        chosen=np.ones(4000, np.bool_),
        pack_bytes=np.full(400, 100),
        pack_process=process,
        process_names=("a", "b"),
    )
    plan = plan_epoch(table, PlanSpec(1, 0, 1, 300, 100 * 40))
    shares_of_b = [np.mean(process[plan.window_packs(w)]) for w in range(plan.windows)]
    assert plan.windows == 10
    assert np.allclose(shares_of_b, 0.25, atol=0.03)


def _ranges(plan):
    return list(zip(plan.micro_offsets[:-1], plan.micro_offsets[1:], strict=True))

"""The plan's invariants over hundreds of random datasets, epochs and worlds."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.errors import ConfigError
from mlpf_stream.stream.plan import PlanSpec, PlanTable, plan_epoch, share_range, shares


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


specs = st.builds(
    PlanSpec,
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 50),
    micro_batches=st.integers(1, 12),
    row_budget=st.integers(64, 300),
    window_bytes=st.integers(1, 4000),
)


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
@given(tables(), specs)
def test_no_micro_batch_exceeds_the_budget_and_next_fit_wastes_nothing(table, spec):
    plan = plan_epoch(table, spec)
    sizes = np.diff(plan.micro_offsets)
    rows = np.array([table.length[plan.events[a:b]].sum() for a, b in _ranges(plan)])
    assert (rows <= spec.row_budget).all()
    # Next-fit: the first event of the next micro-batch would not have fitted into this one.
    for m in range(len(sizes) - 1):
        if sizes[m + 1]:
            following = table.length[plan.events[plan.micro_offsets[m + 1]]]
            assert rows[m] + following > spec.row_budget
    # Only the last step is filled up with empty micro-batches.
    assert not (sizes[: (plan.steps - 1) * spec.micro_batches] == 0).any()


@settings(max_examples=200, deadline=None)
@given(tables(), specs)
def test_totals_of_a_step_are_those_of_its_events(table, spec):
    plan = plan_epoch(table, spec)
    for step in range(plan.steps):
        events = plan.step_events(step)
        assert plan.rows_of_step[step] == table.length[events].sum()
        assert plan.particles_of_step[step] == table.particles[events].sum()


@settings(max_examples=200, deadline=None)
@given(tables(), specs)
def test_windows_arrive_before_their_events_are_needed(table, spec):
    plan = plan_epoch(table, spec)
    window_of_pack = {
        int(pack): window for window in range(plan.windows) for pack in plan.window_packs(window)
    }
    assert (np.diff(plan.micro_window) >= 0).all()
    for m, (a, b) in enumerate(_ranges(plan)):
        windows = [window_of_pack[int(table.pack[event])] for event in plan.events[a:b]]
        assert all(window <= plan.micro_window[m] for window in windows)
        before = plan.micro_window[m - 1] if m else 0
        assert all(window >= before for window in windows)


@settings(max_examples=100, deadline=None)
@given(tables(), specs)
def test_the_plan_is_a_pure_function_and_epochs_differ(table, spec):
    a, b = plan_epoch(table, spec), plan_epoch(table, spec)
    assert a.digest == b.digest
    assert (a.events == b.events).all()
    assert (a.micro_offsets == b.micro_offsets).all()
    other = plan_epoch(table, dataclasses.replace(spec, epoch=spec.epoch + 1))
    assert other.digest != a.digest
    if table.chosen.sum() > 20:
        assert other.events.tolist() != a.events.tolist()


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

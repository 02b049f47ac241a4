"""The plan of one epoch: who sees which event when. Pure: index columns in, numbers out.

A *step* is global: an ordered list of G micro-batches, the same for every world. The plan is a
function of (index digest, split, seed, epoch, G, row budget T, window size, mixing weights, layout)
and of nothing else; a world only decides who computes which micro-batch (`shares`). Hence resume is
a number, every rank has the same number of steps, and every event comes exactly once an epoch (with
mixing weight w: floor(w) or ceil(w) times) by construction.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from mlpf_stream.columns import Split
from mlpf_stream.errors import ConfigError
from mlpf_stream.event import I64, Bool, offsets_of
from mlpf_stream.stream.buckets import Filling, fill_buckets, optimal_edges
from mlpf_stream.stream.shuffle import hash_of, unit_of

Layout = Literal["packed", "bucketed"]


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """What a plan depends on besides the index."""

    seed: int
    epoch: int
    micro_batches: int
    row_budget: int
    window_bytes: int
    split: Split = "train"
    weights: tuple[tuple[str, float], ...] = ()
    layout: Layout = "packed"
    buckets: int = 8


@dataclass(frozen=True, slots=True)
class PlanTable:
    """The index columns that a plan is made of.

    Events (E,): `length`, `particles`, `pack` (number, events of a pack lie together), `chosen`
    (belongs to the split). Packs (K,): `pack_bytes`, `pack_process`. `digest` names the index.
    """

    digest: str
    keys: Sequence[str]
    length: I64
    particles: I64
    pack: I64
    chosen: Bool
    pack_bytes: I64
    pack_process: I64
    process_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One epoch, planned whole.

    Micro-batch `m` holds the events `events[micro_offsets[m]:micro_offsets[m + 1]]` (numbers into
    the index); each is read in its `event_window`, and all of them by the end of window
    `micro_window[m]`, which does not decrease. Window `w` reads the packs
    `packs[window_offsets[w]:window_offsets[w + 1]]`. There are `steps * G` micro-batches; those
    that fill up the last step are empty.

    packed: events in shuffled order, each micro-batch filled to at most `row_budget` rows by
    next-fit; `micro_length` is 0. bucketed: micro-batch `m` is padded to B = row_budget // L events
    of L = `micro_length[m]` rows, by the rules of `fill_buckets`; its events come from the windows
    `micro_window[m] - 1` and `micro_window[m]`. Inside a window the micro-batches are shuffled, so
    that a step mixes buckets. `edges` are optimal for the split, hence the same in every epoch.
    """

    digest: str
    spec: PlanSpec
    edges: tuple[int, ...]
    events: I64
    event_window: I64
    micro_offsets: I64
    micro_window: I64
    micro_length: I64
    packs: I64
    window_offsets: I64
    rows_of_step: I64
    particles_of_step: I64
    computed_rows_of_step: I64

    @property
    def steps(self) -> int:
        """Global steps of the epoch."""
        return len(self.rows_of_step)

    @property
    def windows(self) -> int:
        """Windows of the epoch."""
        return len(self.window_offsets) - 1

    @property
    def real_row_fraction(self) -> float:
        """Share of the computed rows that are elements; the others are padding."""
        return float(self.rows_of_step.sum() / self.computed_rows_of_step.sum())

    def micro_batch(self, step: int, number: int) -> I64:
        """Return the events of one micro-batch, in row order."""
        m = step * self.spec.micro_batches + number
        return self.events[self.micro_offsets[m] : self.micro_offsets[m + 1]]

    def step_events(self, step: int) -> I64:
        """Return the events of a global step, in order."""
        g = self.spec.micro_batches
        return self.events[self.micro_offsets[step * g] : self.micro_offsets[(step + 1) * g]]

    def window_packs(self, window: int) -> I64:
        """Return the packs that a window reads."""
        return self.packs[self.window_offsets[window] : self.window_offsets[window + 1]]


def plan_epoch(table: PlanTable, spec: PlanSpec) -> Plan:
    """Plan one epoch.

    Raises:
        ConfigError: no event in the split, or an event that is longer than the row budget.
    """
    _check(table, spec)
    packs, visits = _pack_order(table, spec)
    window_offsets = _cut_windows(table.pack_bytes[packs], spec.window_bytes)
    events, event_window = _event_order(table, spec, packs, visits, window_offsets)
    if not len(events):
        msg = f"expected events in epoch {spec.epoch}, found none: mixing weights {spec.weights}"
        raise ConfigError(msg)
    edges: tuple[int, ...] = ()
    if spec.layout == "bucketed":
        edges = optimal_edges(table.length[table.chosen], spec.buckets)
        micro = _bucketed(table.length[events], event_window, edges, spec)
    else:
        micro = _packed(table.length[events], event_window, spec)
    events, event_window = events[micro.order], event_window[micro.order]
    micro = micro.filled_up(spec.micro_batches, edges[0] if edges else 0)
    step_offsets = micro.offsets[: -1 : spec.micro_batches]
    return Plan(
        digest=plan_digest(table.digest, spec),
        spec=spec,
        edges=edges,
        events=events,
        event_window=event_window,
        micro_offsets=micro.offsets,
        micro_window=micro.window,
        micro_length=micro.length,
        packs=packs,
        window_offsets=window_offsets,
        rows_of_step=np.add.reduceat(table.length[events], step_offsets),
        particles_of_step=np.add.reduceat(table.particles[events], step_offsets),
        computed_rows_of_step=_computed_rows(micro.length, spec),
    )


def plan_digest(index_digest: str, spec: PlanSpec) -> str:
    """Return 16 hex digits that name the plan of `spec` on an index."""
    text = json.dumps({"index": index_digest, **asdict(spec)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shares(micro_batches: int, world: int, throughput: Sequence[float] = ()) -> tuple[int, ...]:
    """Return how many of G micro-batches each rank computes, in rank order.

    Equal by default (the first ranks take one more where G is no multiple of W), else proportional
    to measured `throughput` by largest remainder; every rank gets at least one.

    Raises:
        ConfigError: more ranks than micro-batches.
    """
    if not 1 <= world <= micro_batches:
        msg = (
            f"expected at most {micro_batches} ranks (one micro-batch each), found {world}; "
            "raise stream.micro_batches"
        )
        raise ConfigError(msg)
    speed = np.asarray(throughput or [1.0] * world, dtype=np.float64)
    ideal = speed / speed.sum() * (micro_batches - world)
    given = np.floor(ideal + 1e-9).astype(np.int64)
    left = micro_batches - world - int(given.sum())
    order = np.argsort(-(ideal - given), kind="stable")
    given[order[:left]] += 1
    return tuple(int(count) + 1 for count in given)


def share_range(share: Sequence[int], rank: int) -> range:
    """Return the micro-batch numbers of a rank in every step."""
    first = sum(share[:rank])
    return range(first, first + share[rank])


def _check(table: PlanTable, spec: PlanSpec) -> None:
    if not table.chosen.any():
        msg = (
            f"expected events in split {spec.split!r}, found none; convert more, or choose another"
        )
        raise ConfigError(msg)
    longest = int(np.argmax(np.where(table.chosen, table.length, -1)))
    if table.length[longest] > spec.row_budget:
        msg = (
            f"expected events of at most stream.row_budget = {spec.row_budget} elements, found "
            f"{table.length[longest]} in event {table.keys[longest]!r}; raise stream.row_budget"
        )
        raise ConfigError(msg)


_SALT_PACK, _SALT_JITTER, _SALT_EVENT, _SALT_MIX, _SALT_MICRO = 1, 2, 3, 4, 5


def _pack_order(table: PlanTable, spec: PlanSpec) -> tuple[I64, I64]:
    """Return the packs in reading order, and the visit number of each.

    Stratified: the packs of each process are permuted, then spread evenly over the epoch, so that
    every window has the mixture of the epoch.
    """
    weights = dict(spec.weights)
    used = np.unique(table.pack[table.chosen])
    packs, visits, places = [], [], []
    for code, name in enumerate(table.process_names):
        own = used[table.pack_process[used] == code]
        passes = int(np.ceil(weights.get(name, 1.0)))
        own_visits = np.repeat(np.arange(passes, dtype=np.int64), len(own))
        own = np.tile(own, passes)
        order = np.argsort(hash_of(own, spec.seed, spec.epoch, _SALT_PACK) ^ hash_of(own_visits))
        jitter = unit_of(hash_of(np.array([code]), spec.seed, spec.epoch, _SALT_JITTER))
        packs.append(own[order])
        visits.append(own_visits[order])
        places.append((np.arange(len(own)) + jitter) / max(len(own), 1))
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(packs)[order], np.concatenate(visits)[order]


def _cut_windows(pack_bytes: I64, window_bytes: int) -> I64:
    """Cut the packs into windows of about `window_bytes`; a larger pack is a window of its own."""
    if not len(pack_bytes):
        return np.zeros(1, np.int64)
    ends = np.cumsum(pack_bytes)
    cuts, start = [0], 0
    while start < len(pack_bytes):
        base = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, base + window_bytes, side="right"))
        start = max(stop, start + 1)
        cuts.append(start)
    return np.array(cuts, np.int64)


def _event_order(
    table: PlanTable, spec: PlanSpec, packs: I64, visits: I64, window_offsets: I64
) -> tuple[I64, I64]:
    """Return all chosen events shuffled inside their window, and the window of each."""
    first = np.searchsorted(table.pack, packs)
    counts = np.searchsorted(table.pack, packs, side="right") - first
    starts = offsets_of(counts)
    slot = np.repeat(np.arange(len(packs), dtype=np.int64), counts)
    events = np.arange(starts[-1], dtype=np.int64) - starts[slot] + first[slot]
    keep = table.chosen[events] & _mixed_in(table, spec, events, visits[slot])
    events, slot = events[keep], slot[keep]
    window = np.searchsorted(window_offsets, slot, side="right") - 1
    shuffle = hash_of(events, spec.seed, spec.epoch, _SALT_EVENT) ^ hash_of(visits[slot])
    order = np.lexsort((shuffle, window))
    return events[order], window[order].astype(np.int64)


def _mixed_in(table: PlanTable, spec: PlanSpec, events: I64, visits: I64) -> Bool:
    """Return which visits of events count: all whole passes, and a drawn share of the last one."""
    weights = dict(spec.weights)
    weight = np.array([weights.get(name, 1.0) for name in table.process_names])
    left = weight[table.pack_process[table.pack[events]]] - visits
    drawn = unit_of(hash_of(events, spec.seed, spec.epoch, _SALT_MIX))
    return np.asarray((left >= 1.0) | (drawn < left))


def _next_fit(lengths: I64, row_budget: int) -> I64:
    """Cut a sequence of lengths into runs of at most `row_budget` rows; return the E' + 1 cuts."""
    ends = np.cumsum(lengths)
    cuts, start = [0], 0
    while start < len(lengths):
        base = ends[start - 1] if start else 0
        start = int(np.searchsorted(ends, base + row_budget, side="right"))
        cuts.append(start)
    return np.array(cuts, np.int64)


def _packed(lengths: I64, event_window: I64, spec: PlanSpec) -> Filling:
    cuts = _next_fit(lengths, spec.row_budget)
    order = np.arange(len(lengths), dtype=np.int64)
    return Filling(order, cuts, event_window[cuts[1:] - 1], np.zeros(len(cuts) - 1, np.int64))


def _bucketed(lengths: I64, event_window: I64, edges: tuple[int, ...], spec: PlanSpec) -> Filling:
    filling = fill_buckets(lengths, event_window, edges, spec.row_budget)
    number = np.arange(len(filling.window), dtype=np.int64)
    shuffle = hash_of(number, spec.seed, spec.epoch, _SALT_MICRO)
    return filling.reordered(np.lexsort((shuffle, filling.window)))


def _computed_rows(micro_length: I64, spec: PlanSpec) -> I64:
    """Return the rows that each step computes, padding and empty micro-batches included."""
    length = micro_length.reshape(-1, spec.micro_batches)
    if spec.layout == "packed":
        return np.full(len(length), spec.micro_batches * spec.row_budget, np.int64)
    return np.asarray((spec.row_budget // length * length).sum(axis=1), np.int64)

"""The plan of one epoch: who sees which event when. Pure: index columns in, numbers out.

A *step* is global: an ordered list of G micro-batches, the same for every world. The plan is a
function of (index digest, split, seed, epoch, G, row budget T, window size, mixing weights) and of
nothing else; a world only decides who computes which micro-batch (`shares`). Hence resume is a
number, every rank has the same number of steps, and every event comes exactly once an epoch (with
mixing weight w: floor(w) or ceil(w) times) by construction.

Order is made by sorting 64-bit hashes, not by a library's random generator, so a plan outlives
library versions.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from mlpf_stream.columns import Split
from mlpf_stream.errors import ConfigError
from mlpf_stream.event import F64, I64, Bool, offsets_of

U64 = npt.NDArray[np.uint64]


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
    the index), all read by the end of window `micro_window[m]`; window `w` reads the packs
    `packs[window_offsets[w]:window_offsets[w + 1]]`. There are `steps * G` micro-batches; those
    that fill up the last step are empty.
    """

    digest: str
    spec: PlanSpec
    events: I64
    micro_offsets: I64
    micro_window: I64
    packs: I64
    window_offsets: I64
    rows_of_step: I64
    particles_of_step: I64

    @property
    def steps(self) -> int:
        """Global steps of the epoch."""
        return len(self.rows_of_step)

    @property
    def windows(self) -> int:
        """Windows of the epoch."""
        return len(self.window_offsets) - 1

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
    cuts = _next_fit(table.length[events], spec.row_budget)
    steps = -(-(len(cuts) - 1) // spec.micro_batches)
    missing = steps * spec.micro_batches - (len(cuts) - 1)
    micro_offsets = np.concatenate([cuts, np.full(missing, cuts[-1], np.int64)])
    micro_window = event_window[np.maximum(micro_offsets[1:] - 1, 0)]
    step_offsets = micro_offsets[:: spec.micro_batches]
    return Plan(
        digest=plan_digest(table.digest, spec),
        spec=spec,
        events=events,
        micro_offsets=micro_offsets,
        micro_window=micro_window,
        packs=packs,
        window_offsets=window_offsets,
        rows_of_step=np.add.reduceat(table.length[events], step_offsets[:-1]),
        particles_of_step=np.add.reduceat(table.particles[events], step_offsets[:-1]),
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


def _hash(values: I64 | U64, *salts: int) -> U64:
    """Return a 64-bit hash of each value: order by it to shuffle.

    Source: SplitMix64 of Steele, Lea and Flood, "Fast splittable pseudorandom number generators"
    (2014); each salt is folded in by one more round.
    """
    mixed = _splitmix(values.astype(np.uint64))
    for salt in salts:
        mixed = _splitmix(mixed ^ _splitmix(np.array([salt], np.int64).astype(np.uint64)))
    return mixed


def _splitmix(z: U64) -> U64:
    with np.errstate(over="ignore"):
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


_SALT_PACK, _SALT_JITTER, _SALT_EVENT, _SALT_MIX = 1, 2, 3, 4


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
        order = np.argsort(_hash(own, spec.seed, spec.epoch, _SALT_PACK) ^ _hash(own_visits))
        jitter = _unit(_hash(np.array([code]), spec.seed, spec.epoch, _SALT_JITTER))
        packs.append(own[order])
        visits.append(own_visits[order])
        places.append((np.arange(len(own)) + jitter) / max(len(own), 1))
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(packs)[order], np.concatenate(visits)[order]


def _unit(values: U64) -> F64:
    """Return hashes as numbers in [0, 1)."""
    return np.asarray((values >> np.uint64(11)).astype(np.float64) / 2.0**53)


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
    shuffle = _hash(events, spec.seed, spec.epoch, _SALT_EVENT) ^ _hash(visits[slot])
    order = np.lexsort((shuffle, window))
    return events[order], window[order].astype(np.int64)


def _mixed_in(table: PlanTable, spec: PlanSpec, events: I64, visits: I64) -> Bool:
    """Return which visits of events count: all whole passes, and a drawn share of the last one."""
    weights = dict(spec.weights)
    weight = np.array([weights.get(name, 1.0) for name in table.process_names])
    left = weight[table.pack_process[table.pack[events]]] - visits
    drawn = _unit(_hash(events, spec.seed, spec.epoch, _SALT_MIX))
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

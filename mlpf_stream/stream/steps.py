"""Windows of packs to steps of batches: the half of every engine that knows the plan.

An engine yields windows in plan order, however it moves the bytes; `assemble` turns them into the
steps of one rank. So all engines give the same batches, bit for bit.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import Split
from mlpf_stream.event import Events
from mlpf_stream.models.batch import Batch
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.stream.collate import BatchShape, Pick, collate
from mlpf_stream.stream.plan import Plan, PlanTable


@dataclass(frozen=True, slots=True)
class Window:
    """The packs of one window in memory, by pack number."""

    number: int
    packs: Mapping[int, Events]


@dataclass(frozen=True, slots=True)
class Step:
    """One rank's part of a global step, with the totals of the whole step."""

    epoch: int
    number: int
    batches: tuple[Batch, ...]
    rows_of_step: int
    particles_of_step: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RankPlan:
    """The part of a plan that one rank computes, from step `start` on."""

    plan: Plan
    micro_batches: range
    start: int = 0

    @property
    def first_window(self) -> int:
        """First window that holds an event of the remaining steps."""
        return self._window_of_event(self.start)

    def _window_of_event(self, step: int) -> int:
        """A micro-batch may begin in the window before the one it ends in, so look at its start."""
        m = step * self.plan.spec.micro_batches
        before = self.plan.micro_window[m - 1] if m else 0
        return int(before)


def plan_table(index: DatasetIndex, split: Split) -> PlanTable:
    """Return the columns of a dataset's index that a plan is made of."""
    names = index.process_names
    return PlanTable(
        digest=index.digest,
        keys=index.keys,
        length=index.length,
        particles=index.particles,
        pack=index.pack,
        chosen=index.in_split(split),
        pack_bytes=np.array([place.entry.bytes for place in index.packs], np.int64),
        pack_process=np.array([names.index(p.entry.process) for p in index.packs], np.int64),
        process_names=names,
    )


def mixing_weights(index: DatasetIndex) -> tuple[tuple[str, float], ...]:
    """Return the mixing weights that differ from 1, by process."""
    return tuple((p.name, p.weight) for p in index.manifest.processes if p.weight != 1.0)


def assemble(
    windows: Iterable[Window], index: DatasetIndex, rank: RankPlan, shape: BatchShape
) -> Iterator[Step]:
    """Yield the steps of one rank as the windows they need arrive.

    Holds the packs of at most the windows that one step spans.
    """
    plan, g = rank.plan, rank.plan.spec.micro_batches
    arriving = iter(windows)
    held: list[Window] = []
    for number in range(rank.start, plan.steps):
        needed = int(plan.micro_window[number * g : (number + 1) * g].max())
        while not held or held[-1].number < needed:
            held.append(next(arriving))
        batches = tuple(
            collate(_picks(plan.micro_batch(number, m), index, held), shape)
            for m in rank.micro_batches
        )
        yield Step(
            plan.spec.epoch,
            number,
            batches,
            int(plan.rows_of_step[number]),
            int(plan.particles_of_step[number]),
            tuple(index.keys[event] for event in plan.step_events(number)),
        )
        held = [window for window in held if window.number >= needed]


def _picks(
    events: Sequence[int] | np.ndarray, index: DatasetIndex, held: list[Window]
) -> list[Pick]:
    """Return each event's place in the packs that are in memory."""
    picks = []
    for event in events:
        pack = int(index.pack[event])
        packs = next(window.packs for window in held if pack in window.packs)
        picks.append(Pick(packs[pack], int(index.row[event])))
    return picks

"""Windows to steps of batches: the half of every engine that knows the plan.

An engine yields windows in plan order, however it moves the bytes; `assemble` turns them into the
steps of one rank. So all engines give the same batches, bit for bit.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from mlpf_stream.models.batch import Batch
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.stream.collate import BatchShape, Pick, collate
from mlpf_stream.stream.rank_plan import RankPlan
from mlpf_stream.stream.window import Window, WindowReader, window_requests


@dataclass(frozen=True, slots=True)
class Step:
    """One rank's part of a global step, with the totals of the whole step."""

    epoch: int
    number: int
    batches: tuple[Batch, ...]
    rows_of_step: int
    particles_of_step: int
    computed_rows_of_step: int
    keys: tuple[str, ...]


def stream_steps(
    read: WindowReader,
    index: DatasetIndex,
    plans: Callable[[], Iterator[RankPlan]],
    shape: BatchShape,
) -> Generator[Step, None, None]:
    """Yield one rank's steps, epoch after epoch.

    `plans` is called twice: the reader runs ahead of the assembly, across the ends of epochs.
    """
    with closing(read(window_requests(index, plans()))) as windows:
        for rank in plans():
            yield from assemble(windows, index, rank, shape)


def assemble(
    windows: Iterator[Window], index: DatasetIndex, rank: RankPlan, shape: BatchShape
) -> Iterator[Step]:
    """Yield the steps of one rank as the windows they need arrive.

    The micro-batches after one that ends in a window take nothing from before its neighbour, so no
    more windows are held than a micro-batch spans, and one.
    """
    plan = rank.plan
    held: list[Window] = []
    for number in range(rank.start, rank.end):
        batches = []
        for micro in rank.micro_batches:
            window, place = rank.sources(number, micro)
            if len(window):
                last = int(window.max())
                while not held or held[-1].number < last:
                    held.append(next(windows))
                oldest = min(int(window.min()), last - 1)
                held = [w for w in held if w.number >= oldest]
            m = number * plan.spec.micro_batches + micro
            length = int(plan.micro_length[m])
            picks = [
                Pick(w.events, place[window == w.number], np.flatnonzero(window == w.number))
                for w in held
                if (window == w.number).any()
            ]
            batches.append(collate(picks, shape, length))
        yield Step(
            plan.spec.epoch,
            number,
            tuple(batches),
            int(plan.rows_of_step[number]),
            int(plan.particles_of_step[number]),
            int(plan.computed_rows_of_step[number]),
            tuple(index.keys[event] for event in plan.step_events(number)),
        )

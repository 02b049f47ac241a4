"""Events in columns: many events end to end, never one Python object per event.

`Events` is the one currency of the house: `edm4hep` makes it, `shards` stores and restores it,
`stream` gathers rows from it, `physics` measures it. All arrays are numpy.

Shape letters: E events, R element rows of one kind, P particles, F features, M momentum columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlpf_stream.columns import MOMENTUM, NO_PARTICLE

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Jagged:
    """Rows of many events end to end: event `e` owns `values[offsets[e]:offsets[e + 1]]`."""

    values: Rows
    offsets: I64

    @classmethod
    def from_counts(cls, values: Rows, counts: Sequence[int] | I64) -> Self:
        """Build from row counts per event, shape (E,)."""
        return cls(values, offsets_of(np.asarray(counts, dtype=np.int64)))

    @property
    def events(self) -> int:
        """Number of events E."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> I64:
        """Rows per event, shape (E,)."""
        return np.diff(self.offsets)

    def __getitem__(self, event: int) -> Rows:
        return self.values[self.offsets[event] : self.offsets[event + 1]]

    def part(self, start: int, stop: int) -> "Jagged":
        """Return the events from `start` up to `stop` as a view."""
        first, last = self.offsets[start], self.offsets[stop]
        return Jagged(self.values[first:last], self.offsets[start : stop + 1] - first)

    def select(self, order: I64) -> "Jagged":
        """Return the events numbered `order`, in that order."""
        index, offsets = gather_index(self.offsets, order)
        return Jagged(self.values[index], offsets)


def offsets_of(counts: I64) -> I64:
    """Return the E + 1 offsets of E row counts."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def gather_index(offsets: I64, order: I64) -> tuple[I64, I64]:
    """Return the row index that gathers events `order`, and the offsets of the result."""
    counts = np.diff(offsets)[order]
    taken = offsets_of(counts)
    index = np.repeat(offsets[order] - taken[:-1], counts) + np.arange(taken[-1], dtype=np.int64)
    return index, taken


def take_rows(arrays: Sequence[Rows], offsets: I64, order: I64) -> tuple[list[Rows], I64]:
    """Return the rows of events `order`, end to end, of arrays that share `offsets`; and theirs.

    Long runs of rows are copied as they lie; only short ones are worth an index.
    """
    counts = np.diff(offsets)[order]
    taken = offsets_of(counts)
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    if not len(order) or taken[-1] < LEAST_RUN * (len(breaks) + 1):
        index = np.repeat(offsets[order] - taken[:-1], counts)
        index += np.arange(taken[-1], dtype=np.int64)
        return [values[index] for values in arrays], taken
    firsts = offsets[order[np.concatenate([[0], breaks])]].tolist()
    lasts = offsets[order[np.concatenate([breaks - 1, [len(order) - 1]])] + 1].tolist()
    runs = [slice(first, last) for first, last in zip(firsts, lasts, strict=True)]
    return [np.concatenate([values[run] for run in runs]) for values in arrays], taken


LEAST_RUN = 64
"""Rows from which on a run is copied as a whole."""


@dataclass(frozen=True, slots=True)
class Particles:
    """Particles of E events: generator particles, targets or candidates.

    `momentum_PM` has the columns of `columns.MOMENTUM`: pt, eta, sin phi, cos phi, energy [GeV].
    """

    class_P: I8
    charge_P: I8
    momentum_PM: F32
    offsets: I64

    @property
    def events(self) -> int:
        """Number of events E."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> I64:
        """Particles per event, shape (E,)."""
        return np.diff(self.offsets)

    @property
    def event_P(self) -> I64:
        """Event number of every particle, shape (P,)."""
        return np.repeat(np.arange(self.events, dtype=np.int64), self.counts)

    def column(self, name: str) -> F32:
        """Return one momentum column by name, shape (P,)."""
        return self.momentum_PM[:, MOMENTUM.index(name)]

    def select(self, order: I64) -> "Particles":
        """Return the particles of the events numbered `order`, in that order."""
        arrays = (self.class_P, self.charge_P, self.momentum_PM)
        (class_P, charge_P, momentum_PM), offsets = take_rows(arrays, self.offsets, order)
        return Particles(class_P, charge_P, momentum_PM, offsets)

    def where(self, keep_P: Bool) -> "Particles":
        """Return the same events with only the particles marked in `keep_P`, shape (P,)."""
        counts = np.bincount(self.event_P[keep_P], minlength=self.events)
        return Particles(
            self.class_P[keep_P],
            self.charge_P[keep_P],
            self.momentum_PM[keep_P],
            offsets_of(counts.astype(np.int64)),
        )

    @classmethod
    def empty(cls, events: int) -> Self:
        """Return `events` events without a particle."""
        return cls(
            np.zeros(0, np.int8),
            np.zeros(0, np.int8),
            np.zeros((0, len(MOMENTUM)), np.float32),
            np.zeros(events + 1, np.int64),
        )


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of one kind of E events, each with its target.

    `x_RF` float32 features in the kind's column order; `class_R` int8 class index, or
    `columns.UNLINKED`; `charge_R` int8 [e]; `momentum_RM` float32, zero where no target;
    `particle_R` int32 index into the event's generator particles of the largest contributor,
    or `columns.NO_PARTICLE`; `offsets` int64 (E + 1,).
    """

    x_RF: F32
    class_R: I8
    charge_R: I8
    momentum_RM: F32
    particle_R: I32
    offsets: I64

    @classmethod
    def bare(cls, x_RF: F32, offsets: I64) -> Self:
        """Return elements whose targets are all none: what a reconstruction may see."""
        rows = len(x_RF)
        return cls(
            x_RF,
            np.zeros(rows, np.int8),
            np.zeros(rows, np.int8),
            np.zeros((rows, len(MOMENTUM)), np.float32),
            np.full(rows, NO_PARTICLE, np.int32),
            offsets,
        )

    @property
    def counts(self) -> I64:
        """Rows per event, shape (E,)."""
        return np.diff(self.offsets)

    def select(self, order: I64) -> "Elements":
        """Return the elements of the events numbered `order`, in that order."""
        arrays = (self.x_RF, self.class_R, self.charge_R, self.momentum_RM, self.particle_R)
        rows, offsets = take_rows(arrays, self.offsets, order)
        x_RF, class_R, charge_R, momentum_RM, particle_R = rows
        return Elements(x_RF, class_R, charge_R, momentum_RM, particle_R, offsets)


@dataclass(frozen=True, slots=True)
class Events:
    """E events: their keys, elements by kind name in packed-row order, particles and candidates."""

    keys: tuple[str, ...]
    elements: Mapping[str, Elements]
    generator: Particles
    candidates: Particles

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lengths(self) -> I64:
        """Elements of all kinds per event, shape (E,)."""
        total = np.zeros(len(self), np.int64)
        for part in self.elements.values():
            total += part.counts
        return total

    @property
    def targets(self) -> Particles:
        """The target particles of every event: what a perfect reconstruction would return."""
        parts = list(self.elements.values())
        class_R = np.concatenate([part.class_R for part in parts])
        charge_R = np.concatenate([part.charge_R for part in parts])
        momentum_RM = np.concatenate([part.momentum_RM for part in parts])
        event_R = np.concatenate(
            [np.repeat(np.arange(len(self), dtype=np.int64), part.counts) for part in parts]
        )
        keep = np.flatnonzero(class_R > 0)
        order = keep[np.argsort(event_R[keep], kind="stable")]
        counts = np.bincount(event_R[keep], minlength=len(self)).astype(np.int64)
        return Particles(class_R[order], charge_R[order], momentum_RM[order], offsets_of(counts))

    def select(self, order: I64) -> "Events":
        """Return the events numbered `order`, in that order."""
        return Events(
            tuple(self.keys[i] for i in order),
            {name: part.select(order) for name, part in self.elements.items()},
            self.generator.select(order),
            self.candidates.select(order),
        )


def concatenate_particles(parts: Sequence[Particles]) -> Particles:
    """Join the events of `parts`, in order."""
    return Particles(
        np.concatenate([part.class_P for part in parts]),
        np.concatenate([part.charge_P for part in parts]),
        np.concatenate([part.momentum_PM for part in parts]),
        offsets_of(np.concatenate([part.counts for part in parts])),
    )


def concatenate_elements(parts: Sequence[Elements]) -> Elements:
    """Join the events of `parts`, in order."""
    return Elements(
        np.concatenate([part.x_RF for part in parts]),
        np.concatenate([part.class_R for part in parts]),
        np.concatenate([part.charge_R for part in parts]),
        np.concatenate([part.momentum_RM for part in parts]),
        np.concatenate([part.particle_R for part in parts]),
        offsets_of(np.concatenate([part.counts for part in parts])),
    )


def concatenate_events(parts: Sequence[Events]) -> Events:
    """Join the events of `parts`, in order; all parts hold the same element kinds."""
    return Events(
        tuple(key for part in parts for key in part.keys),
        {
            name: concatenate_elements([part.elements[name] for part in parts])
            for name in parts[0].elements
        },
        concatenate_particles([part.generator for part in parts]),
        concatenate_particles([part.candidates for part in parts]),
    )


def pick_events(picks: Sequence[tuple[Events, int]]) -> Events:
    """Join single events, each given with its number in the events that hold it, in one copy."""
    first = picks[0][0]
    elements = {}
    for name in first.elements:
        arrays, offsets = _pick([(events.elements[name], number) for events, number in picks])
        elements[name] = Elements(**arrays, offsets=offsets)
    generator, generator_offsets = _pick([(events.generator, n) for events, n in picks])
    candidates, candidate_offsets = _pick([(events.candidates, n) for events, n in picks])
    return Events(
        tuple(events.keys[number] for events, number in picks),
        elements,
        Particles(**generator, offsets=generator_offsets),
        Particles(**candidates, offsets=candidate_offsets),
    )


def _pick(picks: Sequence[tuple[Elements | Particles, int]]) -> tuple[dict[str, Rows], I64]:
    """Return the rows of single events, end to end, of every array of their owners; and offsets."""
    spans = [
        (owner, int(owner.offsets[number]), int(owner.offsets[number + 1]))
        for owner, number in picks
    ]
    names = [item.name for item in fields(picks[0][0]) if item.name != "offsets"]
    arrays = {
        name: np.concatenate([getattr(owner, name)[start:stop] for owner, start, stop in spans])
        for name in names
    }
    return arrays, offsets_of(np.array([stop - start for _, start, stop in spans], np.int64))


def process_of(key: str) -> str:
    """Return the physics process in an event key PROCESS-FILEID-ENTRY."""
    return key.rsplit("-", 2)[0]

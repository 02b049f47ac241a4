"""Whose is what in some events: the generator particle of every element, and who is a target.

Shape letters: E events, P generator particles, R element rows of one kind, M momentum columns.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import KINDS, MOMENTUM, TRACK, ElementKind
from mlpf_stream.event import F32, F64, I8, I64, Bool, Elements, Events, Particles, Rows
from mlpf_stream.inspect.sample import Chunk


@dataclass(frozen=True, slots=True)
class Owned:
    """Elements of one kind with their owners.

    `event_R` the event of every row; `owner_R` the row of its particle among the generator
    particles of all events, -1 where none.
    """

    kind: ElementKind
    rows: Elements
    event_R: I64
    owner_R: I64

    @classmethod
    def of(cls, name: str, rows: Elements, generator: Particles) -> "Owned":
        """Look up the owners; an index outside its event is none."""
        event_R = np.repeat(np.arange(len(rows.counts), dtype=np.int64), rows.counts)
        local_R = rows.particle_R.astype(np.int64)
        inside_R = (local_R >= 0) & (local_R < generator.counts[event_R])
        owner_R = np.where(inside_R, generator.offsets[event_R] + local_R, -1)
        return cls(KINDS[name], rows, event_R, owner_R)

    def feature(self, name: str) -> F64:
        """Return one feature of every row, shape (R,)."""
        return self.rows.x_RF[:, self.kind.index(name)].astype(np.float64)

    def target(self, name: str) -> F64:
        """Return one momentum column of every row's target, shape (R,)."""
        return self.rows.momentum_RM[:, MOMENTUM.index(name)].astype(np.float64)

    @property
    def target_R(self) -> Bool:
        """Which rows carry a target."""
        return np.asarray(self.rows.class_R > 0)

    @property
    def hosting_R(self) -> Bool:
        """Which rows carry a target whose particle is known."""
        return self.target_R & (self.owner_R >= 0)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Some events of one process, taken apart.

    `deposit` are the clusters or hits; `targets_P` on how many elements every generator particle
    is the target, `host_class_P` the class it has there, 0 where none.
    """

    chunk: Chunk
    track: Owned
    deposit: Owned
    targets_P: I64
    host_class_P: I8

    @classmethod
    def of(cls, chunk: Chunk) -> "Ownership":
        """Take a chunk apart."""
        events = chunk.events
        owned = [Owned.of(*item, events.generator) for item in events.elements.items()]
        (track,) = (one for one in owned if one.kind == TRACK)
        (deposit,) = (one for one in owned if one.kind != TRACK)
        particles = len(events.generator.class_P)
        targets_P, class_P = np.zeros(particles, np.int64), np.zeros(particles, np.int8)
        for one in owned:
            rows = one.hosting_R
            np.add.at(targets_P, one.owner_R[rows], 1)
            class_P[one.owner_R[rows]] = one.rows.class_R[rows]
        return cls(chunk, track, deposit, targets_P, class_P)

    @property
    def events(self) -> int:
        """Number of events E."""
        return len(self.chunk.events)

    @property
    def generator(self) -> Particles:
        """The generator particles."""
        return self.chunk.events.generator

    @property
    def elements(self) -> tuple[Owned, Owned]:
        """Tracks, then clusters or hits."""
        return self.track, self.deposit


def numbers(events: Events) -> list[tuple[Rows, I64]]:
    """Return every array of numbers of some events, (rows, columns), with the event of each row."""
    every = np.arange(len(events), dtype=np.int64)
    found: list[tuple[Rows, I64]] = []
    for part in events.elements.values():
        event_R = np.repeat(every, part.counts)
        found += [(part.x_RF, event_R), (part.momentum_RM, event_R)]
    for particles in (events.generator, events.candidates):
        found.append((particles.momentum_PM, particles.event_P))
    return found


def angle_between(first_R3: F64, second_RM: F32) -> F64:
    """Return the angle between vectors and the directions of momentum columns, (R,) [rad]."""
    eta, sin_phi, cos_phi = (
        second_RM[:, MOMENTUM.index(name)].astype(np.float64)
        for name in ("eta", "sin_phi", "cos_phi")
    )
    second_R3 = np.stack([cos_phi, sin_phi, np.sinh(eta)], axis=1)
    lengths = np.linalg.norm(first_R3, axis=1) * np.linalg.norm(second_R3, axis=1)
    cosine = (first_R3 * second_R3).sum(axis=1) / np.maximum(lengths, 1e-12)
    angle: F64 = np.arccos(np.clip(cosine, -1, 1))
    return angle

"""What particles contribute to elements: pairs of rows, added up, and the largest of them.

Shape letters: N MC rows, R element rows, K contributions or pairs, E events.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.event import F64, I32, I64, Bool, offsets_of


@dataclass(frozen=True, slots=True)
class Pairs:
    """Contributions of particle rows to element rows: share of a track, or GeV of cluster or hit.

    Pairs are unique and stand by event (`offsets`, (E + 1,)).
    """

    particle_K: I64
    element_K: I64
    value_K: F64
    offsets: I64

    def where(self, keep_K: Bool) -> "Pairs":
        """Return some of the pairs."""
        if keep_K.all():
            return self
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep_K)])
        return Pairs(
            self.particle_K[keep_K],
            self.element_K[keep_K],
            self.value_K[keep_K],
            before[self.offsets],
        )

    def put_largest(self, number_N: I64, particle_R: I32) -> None:
        """Set the number of the particle with the largest contribution to every element.

        Particles with a negative number do not count; elements without any other stay as they
        are. Of equal contributions that of the smallest particle row is taken.
        """
        _put_largest(self.columns, number_N, particle_R)

    @property
    def columns(self) -> "Columns":
        """The pairs as compiled code takes them."""
        return Columns(self.particle_K, self.element_K, self.value_K)


class Columns(NamedTuple):
    """The columns of pairs, or of contributions before they are added up."""

    particle_K: I64
    element_K: I64
    value_K: F64


def add_up(parts: Columns, owner_N: I64, event_N: I64, events: int) -> Pairs:
    """Add up contributions by owner of the particle and by element, in the order of events.

    `owner_N` is the row that owns each particle row, -1 for nobody: such contributions are left
    out. Inside an event pairs stand where the first of their contributions stood.
    """
    pairs, event_K = _add_up(parts, owner_N, event_N, _end(parts.element_K))
    offsets = offsets_of(np.bincount(event_K, minlength=events).astype(np.int64))
    if (event_K[1:] < event_K[:-1]).any():
        order = np.argsort(event_K, kind="stable")
        pairs = Columns(pairs.particle_K[order], pairs.element_K[order], pairs.value_K[order])
    return Pairs(*pairs, offsets)


def _end(row_K: I64) -> int:
    """Return the number of rows that the largest row asks for."""
    return int(row_K.max(initial=-1)) + 1


@compiled()
def _add_up(parts: Columns, owner_N: I64, event_N: I64, elements: int) -> tuple[Columns, I64]:
    """Add up contributions; the pairs of one element are chained, the last one first."""
    most = len(parts.value_K)
    owner_K, element_K = np.empty(most, np.int64), np.empty(most, np.int64)
    value_K, before_K = np.empty(most, np.float64), np.empty(most, np.int64)
    last_R = np.full(elements, -1, np.int64)
    count = 0
    for k in range(most):
        owner, element = owner_N[parts.particle_K[k]], parts.element_K[k]
        if owner < 0:
            continue
        pair = last_R[element]
        while pair >= 0 and owner_K[pair] != owner:
            pair = before_K[pair]
        if pair >= 0:
            value_K[pair] += parts.value_K[k]
            continue
        owner_K[count], element_K[count], value_K[count] = owner, element, parts.value_K[k]
        before_K[count], last_R[element] = last_R[element], count
        count += 1
    event_K = before_K[:count]
    for pair in range(count):
        event_K[pair] = event_N[owner_K[pair]]
    return Columns(owner_K[:count], element_K[:count], value_K[:count]), event_K


@compiled()
def _put_largest(pairs: Columns, number_N: I64, particle_R: I32) -> None:
    """Fill in the number of the largest contributor of every element."""
    best_R, value_R = np.full(len(particle_R), -1, np.int64), np.zeros(len(particle_R), np.float64)
    for k in range(len(pairs.value_K)):
        particle, element, value = pairs.particle_K[k], pairs.element_K[k], pairs.value_K[k]
        if number_N[particle] < 0:
            continue
        best = best_R[element]
        if best < 0 or value > value_R[element] or (value == value_R[element] and particle < best):
            best_R[element], value_R[element] = particle, value
            particle_R[element] = number_N[particle]

"""The rows that references mean, looked up in one pass.

A reference is an index inside its event, and the id of the collection that it points into.
Shape letters: E events, L references, S collections.
"""

from typing import Final, NamedTuple

import numpy as np

from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.event import I64, Jagged, Rows

NOWHERE: Final = -1
"""Row of a reference that points at nothing stored."""


class Places(NamedTuple):
    """Where the rows of S collections stand: their ids, first row and number by event (S, E)."""

    id_S: I64
    first_SE: I64
    count_SE: I64


def find_rows(index: Jagged, id_L: Rows | None, places: Places) -> tuple[I64, bool]:
    """Return the row of every reference, `NOWHERE` where nothing is, and whether one dangles.

    A reference dangles if its collection is one of `places` but its event has fewer rows. Without
    ids all references point into the first collection.
    """
    ids = np.zeros(0, np.uint32) if id_L is None else id_L.astype(np.uint32, copy=False)
    local = index.values.astype(np.int32, copy=False)
    row_L, dangles = _find_rows(local, ids, index.offsets, places)
    return row_L, bool(dangles)


def place(values_H: Rows, values: Rows, offsets: I64, first_E: I64) -> None:
    """Put the values of every event of one collection where its rows stand among all."""
    _place(values_H, values, offsets, first_E)


@compiled()
def _find_rows(local_L: Rows, id_L: Rows, offsets: I64, places: Places) -> tuple[I64, bool]:
    """Look every reference up; those to one collection mostly follow each other."""
    row_L, dangles = np.empty(len(local_L), np.int64), False
    for event in range(len(offsets) - 1):
        last, source, first, count = np.int64(-1), -1, np.int64(0), np.int64(0)
        for at in range(offsets[event], offsets[event + 1]):
            number = np.int64(id_L[at]) if len(id_L) else places.id_S[0]
            if number != last:
                last, source = number, -1
                for candidate in range(len(places.id_S)):
                    if places.id_S[candidate] == number:
                        source = candidate
                if source >= 0:
                    first = places.first_SE[source, event]
                    count = places.count_SE[source, event]
            local = local_L[at]
            inside = source >= 0 and 0 <= local < count
            row_L[at] = first + local if inside else NOWHERE
            dangles |= source >= 0 and local >= count
    return row_L, dangles


@compiled()
def _place(values_H: Rows, values: Rows, offsets: I64, first_E: I64) -> None:
    """Copy event by event."""
    for event in range(len(first_E)):
        first = first_E[event] - offsets[event]
        for at in range(offsets[event], offsets[event + 1]):
            values_H[first + at] = values[at]

"""Columns of rows to leaves of EDM4HEP: slices of vector members, links to MC particles.

Shape letters: N rows of any collection, K links, E events, all events end to end.
"""

import numpy as np

from mlpf_stream.edm4hep.leaves import CLUSTER_LINKS, CLUSTERS, MC, PFOS, TRACKS
from mlpf_stream.event import I64, Jagged, Rows, offsets_of

COLLECTION_IDS = {MC: 1, TRACKS: 2, CLUSTERS: 3, PFOS: 4}
"""Collection ids of what is no hit."""


def jagged(collection: str, columns: dict[str, Rows], offsets: I64) -> dict[str, Jagged]:
    """Return columns of one collection as leaves."""
    return {f"{collection}.{name}": Jagged(values, offsets) for name, values in columns.items()}


def per_event(number_N: I64, offsets: I64) -> I64:
    """Return the offsets per event of children, given their number per row."""
    return offsets_of(number_N)[offsets]


def begin_end(member: str, number_N: I64, offsets: I64) -> dict[str, Rows]:
    """Return where the children of every row begin and end within their event."""
    end_N = np.cumsum(number_N, dtype=np.int64)
    event_N = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    first_N = per_event(number_N, offsets)[:-1][event_N]
    return {f"{member}_begin": end_N - number_N - first_N, f"{member}_end": end_N - first_N}


def links_to_particles(
    name: str,
    source: tuple[I64 | None, I64],
    target: tuple[I64, I64],
    event_K: I64,
    weight_K: Rows,
) -> dict[str, Jagged]:
    """Return weighted links to MC particles; `event_K` ascends.

    `source` are the collection ids (None: that of the link's own collection) and rows within the
    event, `target` the rows of particles over all events and the offsets of events.
    """
    number_K, row_K = source
    if number_K is None:
        own = CLUSTERS if name == CLUSTER_LINKS else TRACKS
        number_K = np.full(len(row_K), COLLECTION_IDS[own])
    particle_K, starts = target
    counts_E = np.bincount(event_K, minlength=len(starts) - 1)
    offsets = offsets_of(counts_E.astype(np.int64))
    return {
        f"{name}.weight": Jagged(weight_K, offsets),
        f"_{name}_from.index": Jagged(row_K, offsets),
        f"_{name}_from.collectionID": Jagged(number_K, offsets),
        f"_{name}_to.index": Jagged(particle_K - starts[event_K], offsets),
        f"_{name}_to.collectionID": Jagged(np.full(len(row_K), COLLECTION_IDS[MC]), offsets),
    }

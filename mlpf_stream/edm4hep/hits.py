"""Stored hits of many events in one array, and which hits belong to which cluster.

Rows are ordered by event, then by collection in the order of `detector.calorimeter_hits`, then as
stored. Shape letters: E events, H hit rows, K cluster-hit pairs. Units: GeV, mm, ns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import HIT, SUBDETECTORS, Detector
from mlpf_stream.edm4hep.collections import Collections, Contents
from mlpf_stream.edm4hep.leaves import CLUSTERS
from mlpf_stream.edm4hep.relations import event_of, slices
from mlpf_stream.event import I64, Rows, offsets_of


@dataclass(frozen=True, slots=True)
class HitSource:
    """One stored hit collection: its name, the member that holds the energy, and what it is.

    `subdetector` is an index in `columns.SUBDETECTORS`, `elemtype` the value of that column.
    """

    name: str
    energy: str
    subdetector: int
    elemtype: int


@dataclass(frozen=True, slots=True)
class Hits:
    """Hit rows of some collections: `rows[i]` are the rows of the hits of `sources[i]`, as stored.

    `first_SE` is the row of the first hit of every source (S) in every event; `offsets` (E + 1,).
    """

    sources: tuple[HitSource, ...]
    rows: tuple[I64, ...]
    first_SE: I64
    offsets: I64

    @property
    def count(self) -> int:
        """Number of hit rows H."""
        return int(self.offsets[-1])

    def column(self, collections: Collections, member: str, dtype: str) -> Rows:
        """Return one member of all hits, zero where its collection does not store it."""
        values_H = np.zeros(self.count, dtype)
        for source, rows in zip(self.sources, self.rows, strict=True):
            leaf = f"{source.name}.{source.energy if member == 'energy' else member}"
            if leaf in collections:
                values_H[rows] = collections[leaf].values
        return values_H

    def each(self, values: Sequence[float], dtype: str) -> Rows:
        """Return one number per source for all of its hits, shape (H,)."""
        values_H = np.zeros(self.count, dtype)
        for value, rows in zip(values, self.rows, strict=True):
            values_H[rows] = value
        return values_H

    def stored(self, collections: Collections, member: str) -> bool:
        """Return whether all collections store a member."""
        return all(f"{source.name}.{member}" in collections for source in self.sources)


@dataclass(frozen=True, slots=True)
class ClusterHits:
    """Pairs of a cluster row and a hit row; `hit_K` is -1 where the hit is not stored."""

    cluster_K: I64
    hit_K: I64


def calorimeter_sources(stored: Contents, detector: Detector) -> tuple[HitSource, ...]:
    """Return the calorimeter hit collections that are stored and whose id is known."""
    return tuple(
        HitSource(name, "energy", _subdetector(name), HIT.code)
        for name in detector.calorimeter_hits
        if f"{name}.energy" in stored and name in stored.ids
    )


def read_hits(collections: Collections, sources: Sequence[HitSource]) -> Hits:
    """Return the rows of all hits of some collections."""
    offsets_S = [collections[f"{source.name}.{source.energy}"].offsets for source in sources]
    count_SE = np.zeros((len(sources), collections.events), np.int64)
    for number, offsets in enumerate(offsets_S):
        count_SE[number] = np.diff(offsets)
    offsets = offsets_of(count_SE.sum(axis=0))
    first_SE = offsets[:-1] + np.cumsum(count_SE, axis=0) - count_SE
    rows = tuple(
        np.repeat(first_SE[number] - own[:-1], count_SE[number]) + np.arange(own[-1])
        for number, own in enumerate(offsets_S)
    )
    return Hits(tuple(sources), rows, first_SE, offsets)


def hit_rows(collections: Collections, hits: Hits, relation: str) -> tuple[I64, I64]:
    """Return the hit row of every row of `relation`, and the source that it refers to.

    The row is -1 where it points at nothing stored, the source -1 where at no source at all.

    Raises:
        SchemaError: the relation or its collection ids are not stored.
    """
    index = collections[f"{relation}.index"]
    local_L = index.values.astype(np.int64)
    source_L = _source_of(collections, hits, collections[f"{relation}.collectionID"].values)
    if not hits.sources:
        return np.full(len(local_L), -1, np.int64), source_L
    event_L = event_of(index)
    first_L = hits.first_SE[source_L, event_L]
    end_SE = np.concatenate([hits.first_SE[1:], hits.offsets[None, 1:]])
    rows_L = first_L + local_L
    stored_L = (source_L >= 0) & (local_L >= 0) & (rows_L < end_SE[source_L, event_L])
    return np.where(stored_L, rows_L, -1), source_L


def _source_of(collections: Collections, hits: Hits, ids_L: Rows) -> I64:
    """Return the number of the source with each collection id, -1 for an id of none."""
    known = np.array([collections.ids[source.name] for source in hits.sources], np.int64)
    if not len(known):
        return np.full(len(ids_L), -1, np.int64)
    order = np.argsort(known)
    place_L = np.minimum(np.searchsorted(known[order], ids_L), len(known) - 1)
    number_L = order[place_L]
    return np.where(known[number_L] == ids_L, number_L, -1)


def cluster_hits(collections: Collections, hits: Hits) -> ClusterHits:
    """Return the hits of every cluster.

    Raises:
        SchemaError: the relation is not stored.
        EventError: a cluster asks for hits outside its event.
    """
    pairs = slices(collections, f"{CLUSTERS}.hits", "_PandoraClusters_hits.index")
    rows, _ = hit_rows(collections, hits, "_PandoraClusters_hits")
    return ClusterHits(pairs.parent_K, rows[pairs.child_K])


def _subdetector(name: str) -> int:
    """Return the index in `SUBDETECTORS` of a calorimeter hit collection by its name."""
    prefix = name[:4].lower()
    return SUBDETECTORS.index(prefix if prefix in SUBDETECTORS else "other")

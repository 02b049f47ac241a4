"""Stored hits of many events in one array, and which hits belong to which cluster.

Rows are ordered by event, then by collection in the order of `detector.calorimeter_hits`, then as
stored. Shape letters: E events, H hit rows, K cluster-hit pairs. Units: GeV, mm, ns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlpf_stream.columns import HIT, SUBDETECTORS, TRACKER_HIT, Detector
from mlpf_stream.edm4hep.collections import Collections, Contents
from mlpf_stream.edm4hep.leaves import CLUSTERS
from mlpf_stream.edm4hep.relations import slices
from mlpf_stream.event import F64, I64, Jagged, Rows, offsets_of


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

    @property
    def stored(self) -> "ClusterHits":
        """The pairs whose hit is stored."""
        stored_K = self.hit_K >= 0
        if stored_K.all():
            return self
        return ClusterHits(self.cluster_K[stored_K], self.hit_K[stored_K])


def calorimeter_sources(stored: Contents, detector: Detector) -> tuple[HitSource, ...]:
    """Return the calorimeter hit collections that are stored and whose id is known."""
    return tuple(
        HitSource(name, "energy", _subdetector(name), HIT.code)
        for name in detector.calorimeter_hits
        if f"{name}.energy" in stored and name in stored.ids
    )


def tracker_sources(stored: Contents, detector: Detector) -> tuple[HitSource, ...]:
    """Return the tracker hit collections that are stored."""
    code = SUBDETECTORS.index("tracker")
    return tuple(
        HitSource(name, "eDep", code, TRACKER_HIT)
        for name in detector.tracker_hits
        if f"{name}.eDep" in stored
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
    runs = _runs(index, collections[f"{relation}.collectionID"].values)
    first_R = runs.edges[:-1]
    source_R = _source_of(collections, hits, runs.ids_R)
    length_R = np.diff(runs.edges)
    source_L = np.repeat(source_R, length_R)
    if not hits.sources:
        return np.full(len(local_L), -1, np.int64), source_L
    event_R = np.searchsorted(index.offsets, first_R, side="right") - 1
    end_SE = np.concatenate([hits.first_SE[1:], hits.offsets[None, 1:]])
    begin_R = hits.first_SE[source_R, event_R]
    count_R = np.where(source_R >= 0, end_SE[source_R, event_R] - begin_R, 0)
    stored_L = (local_L >= 0) & (local_L < np.repeat(count_R, length_R))
    rows_L = np.repeat(begin_R, length_R) + local_L
    return rows_L if stored_L.all() else np.where(stored_L, rows_L, -1), source_L


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of references of one event to one collection: R + 1 edges, collection id of each."""

    edges: I64
    ids_R: Rows


def _runs(index: Jagged, ids_L: Rows) -> _Runs:
    """Return the runs of a relation: references to one collection mostly follow each other."""
    edge_L = np.zeros(len(ids_L) + 1, np.bool_)
    edge_L[1:-1] = ids_L[1:] != ids_L[:-1]
    edge_L[index.offsets] = True
    edges = np.flatnonzero(edge_L)
    return _Runs(edges, ids_L[edges[:-1]])


def _source_of(collections: Collections, hits: Hits, ids_R: Rows) -> I64:
    """Return the number of the source with each collection id, -1 for an id of none."""
    source_R = np.full(len(ids_R), -1, np.int64)
    for number, source in enumerate(hits.sources):
        if source.name in collections.ids:
            source_R[ids_R == collections.ids[source.name]] = number
    return source_R


def cluster_hits(collections: Collections, hits: Hits) -> ClusterHits:
    """Return the hits of every cluster.

    Raises:
        SchemaError: the relation is not stored.
        EventError: a cluster asks for hits outside its event.
    """
    pairs = slices(collections, f"{CLUSTERS}.hits", "_PandoraClusters_hits.index")
    rows, _ = hit_rows(collections, hits, "_PandoraClusters_hits")
    return ClusterHits(pairs.parent_K, rows[pairs.child_K])


class Cells:
    """The stored hits of some events, and those of their clusters, each looked up once.

    With `tracker_hits` those of the tracker are elements beside the calorimeter's.
    """

    def __init__(
        self, collections: Collections, detector: Detector, *, tracker_hits: bool = False
    ) -> None:
        self._collections = collections
        self._sources = calorimeter_sources(collections, detector)
        self._tracker = tracker_sources(collections, detector) if tracker_hits else ()

    @cached_property
    def hits(self) -> Hits:
        """All calorimeter hits: clusters are made of them."""
        return read_hits(self._collections, self._sources)

    @cached_property
    def elements(self) -> Hits:
        """All hits that are elements: of each event first the calorimeters', then the tracker's."""
        if not self._tracker:
            return self.hits
        return read_hits(self._collections, (*self._sources, *self._tracker))

    @cached_property
    def energy_H(self) -> F64:
        """Energy of every calorimeter hit."""
        energy_H: F64 = self.hits.column(self._collections, "energy", "float64")
        return energy_H

    @cached_property
    def of_clusters(self) -> ClusterHits:
        """The hits of every cluster."""
        return cluster_hits(self._collections, self.hits)


def _subdetector(name: str) -> int:
    """Return the index in `SUBDETECTORS` of a calorimeter hit collection by its name."""
    prefix = name[:4].lower()
    return SUBDETECTORS.index(prefix if prefix in SUBDETECTORS else "other")

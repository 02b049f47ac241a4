"""Stored hits of many events in one array, and which hits belong to which cluster.

Rows are ordered by event, then by collection in the order of `detector.calorimeter_hits`, then as
stored. Shape letters: E events, H hit rows, K cluster-hit pairs. Units: GeV, mm, ns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from mlpf_stream.columns import HIT, SUBDETECTORS, TRACKER_HIT, Detector
from mlpf_stream.edm4hep.collections import Collections, Contents
from mlpf_stream.edm4hep.leaves import CLUSTERS
from mlpf_stream.edm4hep.relations import slices
from mlpf_stream.edm4hep.rows import Places, find_rows, place
from mlpf_stream.event import F64, I8, I64, Rows, offsets_of

_NO_ID: Final = -1
"""Stands for the id of a collection that no reference can mean."""


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
    """Hit rows of some collections.

    `first_SE` is the row of the first hit of every source (S) in every event, `own_SF` the offsets
    of its hits as stored (F = E + 1); `offsets` (E + 1,) are those of all hits.
    """

    sources: tuple[HitSource, ...]
    first_SE: I64
    own_SF: I64
    offsets: I64

    @property
    def count(self) -> int:
        """Number of hit rows H."""
        return int(self.offsets[-1])

    def column(self, collections: Collections, member: str, dtype: str) -> Rows:
        """Return one member of all hits, zero where its collection does not store it."""
        values_H = np.zeros(self.count, dtype)
        for number, source in enumerate(self.sources):
            leaf = f"{source.name}.{source.energy if member == 'energy' else member}"
            if leaf in collections:
                self.put(values_H, number, collections[leaf].values)
        return values_H

    def put(self, values_H: Rows, number: int, values: Rows) -> None:
        """Put the values of one source, as stored, where its rows are."""
        place(values_H, values, self.own_SF[number], self.first_SE[number])

    def rows(self, number: int) -> I64:
        """Return the rows of the hits of one source, as stored."""
        own, first_E = self.own_SF[number], self.first_SE[number]
        return np.repeat(first_E - own[:-1], np.diff(own)) + np.arange(own[-1])

    @property
    def subdetector_H(self) -> I8:
        """Index in `columns.SUBDETECTORS` of every hit."""
        code_H = np.zeros(self.count, np.int8)
        for number, source in enumerate(self.sources):
            self.put(code_H, number, np.full(self.own_SF[number, -1], source.subdetector, np.int8))
        return code_H

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
    own_SF = np.zeros((len(sources), collections.events + 1), np.int64)
    for number, source in enumerate(sources):
        own_SF[number] = collections[f"{source.name}.{source.energy}"].offsets
    count_SE = np.diff(own_SF, axis=1)
    offsets = offsets_of(count_SE.sum(axis=0))
    first_SE = offsets[:-1] + np.cumsum(count_SE, axis=0) - count_SE
    return Hits(tuple(sources), first_SE, own_SF, offsets)


def hit_rows(collections: Collections, hits: Hits, relation: str) -> tuple[I64, bool]:
    """Return the hit row of every row of `relation`, and whether one dangles.

    The row is -1 where it points at nothing stored; it dangles if its collection is stored.

    Raises:
        SchemaError: the relation or its collection ids are not stored.
    """
    id_S = [collections.ids.get(source.name, _NO_ID) for source in hits.sources]
    places = Places(np.array(id_S, np.int64), hits.first_SE, np.diff(hits.own_SF, axis=1))
    ids = collections[f"{relation}.collectionID"].values
    return find_rows(collections[f"{relation}.index"], ids, places)


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

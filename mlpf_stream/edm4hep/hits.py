"""Stored calorimeter hits of many events in one array, and who refers to them.

Shape letters: H hit rows over all collections, K cluster-hit pairs. Units: GeV, mm.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import CLUSTERS
from mlpf_stream.edm4hep.relations import event_of, slices
from mlpf_stream.event import F64, I8, I64

SUBDETECTORS: Final = ("ecal", "hcal", "other")


@dataclass(frozen=True, slots=True)
class Hits:
    """Hits of all stored calorimeter collections; `base` is the first row of each by its id."""

    energy_H: F64
    position_H3: F64
    subdetector_H: I8
    base: dict[int, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class ClusterHits:
    """Pairs of a cluster row and a hit row; `hit_K` is -1 where the hit is not stored."""

    cluster_K: I64
    hit_K: I64


def has_cluster_hits(collections: Collections, detector: Detector) -> bool:
    """Return whether the hits of clusters can be followed to stored hits."""
    relation = "_PandoraClusters_hits.index" in collections
    return relation and bool(_stored(collections, detector))


def read_hits(collections: Collections, detector: Detector) -> Hits:
    """Return all stored hits of the detector's calorimeters."""
    energies, positions, subdetectors = [np.zeros(0)], [np.zeros((0, 3))], [np.zeros(0, np.int8)]
    base: dict[int, tuple[int, str]] = {}
    row = 0
    for name in _stored(collections, detector):
        energy = collections[f"{name}.energy"].values.astype(np.float64)
        xyz = [collections[f"{name}.position.{axis}"].values for axis in "xyz"]
        base[collections.ids[name]] = (row, f"{name}.energy")
        energies.append(energy)
        positions.append(np.stack(xyz, axis=1).astype(np.float64))
        subdetectors.append(np.full(len(energy), _subdetector(name), np.int8))
        row += len(energy)
    return Hits(
        np.concatenate(energies), np.concatenate(positions), np.concatenate(subdetectors), base
    )


def hit_rows(collections: Collections, hits: Hits, relation: str) -> I64:
    """Return the hit row of every row of `relation`, -1 where it points at nothing stored.

    Raises:
        SchemaError: the relation or its collection ids are not stored.
    """
    index = collections[f"{relation}.index"]
    ids = collections[f"{relation}.collectionID"].values
    event = event_of(index)
    local = index.values.astype(np.int64)
    rows = np.full(len(local), -1, np.int64)
    for number, (first, leaf) in hits.base.items():
        offsets = collections[leaf].offsets
        here = np.flatnonzero((ids == number) & (local >= 0))
        here = here[local[here] < np.diff(offsets)[event[here]]]
        rows[here] = first + offsets[event[here]] + local[here]
    return rows


def cluster_hits(collections: Collections, hits: Hits) -> ClusterHits:
    """Return the hits of every cluster.

    Raises:
        SchemaError: the relation is not stored.
        EventError: a cluster asks for hits outside its event.
    """
    pairs = slices(collections, f"{CLUSTERS}.hits", "_PandoraClusters_hits.index")
    rows = hit_rows(collections, hits, "_PandoraClusters_hits")
    return ClusterHits(pairs.parent_K, rows[pairs.child_K])


def _stored(collections: Collections, detector: Detector) -> list[str]:
    """Return the detector's hit collections that are stored and whose id is known."""
    names = detector.calorimeter_hits
    return [name for name in names if f"{name}.energy" in collections and name in collections.ids]


def _subdetector(name: str) -> int:
    """Return the index in `SUBDETECTORS` of a hit collection by its name."""
    prefix = name[:4].lower()
    return SUBDETECTORS.index(prefix) if prefix in SUBDETECTORS else SUBDETECTORS.index("other")

"""How many GeV of each cluster, or of each hit, came from each MC particle.

Shape letters: E events, R rows of the clusters or hits, K contributions, H hit rows, L link rows.
Units: GeV.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlpf_stream.columns import CLUSTER, HIT, Detector, ElementKind, Mode
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.hits import Cells, ClusterHits
from mlpf_stream.edm4hep.leaves import CLUSTER_LINKS, CLUSTERS, HIT_LINKS
from mlpf_stream.edm4hep.links import element_links, hit_links, truth_source
from mlpf_stream.edm4hep.relations import Links, links
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import F64, I64


@dataclass(frozen=True)
class Deposits:
    """Energy that MC particles left in the elements of one kind, by event (`offsets`, (E + 1,)).

    Contribution K says that particle row `particle_K` left `energy_K` in element row `element_K`; a
    pair of rows may occur more than once. `total_R` is the energy of an element that truth is
    asked for, `unlinked_R` the part of it without any link; per element, contributions and the
    unlinked part add up to the total.
    """

    kind: ElementKind
    offsets: I64
    particle_K: I64
    element_K: I64
    energy_K: F64
    total_R: F64
    unlinked_R: F64

    @cached_property
    def event_R(self) -> I64:
        """Event of every element row, shape (R,)."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def read_deposits(
    collections: Collections, detector: Detector, mode: Mode, cells: Cells | None = None
) -> Deposits:
    """Return the deposits in the clusters or hits that are the elements of a mode.

    `cells` are the hits of the collections, where they were looked up before.

    Raises:
        SchemaError: the file does not link them to MC particles.
        EventError: a cluster asks for hits outside its event, or a link dangles.
    """
    cells = cells or Cells(collections, detector)
    if mode == "hits":
        return _in_hits(collections, cells)
    source = truth_source(collections, detector)
    if source == "hits":
        return _in_clusters(collections, cells)
    if source == "clusters":
        return _in_linked_clusters(collections)
    raise SchemaError(
        f"expected {HIT_LINKS!r} with stored hits, or {CLUSTER_LINKS!r}, found neither in "
        f"{collections.source!r}: clusters have no truth; "
        "keep these links when the file is made"
    )


def _in_hits(collections: Collections, cells: Cells) -> Deposits:
    """Return the energies of all hits, in clusters or not, shared by the weights of their links."""
    if f"{HIT_LINKS}.weight" not in collections:
        raise SchemaError(
            f"expected {HIT_LINKS!r} for mode 'hits', found none in {collections.source!r}: hits "
            "have no truth; keep these links when the file is made, or use mode 'clusters'"
        )
    hits = cells.elements
    energy_H = hits.column(collections, "energy", "float64")
    found = element_links(collections, hits)
    unlinked_H = energy_H.copy()
    unlinked_H[found.from_L] = 0.0
    return Deposits(
        HIT,
        hits.offsets,
        found.to_L,
        found.from_L,
        energy_H[found.from_L] * found.weight_L,
        energy_H,
        unlinked_H,
    )


def _in_linked_clusters(collections: Collections) -> Deposits:
    """Return link fractions times cluster energies; fractions of a cluster sum to at most 1."""
    energy = collections[f"{CLUSTERS}.energy"]
    total_R = energy.values.astype(np.float64)
    found = links(collections, CLUSTER_LINKS, f"{CLUSTERS}.energy")
    linked_R = np.bincount(found.from_L, weights=found.weight_L, minlength=len(total_R))
    scale_R = total_R / np.maximum(linked_R, 1.0)
    return Deposits(
        CLUSTER,
        energy.offsets,
        found.to_L,
        found.from_L,
        found.weight_L * scale_R[found.from_L],
        total_R,
        total_R * (1.0 - np.minimum(linked_R, 1.0)),
    )


def _in_clusters(collections: Collections, cells: Cells) -> Deposits:
    """Return the energies of stored hits of clusters, shared by the link weights of each hit.

    A hit that two clusters claim gives each an equal part: nothing is counted twice.
    """
    pairs = cells.of_clusters.stored
    offsets = collections[f"{CLUSTERS}.energy"].offsets
    clusters, hits = int(offsets[-1]), cells.hits.count
    claims_H = np.bincount(pairs.hit_K, minlength=hits)
    share_H = cells.energy_H / np.maximum(claims_H, 1)
    found = hit_links(collections, cells.hits)
    bare_H = np.ones(hits, np.bool_)
    bare_H[found.from_L] = False

    def total(energy_K: F64) -> F64:
        found = np.bincount(pairs.cluster_K, weights=energy_K, minlength=clusters)
        return found.astype(np.float64)

    parts = [_contribute(layer, found, share_H) for layer in _layers(pairs, hits)]
    return Deposits(
        CLUSTER,
        offsets,
        np.concatenate([part.particle_K for part in parts]),
        np.concatenate([part.element_K for part in parts]),
        np.concatenate([part.energy_K for part in parts]),
        total(share_H[pairs.hit_K]),
        total(np.where(bare_H, share_H, 0.0)[pairs.hit_K]),
    )


def _layers(pairs: ClusterHits, hits: int) -> Iterator[I64]:
    """Yield the cluster of every hit, -1 for none: first the first claims, then the second ones."""
    cluster_K, hit_K = pairs.cluster_K, pairs.hit_K
    while True:
        claim_H = np.full(hits, -1, np.int64)
        claim_H[hit_K[::-1]] = np.arange(len(hit_K))[::-1]
        yield np.where(claim_H >= 0, cluster_K[claim_H], -1) if len(hit_K) else claim_H
        later = np.flatnonzero(claim_H[hit_K] != np.arange(len(hit_K)))
        if not len(later):
            return
        cluster_K, hit_K = cluster_K[later], hit_K[later]


@dataclass(frozen=True, slots=True)
class _Contributions:
    """What some links add: particle rows, cluster rows, energies."""

    particle_K: I64
    element_K: I64
    energy_K: F64


def _contribute(cluster_H: I64, found: Links, share_H: F64) -> _Contributions:
    """Return what all linked hits give to the cluster of each."""
    cluster_L = cluster_H[found.from_L]
    energy_L = share_H[found.from_L] * found.weight_L
    keep_L = cluster_L >= 0
    return _Contributions(found.to_L[keep_L], cluster_L[keep_L], energy_L[keep_L])

"""How many GeV of each cluster, or of each hit, came from each MC particle.

Shape letters: E events, R rows of the clusters or hits, K contributions, H hit rows, L link rows.
Units: GeV.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import CLUSTER, HIT, Detector, ElementKind, Mode
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.hits import ClusterHits, calorimeter_sources, cluster_hits, read_hits
from mlpf_stream.edm4hep.leaves import CLUSTER_LINKS, CLUSTERS, HIT_LINKS
from mlpf_stream.edm4hep.links import hit_links, truth_source
from mlpf_stream.edm4hep.relations import links, order_of
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import F64, I64, gather_index, offsets_of


@dataclass(frozen=True, slots=True)
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

    @property
    def event_R(self) -> I64:
        """Event of every element row, shape (R,)."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(len(counts), dtype=np.int64), counts)


def read_deposits(collections: Collections, detector: Detector, mode: Mode) -> Deposits:
    """Return the deposits in the clusters or hits that are the elements of a mode.

    Raises:
        SchemaError: the file does not link them to MC particles.
        EventError: a cluster asks for hits outside its event, or a link dangles.
    """
    if mode == "hits":
        return _in_hits(collections, detector)
    source = truth_source(collections, detector)
    if source == "hits":
        return _in_clusters(collections, detector)
    if source == "clusters":
        return _in_linked_clusters(collections)
    raise SchemaError(
        f"expected {HIT_LINKS!r} with stored hits, or {CLUSTER_LINKS!r}, found neither in "
        f"{collections.source!r}: clusters have no truth; "
        "keep these links when the file is made"
    )


def _in_hits(collections: Collections, detector: Detector) -> Deposits:
    """Return the energies of all hits, in clusters or not, shared by the weights of their links."""
    if f"{HIT_LINKS}.weight" not in collections:
        raise SchemaError(
            f"expected {HIT_LINKS!r} for mode 'hits', found none in {collections.source!r}: hits "
            "have no truth; keep these links when the file is made, or use mode 'clusters'"
        )
    hits = read_hits(collections, calorimeter_sources(collections, detector))
    energy_H = hits.column(collections, "energy", "float64")
    found = hit_links(collections, hits)
    linked_H = np.bincount(found.from_L, minlength=hits.count) > 0
    return Deposits(
        HIT,
        hits.offsets,
        found.to_L,
        found.from_L,
        energy_H[found.from_L] * found.weight_L,
        energy_H,
        np.where(linked_H, 0.0, energy_H),
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


def _in_clusters(collections: Collections, detector: Detector) -> Deposits:
    """Return the energies of stored hits of clusters, shared by the link weights of each hit.

    A hit that two clusters claim gives each an equal part: nothing is counted twice.
    """
    hits = read_hits(collections, calorimeter_sources(collections, detector))
    pairs = cluster_hits(collections, hits)
    stored_K = pairs.hit_K >= 0
    pairs = ClusterHits(pairs.cluster_K[stored_K], pairs.hit_K[stored_K])
    claims_H = np.bincount(pairs.hit_K, minlength=hits.count)
    energy_K = hits.column(collections, "energy", "float64")[pairs.hit_K] / claims_H[pairs.hit_K]
    offsets = collections[f"{CLUSTERS}.energy"].offsets
    clusters = int(offsets[-1])
    total_R = np.bincount(pairs.cluster_K, weights=energy_K, minlength=clusters)

    found = hit_links(collections, hits)
    order_L = order_of(found.from_L)
    count_H = np.bincount(found.from_L, minlength=hits.count).astype(np.int64)
    index, joined = gather_index(offsets_of(count_H), pairs.hit_K)
    link_K = order_L[index]
    pair_K = np.repeat(np.arange(len(pairs.hit_K)), np.diff(joined))
    bare_K = count_H[pairs.hit_K] == 0
    unlinked_R = np.bincount(
        pairs.cluster_K[bare_K], weights=energy_K[bare_K], minlength=clusters
    ).astype(np.float64)
    return Deposits(
        CLUSTER,
        offsets,
        found.to_L[link_K],
        pairs.cluster_K[pair_K],
        energy_K[pair_K] * found.weight_L[link_K],
        total_R.astype(np.float64),
        unlinked_R,
    )

"""Truth links to deposits: how many GeV of each cluster came from each MC particle.

Shape letters: R cluster rows, K (particle, cluster) pairs, H hit rows, L link rows. Units: GeV.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.hits import (
    ClusterHits,
    Hits,
    cluster_hits,
    has_cluster_hits,
    hit_rows,
    read_hits,
)
from mlpf_stream.edm4hep.leaves import CLUSTER_LINKS, CLUSTERS, HIT_LINKS, MC, TRACK_LINKS, TRACKS
from mlpf_stream.edm4hep.relations import Links, linked_rows, links, refuse_dangling, sum_pairs
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import F64, I64, gather_index, offsets_of

TruthSource = Literal["hits", "clusters", "none"]


@dataclass(frozen=True, slots=True)
class Deposits:
    """Energy of clusters by MC particle.

    Pairs are unique and sorted by particle row, then cluster row. `total_R` is the energy of a
    cluster that truth is asked for, `unlinked_R` the part of it without any link;
    per cluster, deposits and the unlinked part add up to the total.
    """

    particle_K: I64
    cluster_K: I64
    energy_K: F64
    total_R: F64
    unlinked_R: F64


def truth_source(collections: Collections, detector: Detector) -> TruthSource:
    """Return where the truth of clusters comes from: hit links where hits are stored, else links.

    Leaf names alone decide, so all steps of a file agree.
    """
    if f"{HIT_LINKS}.weight" in collections and has_cluster_hits(collections, detector):
        return "hits"
    return "clusters" if f"{CLUSTER_LINKS}.weight" in collections else "none"


def cluster_deposits(collections: Collections, detector: Detector) -> Deposits:
    """Return the deposits of every MC particle in every cluster.

    Raises:
        SchemaError: the file links neither hits nor clusters to MC particles.
        EventError: a cluster asks for hits outside its event, or a link dangles.
    """
    source = truth_source(collections, detector)
    if source == "hits":
        return _from_hits(collections, detector)
    if source == "clusters":
        return _from_cluster_links(collections)
    raise SchemaError(
        f"expected {HIT_LINKS!r} with stored hits, or {CLUSTER_LINKS!r}, found neither in "
        f"{collections.source!r}: clusters have no truth; "
        "keep these links when the file is made"
    )


def track_links(collections: Collections) -> Links:
    """Return the links of tracks; none in a file without links whose events have no tracks.

    Raises:
        SchemaError: there are tracks but no links of tracks in the file.
        EventError: a link dangles.
    """
    if f"{TRACK_LINKS}.weight" in collections:
        return links(collections, TRACK_LINKS, f"{TRACKS}.chi2")
    if len(collections[f"{TRACKS}.chi2"].values):
        raise SchemaError(
            f"expected {TRACK_LINKS!r} for the tracks of {collections.source!r}, found none: "
            "tracks have no truth; keep these links when the file is made"
        )
    none = np.zeros(0, np.int64)
    return Links(none, none, np.zeros(0))


def _from_cluster_links(collections: Collections) -> Deposits:
    """Return link fractions times cluster energies; fractions of a cluster sum to at most 1."""
    total_R = collections[f"{CLUSTERS}.energy"].values.astype(np.float64)
    found = links(collections, CLUSTER_LINKS, f"{CLUSTERS}.energy")
    linked_R = np.bincount(found.from_L, weights=found.weight_L, minlength=len(total_R))
    scale_R = total_R / np.maximum(linked_R, 1.0)
    energy_L = found.weight_L * scale_R[found.from_L]
    particle_K, cluster_K, energy_K = sum_pairs(found.to_L, found.from_L, energy_L)
    unlinked_R = total_R * (1.0 - np.minimum(linked_R, 1.0))
    return Deposits(particle_K, cluster_K, energy_K, total_R, unlinked_R)


def _from_hits(collections: Collections, detector: Detector) -> Deposits:
    """Return the energies of stored hits of clusters, shared by the link weights of each hit.

    Link weights are no fractions, so they are normalised per hit. A hit that two clusters claim
    gives each an equal part: nothing is counted twice.

    Source: jpata/particleflow key4hep post-processing, weight of a particle on a calorimeter hit.
    """
    hits = read_hits(collections, detector)
    pairs = cluster_hits(collections, hits)
    stored_K = pairs.hit_K >= 0
    pairs = ClusterHits(pairs.cluster_K[stored_K], pairs.hit_K[stored_K])
    claims_H = np.bincount(pairs.hit_K, minlength=len(hits.energy_H))
    energy_K = hits.energy_H[pairs.hit_K] / claims_H[pairs.hit_K]
    clusters = len(collections[f"{CLUSTERS}.energy"].values)
    total_R = np.bincount(pairs.cluster_K, weights=energy_K, minlength=clusters)

    found = _hit_links(collections, hits)
    order_L = np.argsort(found.from_L, kind="stable")
    count_H = np.bincount(found.from_L, minlength=len(hits.energy_H)).astype(np.int64)
    index, joined = gather_index(offsets_of(count_H), pairs.hit_K)
    link_K = order_L[index]
    pair_K = np.repeat(np.arange(len(pairs.hit_K)), np.diff(joined))
    shared = energy_K[pair_K] * found.weight_L[link_K]
    particle, cluster, energy = sum_pairs(found.to_L[link_K], pairs.cluster_K[pair_K], shared)

    bare_K = count_H[pairs.hit_K] == 0
    unlinked_R = np.bincount(
        pairs.cluster_K[bare_K], weights=energy_K[bare_K], minlength=clusters
    ).astype(np.float64)
    return Deposits(particle, cluster, energy, total_R.astype(np.float64), unlinked_R)


def _hit_links(collections: Collections, hits: Hits) -> Links:
    """Return links from hit rows to MC rows whose weights sum to 1 on every hit.

    Raises:
        EventError: a link dangles.
    """
    relation = f"_{HIT_LINKS}_from"
    from_L = hit_rows(collections, hits, relation)
    ids = collections[f"{relation}.collectionID"].values
    for number, (_, leaf) in hits.base.items():
        refuse_dangling(collections, (relation, leaf), (ids == number) & (from_L < 0))
    to_L = linked_rows(collections, f"_{HIT_LINKS}_to", f"{MC}.PDG")
    weight_L = collections[f"{HIT_LINKS}.weight"].values.astype(np.float64)
    keep_L = (from_L >= 0) & (to_L >= 0) & (weight_L > 0)
    from_L, to_L, weight_L = from_L[keep_L], to_L[keep_L], weight_L[keep_L]
    sum_H = np.bincount(from_L, weights=weight_L, minlength=len(hits.energy_H))
    return Links(from_L, to_L, weight_L / sum_H[from_L])

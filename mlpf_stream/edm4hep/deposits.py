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
from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.edm4hep.hits import Cells, ClusterHits
from mlpf_stream.edm4hep.leaves import CLUSTER_LINKS, CLUSTERS, HIT_LINKS
from mlpf_stream.edm4hep.links import element_links, hit_links, truth_source
from mlpf_stream.edm4hep.pairs import Columns
from mlpf_stream.edm4hep.relations import links
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import F64, I64, Bool


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
    def total_E(self) -> F64:
        """Energy of all elements of every event."""
        total_E: F64 = _sum_rows(self.total_R, self.offsets)
        return total_E

    @cached_property
    def unlinked_E(self) -> F64:
        """The part of it without any link."""
        unlinked_E: F64 = _sum_rows(self.unlinked_R, self.offsets)
        return unlinked_E

    def by_particle(self, particles: int) -> tuple[F64, Bool]:
        """Return what each particle row left, and whether it left a positive energy anywhere."""
        left_N, gave_N = _by_particle(self.particle_K, self.energy_K, particles)
        return left_N, gave_N


@compiled()
def _sum_rows(value_R: F64, offsets: I64) -> F64:
    """Add up the rows of every event."""
    sum_E = np.zeros(len(offsets) - 1, np.float64)
    for event in range(len(sum_E)):
        for row in range(offsets[event], offsets[event + 1]):
            sum_E[event] += value_R[row]
    return sum_E


@compiled()
def _by_particle(particle_K: I64, energy_K: F64, particles: int) -> tuple[F64, Bool]:
    """Add up energies by particle row."""
    left_N, gave_N = np.zeros(particles, np.float64), np.zeros(particles, np.bool_)
    for k in range(len(particle_K)):
        left_N[particle_K[k]] += energy_K[k]
        gave_N[particle_K[k]] |= energy_K[k] > 0
    return left_N, gave_N


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
    layers = list(_layers(pairs, cells.hits.count))
    share_H = cells.energy_H
    if len(layers) > 1:
        share_H = share_H / np.maximum(sum((layer >= 0).astype(np.int64) for layer in layers), 1)
    found = hit_links(collections, cells.hits)
    shared = Columns(found.to_L, found.from_L, found.weight_L)
    parts = [_contribute(cluster_H, shared, share_H) for cluster_H in layers]
    totals = _sum_claims((pairs.cluster_K, pairs.hit_K), share_H, found.from_L, int(offsets[-1]))
    return Deposits(
        CLUSTER,
        offsets,
        np.concatenate([part.particle_K for part in parts]),
        np.concatenate([part.element_K for part in parts]),
        np.concatenate([part.value_K for part in parts]),
        *totals,
    )


def _layers(pairs: ClusterHits, hits: int) -> Iterator[I64]:
    """Yield the cluster of every hit, -1 for none: first the first claims, then the second ones."""
    cluster_K, hit_K = pairs.cluster_K, pairs.hit_K
    while True:
        cluster_H, later = _first_claims(cluster_K, hit_K, hits)
        yield cluster_H
        if not len(later):
            return
        cluster_K, hit_K = cluster_K[later], hit_K[later]


@compiled()
def _first_claims(cluster_K: I64, hit_K: I64, hits: int) -> tuple[I64, I64]:
    """Return the first cluster that claims each hit, -1 for none, and all other claims."""
    cluster_H, later_K, count = np.full(hits, -1, np.int64), np.empty(len(hit_K), np.int64), 0
    for k in range(len(hit_K)):
        if cluster_H[hit_K[k]] < 0:
            cluster_H[hit_K[k]] = cluster_K[k]
        else:
            later_K[count] = k
            count += 1
    return cluster_H, later_K[:count]


@compiled()
def _contribute(cluster_H: I64, links: Columns, share_H: F64) -> Columns:
    """Return what all linked hits give to the cluster of each."""
    most, count = len(links.value_K), 0
    particle_K, element_K = np.empty(most, np.int64), np.empty(most, np.int64)
    energy_K = np.empty(most, np.float64)
    for at in range(most):
        hit = links.element_K[at]
        if cluster_H[hit] >= 0:
            particle_K[count], element_K[count] = links.particle_K[at], cluster_H[hit]
            energy_K[count] = share_H[hit] * links.value_K[at]
            count += 1
    return Columns(particle_K[:count], element_K[:count], energy_K[:count])


@compiled()
def _sum_claims(
    claims: tuple[I64, I64], share_H: F64, linked_L: I64, clusters: int
) -> tuple[F64, F64]:
    """Return the energy of the hits of every cluster, and that of hits without a link."""
    bare_H = np.ones(len(share_H), np.bool_)
    for at in range(len(linked_L)):
        bare_H[linked_L[at]] = False
    total_R, unlinked_R = np.zeros(clusters, np.float64), np.zeros(clusters, np.float64)
    cluster_K, hit_K = claims
    for k in range(len(cluster_K)):
        total_R[cluster_K[k]] += share_H[hit_K[k]]
        if bare_H[hit_K[k]]:
            unlinked_R[cluster_K[k]] += share_H[hit_K[k]]
    return total_R, unlinked_R

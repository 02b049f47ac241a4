"""Which leaves a step needs: of a terabyte, nothing is decompressed that nobody looks at."""

from mlpf_stream.edm4hep.collections import Contents
from mlpf_stream.edm4hep.leaves import (
    CLUSTER_HIT_LEAVES,
    CLUSTER_LEAVES,
    CLUSTER_LINK_LEAVES,
    DEDX_LEAVES,
    HIT_LINK_LEAVES,
    MC_LEAVES,
    OLD_TRACK_LEAVES,
    PARENT_LEAVES,
    PFO_LEAVES,
    SUBDETECTOR_LEAVES,
    TRACK_LEAVES,
    TRACK_LINK_LEAVES,
    Leaf,
    hit_leaves,
    tracker_leaves,
)
from mlpf_stream.edm4hep.links import truth_source
from mlpf_stream.edm4hep.step import StepRequest

_OF_CANDIDATES = ("PDG", "charge", "energy", "momentum.x", "momentum.y", "momentum.z")
_OF_HIT_MODE = ("time", "type")


def needed_leaves(stored: Contents, request: StepRequest) -> list[Leaf]:
    """Return the leaves that `convert_step` reads."""
    leaves = [*MC_LEAVES, *PARENT_LEAVES, *TRACK_LEAVES, *DEDX_LEAVES, *OLD_TRACK_LEAVES]
    leaves += [
        *TRACK_LINK_LEAVES,
        *(leaf for leaf in PFO_LEAVES if _member(leaf) in _OF_CANDIDATES),
    ]
    if request.mode == "clusters":
        by_hits = truth_source(stored, request.detector) == "hits"
        leaves += HIT_LINK_LEAVES if by_hits else CLUSTER_LINK_LEAVES
    else:
        leaves += HIT_LINK_LEAVES
    if request.mode == "clusters" or request.with_baseline:
        leaves += [*CLUSTER_LEAVES, *SUBDETECTOR_LEAVES, *CLUSTER_HIT_LEAVES]
    hits = [leaf for name in request.detector.calorimeter_hits for leaf in hit_leaves(name)]
    if request.mode == "clusters":
        related = CLUSTER_HIT_LEAVES[0].name in stored
        hits = [leaf for leaf in hits if related and _member(leaf) not in _OF_HIT_MODE]
    if request.tracker_hits:
        hits += [leaf for name in request.detector.tracker_hits for leaf in tracker_leaves(name)]
    return [*leaves, *hits]


def _member(leaf: Leaf) -> str:
    """Return the name of a leaf within its collection."""
    return leaf.name.partition(".")[2]

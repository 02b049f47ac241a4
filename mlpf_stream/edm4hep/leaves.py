"""Every leaf that is read or written: canonical name (newest EDM4HEP schema), dtype, older names.

A leaf is `COLLECTION.MEMBER` or, for a vector of plain numbers, `COLLECTION` alone. Relations and
vector members are collections of their own whose name starts with an underscore. All leaves of one
collection have the same number of rows per event.
Units: GeV, mm, ns, 1/mm.

Source: EDM4HEP 1.0 data model (key4hep/EDM4hep edm4hep.yaml) and the branch naming of podio
<= 0.16, 0.17 to 0.99 and >= 1.0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MC: Final = "MCParticles"
TRACKS: Final = "SiTracks_Refitted"
STATES: Final = "_SiTracks_Refitted_trackStates"
CLUSTERS: Final = "PandoraClusters"
PFOS: Final = "PandoraPFOs"
TRACK_LINKS: Final = "SiTracksMCTruthLink"
CLUSTER_LINKS: Final = "ClusterMCTruthLink"
HIT_LINKS: Final = "CalohitMCTruthLink"

STATE_AT_IP: Final = 1
STATE_AT_FIRST_HIT: Final = 2
STATE_AT_LAST_HIT: Final = 3
STATE_AT_CALORIMETER: Final = 4
"""Codes of `_SiTracks_Refitted_trackStates.location`."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One branch of numbers: canonical name and numpy dtype."""

    name: str
    dtype: str


def _leaves(collection: str, dtype: str, members: Sequence[str]) -> tuple[Leaf, ...]:
    """Return the leaves of some members of one collection that share a dtype."""
    return tuple(Leaf(f"{collection}.{member}", dtype) for member in members)


def _xyz(member: str) -> tuple[str, str, str]:
    """Return the three components of a vector member."""
    return (f"{member}.x", f"{member}.y", f"{member}.z")


def _link(name: str) -> tuple[Leaf, ...]:
    """Return the leaves of a weighted link collection."""
    return (
        Leaf(f"{name}.weight", "float32"),
        Leaf(f"_{name}_from.index", "int32"),
        Leaf(f"_{name}_from.collectionID", "uint32"),
        Leaf(f"_{name}_to.index", "int32"),
        Leaf(f"_{name}_to.collectionID", "uint32"),
    )


MC_LEAVES: Final = (
    *_leaves(MC, "int32", ("PDG", "generatorStatus", "simulatorStatus")),
    *_leaves(MC, "float32", ("charge",)),
    *_leaves(MC, "float64", ("mass", *_xyz("momentum"))),
    *_leaves(MC, "uint32", ("daughters_begin", "daughters_end")),
    Leaf("_MCParticles_daughters.index", "int32"),
)
"""Generator and simulation record; `daughters_*` slice `_MCParticles_daughters.index`."""

PARENT_LEAVES: Final = (
    *_leaves(MC, "uint32", ("parents_begin", "parents_end")),
    Leaf("_MCParticles_parents.index", "int32"),
)
"""The same relation from below, optional: some files of 2021 fill only this one."""

TRACK_LEAVES: Final = (
    *_leaves(TRACKS, "float32", ("chi2",)),
    *_leaves(TRACKS, "int32", ("ndf",)),
    *_leaves(TRACKS, "uint32", ("trackStates_begin", "trackStates_end")),
    *_leaves(STATES, "int32", ("location",)),
    *_leaves(STATES, "float32", ("D0", "phi", "omega", "Z0", "tanLambda", "time")),
    *_leaves(STATES, "float32", _xyz("referencePoint")),
)
"""Tracks and their states; `trackStates_*` slice the states."""

DEDX_LEAVES: Final = (
    *_leaves("SiTracks_Refitted_dQdx", "float32", ("dQdx.value", "dQdx.error")),
    Leaf("_SiTracks_Refitted_dQdx_track.index", "int32"),
)
"""Ionisation of tracks, optional; `index` names the track of every row."""

OLD_TRACK_LEAVES: Final = _leaves(TRACKS, "float32", ("dEdx", "dEdxError", "radiusOfInnermostHit"))
"""Members that tracks had in the oldest schema only; never written."""

CLUSTER_LEAVES: Final = (
    *_leaves(CLUSTERS, "float32", ("energy", *_xyz("position"), "iTheta", "iPhi")),
    *_leaves(CLUSTERS, "uint32", ("hits_begin", "hits_end")),
)
"""Clusters; `hits_end - hits_begin` is the number of hits, whether hits are stored or not."""

SUBDETECTOR_LEAVES: Final = (
    *_leaves(CLUSTERS, "uint32", ("subdetectorEnergies_begin", "subdetectorEnergies_end")),
    Leaf("_PandoraClusters_subdetectorEnergies", "float32"),
)
"""Energies of clusters by subdetector, optional: ecal, hcal, then all others (yoke first) [GeV]."""

CLUSTER_HIT_LEAVES: Final = (
    Leaf("_PandoraClusters_hits.index", "int32"),
    Leaf("_PandoraClusters_hits.collectionID", "uint32"),
)
"""Hits of clusters, optional; `hits_*` slice them."""

PFO_LEAVES: Final = (
    *_leaves(PFOS, "int32", ("PDG",)),
    *_leaves(PFOS, "float32", ("charge", "mass", "energy", *_xyz("momentum"))),
    *_leaves(PFOS, "uint32", ("tracks_begin", "tracks_end", "clusters_begin", "clusters_end")),
    Leaf("_PandoraPFOs_tracks.index", "int32"),
    Leaf("_PandoraPFOs_clusters.index", "int32"),
)
"""Baseline candidates, optional."""

TRACK_LINK_LEAVES: Final = _link(TRACK_LINKS)
CLUSTER_LINK_LEAVES: Final = _link(CLUSTER_LINKS)
HIT_LINK_LEAVES: Final = _link(HIT_LINKS)
"""Links `from` a track, cluster or calorimeter hit `to` an MC particle.

`collectionID` is optional in the links of tracks and clusters and needed in those of hits.
"""

_COLLECTIONS: Final = (MC, TRACKS, CLUSTERS)
REQUIRED: Final = tuple(
    leaf
    for leaf in (*MC_LEAVES, *TRACK_LEAVES, *CLUSTER_LEAVES)
    if leaf.name.partition(".")[0] in _COLLECTIONS
)
"""Leaves without which a file is not one after full reconstruction."""

_FIXED: Final = (
    *MC_LEAVES,
    *PARENT_LEAVES,
    *TRACK_LEAVES,
    *DEDX_LEAVES,
    *OLD_TRACK_LEAVES,
    *CLUSTER_LEAVES,
    *SUBDETECTOR_LEAVES,
    *CLUSTER_HIT_LEAVES,
    *PFO_LEAVES,
    *TRACK_LINK_LEAVES,
    *CLUSTER_LINK_LEAVES,
    *HIT_LINK_LEAVES,
)

HIT_COLLECTIONS: Final = (
    "ECALBarrel",
    "ECALEndcap",
    "ECALOther",
    "HCALBarrel",
    "HCALEndcap",
    "HCALOther",
    "MUON",
    "LumiCal_Hits",
)
"""Calorimeter hit collections of all detectors."""


def hit_leaves(collection: str) -> tuple[Leaf, ...]:
    """Return the leaves of one calorimeter hit collection; time and type are optional."""
    return (
        *_leaves(collection, "float32", ("energy", *_xyz("position"), "time")),
        *_leaves(collection, "int32", ("type",)),
    )


TRACKER_HITS: Final = {
    "VXDTrackerHits": ("VXDTrackerHitRelations", "VertexBarrelCollection"),
    "VXDEndcapTrackerHits": ("VXDEndcapTrackerHitRelations", "VertexEndcapCollection"),
    "ITrackerHits": ("InnerTrackerBarrelHitsRelations", "InnerTrackerBarrelCollection"),
    "ITrackerEndcapHits": ("InnerTrackerEndcapHitsRelations", "InnerTrackerEndcapCollection"),
    "OTrackerHits": ("OuterTrackerBarrelHitsRelations", "OuterTrackerBarrelCollection"),
    "OTrackerEndcapHits": ("OuterTrackerEndcapHitsRelations", "OuterTrackerEndcapCollection"),
}
"""Tracker hit collections, each with its relations to simulated hits, and those hits."""


def tracker_leaves(collection: str) -> tuple[Leaf, ...]:
    """Return the leaves of one tracker hit collection and of its way to MC particles, optional."""
    relation, simulated = TRACKER_HITS[collection]
    return (
        *_leaves(collection, "float32", ("eDep", "time")),
        *_leaves(collection, "float64", _xyz("position")),
        *_leaves(collection, "int32", ("type",)),
        Leaf(f"_{relation}_from.index", "int32"),
        Leaf(f"_{relation}_to.index", "int32"),
        Leaf(f"_{simulated}_particle.index", "int32"),
        Leaf(f"_{simulated}_particle.collectionID", "uint32"),
    )


def all_leaves() -> tuple[Leaf, ...]:
    """Return every leaf that a file may hold, in the order of writing."""
    hits = [leaf for name in HIT_COLLECTIONS for leaf in hit_leaves(name)]
    tracker = [leaf for name in TRACKER_HITS for leaf in tracker_leaves(name)]
    return (*_FIXED, *hits, *tracker)


_RENAMED: Final = {
    "PandoraClusters.iPhi": ("PandoraClusters.phi",),
    "PandoraPFOs.PDG": ("PandoraPFOs.type", "MergedRecoParticles.PDG", "MergedRecoParticles.type"),
    # The hit contributions, first of the plain vectors in 2021, were dropped later.
    "_PandoraClusters_subdetectorEnergies": ("PandoraClusters_2", "PandoraClusters_1"),
}

_OLD_COLLECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "_MCParticles_daughters": ("MCParticles#1",),
    "_MCParticles_parents": ("MCParticles#0",),
    STATES: ("SiTracks_Refitted_1", "SiTracks_1"),
    "_PandoraClusters_hits": ("PandoraClusters#1",),
    PFOS: ("MergedRecoParticles",),
    "_PandoraPFOs_clusters": (
        "PandoraPFOs#0",
        "_MergedRecoParticles_clusters",
        "MergedRecoParticles#0",
    ),
    "_PandoraPFOs_tracks": (
        "PandoraPFOs#1",
        "_MergedRecoParticles_tracks",
        "MergedRecoParticles#1",
    ),
}
_LINKS: Final = (TRACK_LINKS, CLUSTER_LINKS, HIT_LINKS)
_OLD_COLLECTIONS.update({f"_{link}_from": (f"{link}#0", f"_{link}_rec") for link in _LINKS})
_OLD_COLLECTIONS.update({f"_{link}_to": (f"{link}#1", f"_{link}_sim") for link in _LINKS})
for _relation, _simulated in TRACKER_HITS.values():
    _OLD_COLLECTIONS[f"_{_relation}_from"] = (f"{_relation}#0", f"_{_relation}_rec")
    _OLD_COLLECTIONS[f"_{_relation}_to"] = (f"{_relation}#1", f"_{_relation}_sim")
    _OLD_COLLECTIONS[f"_{_simulated}_particle"] = (f"_{_simulated}_MCParticle", f"{_simulated}#0")
"""Older names of relations and vector members, newest first."""


def names_of(leaf: Leaf) -> Iterator[str]:
    """Yield the branch names under which a leaf may be stored, newest first."""
    yield leaf.name
    if leaf.name in _RENAMED:
        yield from _RENAMED[leaf.name]
        return
    collection, dot, member = leaf.name.partition(".")
    for old in _OLD_COLLECTIONS.get(collection, ()):
        yield f"{old}{dot}{member}"

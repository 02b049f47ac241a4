"""Truth links of tracks and hits: what each has to do with which MC particle.

Shape letters: H hit rows, L link rows.
"""

from typing import Literal

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.edm4hep.collections import Collections, Contents
from mlpf_stream.edm4hep.hits import Hits, calorimeter_sources, hit_rows
from mlpf_stream.edm4hep.leaves import (
    CLUSTER_LINKS,
    HIT_LINKS,
    MC,
    TRACK_LINKS,
    TRACKER_HITS,
    TRACKS,
)
from mlpf_stream.edm4hep.relations import Links, linked_rows, links, refuse_dangling, rows_of
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import I64

TruthSource = Literal["hits", "clusters", "none"]


def truth_source(stored: Contents, detector: Detector) -> TruthSource:
    """Return where the truth of clusters comes from: hit links where hits are stored, else links.

    Leaf names alone decide, so all steps of a file agree.
    """
    related = "_PandoraClusters_hits.index" in stored
    linked = f"{HIT_LINKS}.weight" in stored
    if related and linked and calorimeter_sources(stored, detector):
        return "hits"
    return "clusters" if f"{CLUSTER_LINKS}.weight" in stored else "none"


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


def hit_links(collections: Collections, hits: Hits) -> Links:
    """Return links from hit rows to MC rows whose weights sum to 1 on every hit.

    Stored weights are no fractions, so they are normalised.

    Raises:
        EventError: a link dangles.

    Source: jpata/particleflow key4hep post-processing, weight of a particle on a calorimeter hit.
    """
    relation = f"_{HIT_LINKS}_from"
    from_L, source_L = hit_rows(collections, hits, relation)
    _refuse_missing_hits(collections, hits, from_L, source_L)
    to_L = linked_rows(collections, f"_{HIT_LINKS}_to", f"{MC}.PDG")
    weight_L = collections[f"{HIT_LINKS}.weight"].values.astype(np.float64)
    return _normalised(Links(from_L, to_L, weight_L), hits)


def element_links(collections: Collections, hits: Hits) -> Links:
    """Return the links of calorimeter hits, and of tracker hits where `hits` holds such.

    Raises:
        EventError: a link dangles.
    """
    parts = [hit_links(collections, hits)]
    for number, source in enumerate(hits.sources):
        if source.name in TRACKER_HITS:
            parts.append(_normalised(_tracker_links(collections, hits, number), hits))
    if len(parts) == 1:
        return parts[0]
    return Links(
        np.concatenate([part.from_L for part in parts]),
        np.concatenate([part.to_L for part in parts]),
        np.concatenate([part.weight_L for part in parts]),
    )


def _tracker_links(collections: Collections, hits: Hits, number: int) -> Links:
    """Return links from the hits of one tracker collection by way of the simulated hits.

    Source: jpata/particleflow key4hep post-processing, truth of tracker hits.
    """
    source = hits.sources[number]
    relation, simulated = TRACKER_HITS[source.name]
    stored = collections[f"{source.name}.{source.energy}"]
    of = f"_{simulated}_particle"
    particle = linked_rows(collections, of, f"{MC}.PDG")
    hit_L = rows_of(collections[f"_{relation}_from.index"], stored)
    sim_L = rows_of(collections[f"_{relation}_to.index"], collections[f"{of}.index"])
    keep_L = (hit_L >= 0) & (sim_L >= 0)
    hit_L, sim_L = hit_L[keep_L], sim_L[keep_L]
    return Links(hits.rows[number][hit_L], particle[sim_L], np.ones(len(hit_L)))


def _normalised(found: Links, hits: Hits) -> Links:
    """Leave out links from or to nothing, or of no weight; let those of every hit sum to 1."""
    from_L, to_L, weight_L = found.from_L, found.to_L, found.weight_L
    keep_L = (from_L >= 0) & (to_L >= 0) & (weight_L > 0)
    if not keep_L.all():
        from_L, to_L, weight_L = from_L[keep_L], to_L[keep_L], weight_L[keep_L]
    sum_H = np.bincount(from_L, weights=weight_L, minlength=hits.count)
    return Links(from_L, to_L, weight_L / sum_H[from_L])


def _refuse_missing_hits(collections: Collections, hits: Hits, from_L: I64, source_L: I64) -> None:
    """Refuse links from hits that their own collection does not have."""
    lost_L = (from_L < 0) & (source_L >= 0)
    for number in np.unique(source_L[lost_L]).tolist():
        source = hits.sources[number]
        reference = (f"_{HIT_LINKS}_from", f"{source.name}.{source.energy}")
        refuse_dangling(collections, reference, lost_L & (source_L == number))

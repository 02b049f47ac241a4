"""Truth links of tracks and hits: what each has to do with which MC particle.

Shape letters: H hit rows, L link rows.
"""

from typing import Literal

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.edm4hep.collections import Collections, Contents
from mlpf_stream.edm4hep.compiled import compiled
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
from mlpf_stream.event import F32, F64, I64

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
    from_L, dangles = hit_rows(collections, hits, relation)
    if dangles:
        _refuse_missing_hits(collections, hits, from_L)
    to_L = linked_rows(collections, f"_{HIT_LINKS}_to", f"{MC}.PDG")
    return _normalised(from_L, to_L, collections[f"{HIT_LINKS}.weight"].values, hits)


def element_links(collections: Collections, hits: Hits) -> Links:
    """Return the links of calorimeter hits, and of tracker hits where `hits` holds such.

    Raises:
        EventError: a link dangles.
    """
    parts = [hit_links(collections, hits)]
    for number, source in enumerate(hits.sources):
        if source.name in TRACKER_HITS:
            parts.append(_tracker_links(collections, hits, number))
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
    weight_L = np.ones(len(hit_L), np.float32)
    return _normalised(hits.rows(number)[hit_L], particle[sim_L], weight_L, hits)


def _normalised(from_L: I64, to_L: I64, weight_L: F32, hits: Hits) -> Links:
    """Leave out links from or to nothing, or of no weight; let those of every hit sum to 1."""
    return Links(*_share_out(from_L, to_L, weight_L, hits.count))


@compiled()
def _share_out(from_L: I64, to_L: I64, weight_L: F32, hits: int) -> tuple[I64, I64, F64]:
    """Return the links that count, with weights as parts of their sum on every hit."""
    sum_H, count = np.zeros(hits, np.float64), 0
    for at in range(len(from_L)):
        if from_L[at] >= 0 and to_L[at] >= 0 and weight_L[at] > 0:
            sum_H[from_L[at]] += weight_L[at]
            count += 1
    kept_from, kept_to = np.empty(count, np.int64), np.empty(count, np.int64)
    part, to = np.empty(count, np.float64), 0
    for at in range(len(from_L)):
        if from_L[at] >= 0 and to_L[at] >= 0 and weight_L[at] > 0:
            kept_from[to], kept_to[to] = from_L[at], to_L[at]
            part[to] = weight_L[at] / sum_H[from_L[at]]
            to += 1
    return kept_from, kept_to, part


def _refuse_missing_hits(collections: Collections, hits: Hits, from_L: I64) -> None:
    """Refuse links from hits that their own collection does not have."""
    relation = f"_{HIT_LINKS}_from"
    id_L = collections[f"{relation}.collectionID"].values
    for source in hits.sources:
        own_L = id_L == collections.ids.get(source.name, -1)
        leaf = f"{source.name}.{source.energy}"
        refuse_dangling(collections, (relation, leaf), own_L & (from_L < 0))

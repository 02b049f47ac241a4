"""Relations between rows of collections: slices of vector members, indices, collection ids.

A *row* is a position in the values of a `Jagged`, counted over all events of a `Collections`; an
*index* is the same inside one event, as podio stores it.

Shape letters: E events, N parent rows, K child rows, L link rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import MC
from mlpf_stream.edm4hep.rows import Places, find_rows
from mlpf_stream.errors import DataError, EventError
from mlpf_stream.event import F64, I64, Bool, Jagged

_TWINS: Final = {MC: ("MCParticle",)}
"""Names without rows of their own by which references mean the rows of a stored collection: the
conversion from LCIO of 2021 wrote the particles as it had read them, and links to its copy."""


@dataclass(frozen=True, slots=True)
class Slices:
    """Which child rows every parent row owns: pairs (parent, child), parents ascending."""

    parent_K: I64
    child_K: I64


@dataclass(frozen=True, slots=True)
class Links:
    """Weighted links from rows of one collection to rows of MC particles; weights positive."""

    from_L: I64
    to_L: I64
    weight_L: F64


def event_of(jagged: Jagged) -> I64:
    """Return the event of every row, shape (rows,)."""
    return np.repeat(np.arange(jagged.events, dtype=np.int64), jagged.counts)


def slices(collections: Collections, member: str, child: str) -> Slices:
    """Return the slices `member_begin` to `member_end` of the rows of the leaf `child`.

    Raises:
        SchemaError: one of the leaves is absent.
        EventError: a slice reaches outside the child collection of its event.
    """
    begin, end = collections[f"{member}_begin"], collections[f"{member}_end"]
    children = collections[child]
    begin_N, end_N = begin.values.astype(np.int64), end.values.astype(np.int64)
    event_N = event_of(begin)
    bad = np.flatnonzero((begin_N > end_N) | (end_N > children.counts[event_N]))
    if len(bad):
        first = bad[0]
        span = f"{begin_N[first]} to {end_N[first]}"
        have = children.counts[event_N[first]]
        reason = f"{member} asks for rows {span} of {child}, which has {have}"
        raise EventError(collections.source, int(event_N[first]), reason)
    counts_N = end_N - begin_N
    parent_K = np.repeat(np.arange(len(begin_N), dtype=np.int64), counts_N)
    first_N = children.offsets[event_N] + begin_N
    before_N = np.cumsum(counts_N) - counts_N
    child_K = np.repeat(first_N - before_N, counts_N) + np.arange(len(parent_K), dtype=np.int64)
    return Slices(parent_K, child_K)


def rows_of(index: Jagged, target: Jagged) -> I64:
    """Return the target row of every stored index, -1 where the index points at nothing."""
    index_L = index.values.astype(np.int64)
    row_L = np.repeat(target.offsets[:-1], index.counts) + index_L
    valid_L = (index_L >= 0) & (index_L < np.repeat(target.counts, index.counts))
    return row_L if valid_L.all() else np.where(valid_L, row_L, -1)


def linked_rows(collections: Collections, relation: str, target: str) -> I64:
    """Return the row of the leaf `target` that every reference of `relation` points at.

    It is -1 where a reference points at nothing (a negative index) or at another collection.

    Raises:
        SchemaError: one of the leaves is absent.
        EventError: a reference dangles: its event has fewer rows than that.
    """
    index, name = collections[f"{relation}.index"], target.partition(".")[0]
    places = _places(collections, target)
    leaf = f"{relation}.collectionID"
    known = leaf in collections and name in collections.ids
    row_L, dangles = find_rows(index, collections[leaf].values if known else None, places)
    if dangles:
        here_L = np.isin(collections[leaf].values, places.id_S) if known else row_L < 0
        refuse_dangling(collections, (relation, target), here_L & (row_L < 0))
    return row_L


def _places(collections: Collections, target: str) -> Places:
    """Return where the rows of a collection stand, given by one of its leaves, under any name."""
    rows, name = collections[target], target.partition(".")[0]
    names = (name, *(twin for twin in _TWINS.get(name, ()) if twin in collections.ids))
    shape = (len(names), collections.events)
    return Places(
        np.array([collections.ids.get(name, 0) for name in names], np.int64),
        np.broadcast_to(rows.offsets[:-1], shape).copy(),
        np.broadcast_to(rows.counts, shape).copy(),
    )


def refuse_dangling(collections: Collections, reference: tuple[str, str], bad_L: Bool) -> None:
    """Refuse references, given as relation and target leaf, that are marked and not negative.

    Raises:
        EventError: there is one.
    """
    relation, target = reference
    index = collections[f"{relation}.index"]
    dangling = np.flatnonzero(bad_L & (index.values >= 0))
    if len(dangling):
        first = dangling[0]
        event = int(event_of(index)[first])
        name, have = target.partition(".")[0], collections[target].counts[event]
        reason = (
            f"{relation} points at row {index.values[first]} of {name}, which has {have}; "
            "the file contradicts itself, produce it again"
        )
        raise EventError(collections.source, event, reason)


def links(collections: Collections, name: str, source: str) -> Links:
    """Return the links `name` from rows of the collection `source` to MC particles.

    `source` is given by one of its leaves. Links of zero weight, or from or to another collection
    or to nothing, are left out.

    Raises:
        SchemaError: the links are not stored.
        EventError: a link dangles.
    """
    from_L = linked_rows(collections, f"_{name}_from", source)
    to_L = linked_rows(collections, f"_{name}_to", f"{MC}.PDG")
    weight_L = collections[f"{name}.weight"].values.astype(np.float64)
    keep_L = (from_L >= 0) & (to_L >= 0) & (weight_L > 0)
    return Links(from_L[keep_L], to_L[keep_L], weight_L[keep_L])


def check_rows(collections: Collections) -> None:
    """Check that all leaves of one collection, and both ends of a link, have as many rows.

    Raises:
        DataError: they do not.
    """
    groups: dict[str, str] = {}
    for leaf in collections.leaves:
        group = _group(leaf.partition(".")[0], collections.leaves)
        first = groups.setdefault(group, leaf)
        if not np.array_equal(collections[leaf].offsets, collections[first].offsets):
            raise DataError(
                f"expected as many rows in {leaf!r} as in {first!r} in every event, found another "
                f"number in {collections.source!r}; the file contradicts itself, produce it again"
            )


def _group(collection: str, leaves: Mapping[str, Jagged]) -> str:
    """Return the name that all collections of the same rows share."""
    for side in ("_from", "_to", "_track"):
        base = collection.removeprefix("_").removesuffix(side)
        if collection == f"_{base}{side}" and any(x in leaves for x in _anchors(base)):
            return base
    return collection


def _anchors(base: str) -> tuple[str, str]:
    """Return a leaf that a link or an ionisation collection of that name would have."""
    return (f"{base}.weight", f"{base}.dQdx.value")

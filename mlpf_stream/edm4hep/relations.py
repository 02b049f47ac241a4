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
from mlpf_stream.errors import DataError, EventError
from mlpf_stream.event import F64, I64, Bool, Jagged

_TWINS: Final = {MC: ("MCParticle",)}
"""Names without rows of their own by which references mean the rows of a stored collection: the
conversion from LCIO of 2021 wrote the particles as it had read them, and links to its copy."""

_DIGIT_BITS: Final = 16
_DIGIT: Final = 2**_DIGIT_BITS - 1


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
    here_L = _belongs(collections, f"{relation}.collectionID", name, len(index.values))
    row_L = rows_of(index, collections[target])
    refuse_dangling(collections, (relation, target), here_L & (row_L < 0))
    return row_L if here_L.all() else np.where(here_L, row_L, -1)


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


def _belongs(collections: Collections, leaf: str, target: str, rows: int) -> Bool:
    """Return which references point at the collection `target`; all, where ids are not stored."""
    everywhere = np.ones(rows, np.bool_)
    if leaf not in collections or target not in collections.ids:
        return everywhere
    names = (target, *_TWINS.get(target, ()))
    ids = collections[leaf].values
    here = np.zeros(rows, np.bool_)
    for number in (collections.ids[name] for name in names if name in collections.ids):
        here |= ids == number
    return here


def order_of(key_K: I64) -> I64:
    """Return the order that sorts keys >= 0, equal ones as they stand, in linear time.

    Source: least significant digit radix sort, 16 bits a pass, which numpy does for such integers.
    """
    if not len(key_K) or (key_K[1:] >= key_K[:-1]).all():
        return np.arange(len(key_K), dtype=np.int64)
    order = np.argsort((key_K & _DIGIT).astype(np.uint16), kind="stable")
    largest, shift = int(key_K.max()), _DIGIT_BITS
    while largest >> shift:
        digit_K = (key_K[order] >> shift) & _DIGIT
        order = order[np.argsort(digit_K.astype(np.uint16), kind="stable")]
        shift += _DIGIT_BITS
    return order


def sum_pairs(first: I64, second: I64, value: F64) -> tuple[I64, I64, F64]:
    """Add up the values of equal (first, second) pairs where the first of them stands.

    Where most of `second` occur once, as hits with one link do, this is a single pass.
    """
    several = np.flatnonzero(np.bincount(second)[second] > 1)
    order = several[order_of(second[several])]
    order = order[order_of(first[order])]
    new = np.ones(len(order), np.bool_)
    new[1:] = np.diff(first[order]).astype(np.bool_) | np.diff(second[order]).astype(np.bool_)
    if new.all():
        return first, second, value
    keep = np.ones(len(value), np.bool_)
    keep[order[~new]] = False
    value = value.copy()
    value[order[new]] = np.bincount(np.cumsum(new) - 1, weights=value[order])
    return first[keep], second[keep], value[keep]


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

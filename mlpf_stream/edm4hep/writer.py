"""`Collections` to an EDM4HEP-named ROOT file that `reader` reads back unchanged.

Branches are flat and carry the leaf names of podio >= 1.0; parent branches and podio's metadata
are not written (uproot cannot), so ids and the process are in two small tables of our own.
"""

import io
import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import all_leaves
from mlpf_stream.edm4hep.reader import EVENTS_TREE, ID_TREE
from mlpf_stream.edm4hep.relations import check_rows
from mlpf_stream.edm4hep.source import PROCESS_TREE
from mlpf_stream.errors import MissingExtraError

try:
    import awkward
    import uproot
except ImportError as error:  # pragma: no cover - the extra is installed in tests
    raise MissingExtraError("uproot", "convert") from error

_FIXED_STAMP: Final = (2000 - 1995) << 26 | 1 << 22 | 1 << 17
"""The first of January 2000 as ROOT stamps records: bits of year since 1995, month, day."""


def write_collections(
    path: str,
    collections: Collections,
    *,
    process: str,
    generator: Mapping[str, str | int | float],
) -> None:
    """Write all known leaves of `collections`; the file appears whole or not at all.

    The same collections give the same bytes.

    Raises:
        DataError: leaves of one collection have different numbers of rows.
    """
    check_rows(collections)
    rows = _branches(collections)
    sink = _Buffer()
    with _without_clock(), uproot.recreate(sink, uuid_function=_fixed_uuid) as file:
        _write_events(file, rows)
        names = sorted(collections.ids)
        ids = np.array([collections.ids[name] for name in names], dtype=np.uint32)
        _write_table(file, ID_TREE, {"name": awkward.Array(names), "collectionID": ids})
        settings = json.dumps(dict(generator), sort_keys=True)
        table = {"process": awkward.Array([process]), "generator": awkward.Array([settings])}
        _write_table(file, PROCESS_TREE, table)
    place = Path(path)
    temporary = place.with_name(f".{place.name}.part")
    try:
        temporary.write_bytes(sink.getvalue())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


class _Buffer(io.BytesIO):
    """Bytes that outlive the writer, which closes what it writes to."""

    def close(self) -> None:
        """Keep the bytes."""


@contextmanager
def _without_clock() -> Iterator[None]:
    """Write without the time of day: same input, same bytes, so same file identity.

    uproot stamps every record through one function and offers no option for it; a test compares
    the bytes of files written seconds apart.
    """
    stamps = vars(sys.modules[f"{uproot.__name__}._util"])
    stamp_of = stamps["datetime_to_code"]
    stamps["datetime_to_code"] = lambda _: _FIXED_STAMP
    try:
        yield
    finally:
        stamps["datetime_to_code"] = stamp_of


def _fixed_uuid() -> uuid.UUID:
    """Return the same identity for every file: files differ by content only."""
    return uuid.UUID(int=0)


def _write_events(file: Any, rows: Mapping[str, Any]) -> None:  # noqa: ANN401 - uproot has no types
    """Write the events as one tree of flat branches."""
    tree = file.mktree(
        EVENTS_TREE,
        {name: array.type.content for name, array in rows.items()},
        field_name=lambda outer, inner: f"{outer}.{inner}" if inner else outer,
        counter_name=lambda outer: f"n{outer}",
    )
    tree.extend(rows)


def _write_table(file: Any, name: str, columns: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Write a small table with one row per entry; uproot takes flat strings, not jagged ones."""
    types = {key: getattr(column, "type", None) or column.dtype for key, column in columns.items()}
    tree = file.mktree(name, {key: getattr(kind, "content", kind) for key, kind in types.items()})
    tree.extend(dict(columns))


def _branches(collections: Collections) -> dict[str, Any]:
    """Group leaves by collection into one array of records, or of numbers, per event."""
    groups: dict[str, dict[str, Any]] = {}
    for leaf in all_leaves():
        if leaf.name in collections:
            collection, _, member = leaf.name.partition(".")
            values = collections[leaf.name].values.astype(leaf.dtype, copy=False)
            groups.setdefault(collection, {})[member] = values
    offsets = {leaf.partition(".")[0]: rows.offsets for leaf, rows in collections.leaves.items()}
    return {name: _jagged(members, offsets[name]) for name, members in groups.items()}


def _jagged(members: Mapping[str, Any], offsets: Any) -> Any:  # noqa: ANN401 - awkward has no types
    """Return one awkward array: lists of records, or of plain numbers for a nameless member."""
    contents = [awkward.contents.NumpyArray(values) for values in members.values()]
    plain = list(members) == [""]
    content = contents[0] if plain else awkward.contents.RecordArray(contents, list(members))
    return awkward.Array(awkward.contents.ListOffsetArray(awkward.index.Index64(offsets), content))

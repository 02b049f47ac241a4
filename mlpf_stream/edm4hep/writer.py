"""`Collections` to an EDM4HEP-named ROOT file that `reader` reads back unchanged.

Branches are flat and carry the leaf names of podio >= 1.0; parent branches and podio's metadata
are not written (uproot cannot), so ids and the process are in two small tables of our own.
"""

import json
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

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


COMPRESSION: Final = uproot.ZSTD(1)
"""Fast and small: positions on a grid of cells shrink to a third."""


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
    write_steps(path, [collections], process=process, generator=generator)


def write_steps(
    path: str,
    steps: Iterable[Collections],
    *,
    process: str,
    generator: Mapping[str, str | int | float],
) -> None:
    """Write steps of one source one after the other, each as one basket per branch.

    All steps hold the same leaves; only one is in memory at a time. The file appears whole or not
    at all. The same steps give the same bytes.

    Raises:
        DataError: leaves of one collection have different numbers of rows.
    """
    place = Path(path)
    temporary = place.with_name(f".{place.name}.part")
    try:
        with _without_clock(), temporary.open("wb+") as sink:
            _write_file(sink, steps, process, generator)
        temporary.replace(place)
    except OSError as error:
        error.filename = error.filename or path  # a full disk names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _write_file(
    sink: IO[bytes],
    steps: Iterable[Collections],
    process: str,
    generator: Mapping[str, str | int | float],
) -> None:
    """Write the tree of events and our two tables into an open file."""
    ids: Mapping[str, int] = {}
    tree = None
    with uproot.recreate(sink, uuid_function=_fixed_uuid, compression=COMPRESSION) as file:
        for step in steps:
            check_rows(step)
            rows = _branches(step)
            tree = tree or _make_tree(file, rows)
            tree.extend(rows)
            ids = step.ids
        names = sorted(ids)
        numbers = np.array([ids[name] for name in names], dtype=np.uint32)
        _write_table(file, ID_TREE, {"name": awkward.Array(names), "collectionID": numbers})
        settings = json.dumps(dict(generator), sort_keys=True)
        table = {"process": awkward.Array([process]), "generator": awkward.Array([settings])}
        _write_table(file, PROCESS_TREE, table)


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


def _make_tree(file: Any, rows: Mapping[str, Any]) -> Any:  # noqa: ANN401 - uproot has no types
    """Return the empty tree of events, a flat branch per leaf."""
    return file.mktree(
        EVENTS_TREE,
        {name: array.type.content for name, array in rows.items()},
        field_name=lambda outer, inner: f"{outer}.{inner}" if inner else outer,
        counter_name=lambda outer: f"n{outer}",
        initial_basket_capacity=64,
    )


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

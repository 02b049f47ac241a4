"""The only door to ROOT files for reading: every way a file can be bad becomes one typed error."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlpf_stream.errors import DataError, MissingDataError, MissingExtraError, SchemaError
from mlpf_stream.event import I64, Jagged, Rows

try:
    import awkward
    import cramjam
    import uproot
except ImportError as error:  # pragma: no cover - the extra is installed in tests
    raise MissingExtraError("uproot", "convert") from error

_MAGIC: Final = b"root"
_LARGE_FILE: Final = 1_000_000
"""File versions from here on have 64-bit addresses."""

# What the parser and the decompressors raise on bytes that are no ROOT; not our own mistakes.
_PARSER_ERRORS: Final = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    uproot.deserialization.DeserializationError,
    cramjam.DecompressionError,
)


class RootFile:
    """One open ROOT file: its trees, their branches by leaf name, and the entries of a branch."""

    def __init__(self, path: str, directory: Any) -> None:  # noqa: ANN401 - uproot has no types
        self.path = path
        self._directory = directory

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the objects in the file, without cycle numbers."""
        with _parsing(self.path):
            return tuple(dict.fromkeys(self._directory.keys(cycle=False)))

    def branches(self, tree: str) -> dict[str, Any]:
        """Return the branches of a tree by leaf name; parents never hide the leaf of that name.

        Raises:
            SchemaError: no TTree has that name.
        """
        with _parsing(self.path):
            found = self._directory.get(tree)
        if not isinstance(found, uproot.TTree):
            kind = "none" if found is None else type(found).__name__
            raise SchemaError(
                f"expected a TTree {tree!r} in {self.path!r}, found {kind} "
                f"(the file holds {', '.join(self.keys) or 'nothing'}); "
                "give an EDM4HEP file after full reconstruction"
            )
        with _parsing(self.path):
            return {branch.name: branch for branch in found.itervalues(recursive=True)}

    def entries(self, tree: str) -> int:
        """Return the number of entries of a tree."""
        with _parsing(self.path):
            return int(self._directory[tree].num_entries)

    def objects(self, branch: Any) -> list[Any]:  # noqa: ANN401 - uproot has no types
        """Return all entries of a branch as Python objects."""
        with _parsing(self.path):
            return list(branch.array(library="ak").tolist())

    def jagged(self, branch: Any, dtype: str, start: int, stop: int) -> Jagged:  # noqa: ANN401
        """Return entries `start` to `stop` of a branch of numbers.

        Raises:
            DataError: the bytes do not decode to one list of numbers per entry.
        """
        with _parsing(self.path, getattr(branch, "name", "")):
            baskets = _open_baskets(branch, start, stop) if _is_plain(branch) else None
            if baskets is not None:
                return _join(baskets, dtype)
            layout = branch.array(entry_start=start, entry_stop=stop, library="ak").layout
            layout = layout.to_ListOffsetArray64(start_at_zero=True)
            offsets: I64 = np.asarray(layout.offsets.data, dtype=np.int64)
            values: Rows = np.asarray(awkward.to_numpy(layout.content))
            if values.ndim != 1 or values.dtype.kind not in "biuf":
                msg = f"found values of type {values.dtype} and shape {values.shape}"
                raise ValueError(msg)
            values = values[: offsets[-1]].astype(dtype, copy=False)
            return Jagged(values, offsets)


def _is_plain(branch: Any) -> bool:  # noqa: ANN401 - uproot has no types
    """Return whether the entries of a branch are lists of numbers end to end, and nothing else."""
    lists = branch.interpretation
    return (
        isinstance(lists, uproot.interpretation.jagged.AsJagged)
        and lists.header_bytes == 0
        and type(lists.content) is uproot.interpretation.numerical.AsDtype
        and lists.content.from_dtype.kind in "biuf"
    )


def _open_baskets(branch: Any, start: int, stop: int) -> list[Jagged] | None:  # noqa: ANN401
    """Return entries of a plain branch by basket, as stored; None where one has no offsets.

    Raises:
        ValueError: a basket does not hold what its offsets say.
    """
    stored = branch.interpretation.content.from_dtype
    opened = []
    for number, (first, last) in enumerate(pairwise(branch.entry_offsets)):
        if first >= stop or last <= start:
            continue
        basket = branch.basket(number)
        if basket.byte_offsets is None:
            return None
        edges = np.asarray(basket.byte_offsets, np.int64)
        counts, size = np.diff(edges), len(basket.data)
        if len(counts) != last - first or (counts < 0).any() or edges[0] or edges[-1] > size:
            msg = f"basket {number} of {last - first} entries and {size} bytes has other offsets"
            raise ValueError(msg)
        if (edges % stored.itemsize).any():
            msg = f"entries of basket {number} end within a number"
            raise ValueError(msg)
        numbers = Jagged(basket.data[: edges[-1]].view(stored), edges // stored.itemsize)
        opened.append(numbers.part(max(start - first, 0), min(stop, last) - first))
    return opened


def _join(baskets: Sequence[Jagged], dtype: str) -> Jagged:
    """Return the entries of all baskets; every number is moved once, into the order of this CPU."""
    values = np.empty(sum(len(basket.values) for basket in baskets), dtype)
    first = 0
    for basket in baskets:
        last = first + len(basket.values)
        values[first:last] = basket.values
        first = last
    counts = [np.zeros(0, np.int64), *(basket.counts for basket in baskets)]
    return Jagged.from_counts(values, np.concatenate(counts))


@contextmanager
def open_root(path: str) -> Iterator[RootFile]:
    """Open a local ROOT file for reading.

    Raises:
        MissingDataError: no file is at that place.
        DataError: the file is not ROOT, or truncated, or corrupt.
    """
    _check_header(path)
    with _parsing(path):
        directory = uproot.open(path)
    try:
        yield RootFile(path, directory)
    finally:
        directory.close()


def _check_header(path: str) -> None:
    """Compare the length that the header promises with the length of the file."""
    place = Path(path)
    if not place.is_file():
        raise MissingDataError(
            f"expected a ROOT file, found none at {path!r}; check the path and its glob"
        )
    size = place.stat().st_size
    with place.open("rb") as stream:
        head = stream.read(20)
    if len(head) < 20 or head[:4] != _MAGIC:
        raise DataError(
            f"expected a ROOT file, found other bytes (first four: {head[:4]!r}, {size} bytes) "
            f"in {path!r}; give an EDM4HEP ROOT file"
        )
    version = struct.unpack(">i", head[4:8])[0]
    wide = version >= _LARGE_FILE
    promised = struct.unpack(">q", head[12:20])[0] if wide else struct.unpack(">i", head[12:16])[0]
    if promised > size:
        raise DataError(
            f"expected {promised} bytes as the header says, found {size} in {path!r}: the file is "
            "truncated; copy or produce it again"
        )


@contextmanager
def _parsing(path: str, what: str = "") -> Iterator[None]:
    """Turn whatever the parser raises on bad bytes into a `DataError` that names the file."""
    try:
        yield
    except _PARSER_ERRORS as error:
        if isinstance(error, DataError):
            raise
        where = f"{path!r}" + (f", branch {what!r}" if what else "")
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise DataError(
            f"expected a readable ROOT file, found bytes that do not decode in {where} "
            f"({type(error).__name__}: {reason}); copy or produce it again, "
            "or leave this file out"
        ) from error

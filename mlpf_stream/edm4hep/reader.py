"""ROOT file to `Collections`, by leaf name only, whatever its schema generation.

Units as stored: GeV, mm, ns.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import (
    CLUSTER_LINKS,
    HIT_COLLECTIONS,
    HIT_LINKS,
    PFOS,
    REQUIRED,
    TRACK_LINKS,
    Leaf,
    all_leaves,
    names_of,
)
from mlpf_stream.edm4hep.relations import check_rows
from mlpf_stream.edm4hep.rootfile import RootFile, open_root
from mlpf_stream.errors import SchemaError

EVENTS_TREE: Final = "events"
ID_TREE: Final = "mlpf_collections"
"""Our own table of collection names and ids, one row per collection."""

STEP_BYTES: Final = 16 * 2**20
"""Largest step in decompressed bytes: what it becomes then fits in the caches of a CPU."""
BLOCK_BYTES: Final = 128 * 2**20
"""Most that is read in one go, in decompressed bytes: baskets hold more entries than steps do."""

_ID_TABLES: Final = (
    (
        "podio_metadata",
        "events___CollectionTypeInfo.name",
        "events___CollectionTypeInfo.collectionID",
    ),
    ("podio_metadata", "m_names", "m_collectionIDs"),
    ("metadata", "m_names", "m_collectionIDs"),
)
"""Tree, names and ids of podio >= 1.0, 0.17 to 0.99 and <= 0.16."""
_DTYPES: Final = {leaf.name: leaf.dtype for leaf in all_leaves()}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file holds, before any of its events is read.

    `schema` names the generation: `podio-1`, `podio-0.17`, `podio-0.16` or `flat` (ours);
    `hits` and `links` are the calorimeter hit and truth link collections that are stored.
    """

    path: str
    entries: int
    bytes: int
    schema: str
    hits: tuple[str, ...]
    links: tuple[str, ...]
    has_candidates: bool

    @property
    def has_hits(self) -> bool:
        """Whether any calorimeter hit collection is stored."""
        return bool(self.hits)

    @property
    def has_links(self) -> bool:
        """Whether tracks and clusters can be given a truth."""
        return bool({CLUSTER_LINKS, HIT_LINKS} & set(self.links))


class EventFile:
    """One open file: which canonical leaves it holds, and its events."""

    def __init__(self, file: RootFile) -> None:
        self._file = file
        self._found = _resolve(file)
        self.ids: Mapping[str, int] = _collection_ids(file)
        self.entries = file.entries(EVENTS_TREE)

    @property
    def path(self) -> str:
        """Where the file is."""
        return self._file.path

    @property
    def facts(self) -> FileFacts:
        """What the file holds."""
        links = (TRACK_LINKS, CLUSTER_LINKS, HIT_LINKS)
        return FileFacts(
            path=self.path,
            entries=self.entries,
            bytes=_size(self._found),
            schema=_schema(self._file),
            hits=tuple(name for name in HIT_COLLECTIONS if f"{name}.energy" in self),
            links=tuple(name for name in links if f"{name}.weight" in self),
            has_candidates=f"{PFOS}.energy" in self,
        )

    def __contains__(self, leaf: str) -> bool:
        return leaf in self._found

    def estimated_rows(self, leaf: str) -> int:
        """Return about how many rows a leaf has, from its decompressed bytes; 0 if not stored."""
        if leaf not in self._found:
            return 0
        offsets = 4 * self.entries
        size = int(self._found[leaf].uncompressed_bytes) - offsets
        return max(0, size // np.dtype(_DTYPES[leaf]).itemsize)

    def first(self, leaves: Iterable[Leaf], entries: int) -> Collections:
        """Return only `leaves` of the first `entries` events; those not stored are absent.

        Raises:
            DataError: the file is truncated or corrupt.
        """
        return self._read(self._wanted(leaves), (0, min(entries, self.entries)))

    def steps(self, leaves: Iterable[Leaf], step_entries: int = 1000) -> Iterator[Collections]:
        """Yield `leaves` of all events in order, at most `step_entries` at a time.

        Steps are smaller where events are big, so that one stays below `STEP_BYTES`. A leaf that
        the file does not hold is absent. A file without events is one empty step.

        Raises:
            DataError: the file is truncated or corrupt.
        """
        wanted = self._wanted(leaves)
        largest = max(1, _size(wanted) // max(self.entries, 1))
        step = max(1, min(step_entries, STEP_BYTES // largest))
        for span in _blocks(wanted, self.entries, (step, max(step, BLOCK_BYTES // largest))):
            block = self._read(wanted, span)
            for start in range(0, max(block.events, 1), step):
                yield block.part(start, min(start + step, block.events))
            # Nor does the caller hold its last part by now: one block is in memory, never two.
            del block

    def _wanted(self, leaves: Iterable[Leaf]) -> dict[str, Any]:
        """Return the branches of the leaves that are stored."""
        return {leaf.name: self._found[leaf.name] for leaf in leaves if leaf.name in self._found}

    def _read(self, wanted: Mapping[str, Any], span: tuple[int, int]) -> Collections:
        """Read one span of entries."""
        leaves = {
            name: self._file.jagged(branch, _DTYPES[name], *span) for name, branch in wanted.items()
        }
        collections = Collections(self.path, span[1] - span[0], leaves, self.ids)
        check_rows(collections)
        return collections


@contextmanager
def open_events(path: str) -> Iterator[EventFile]:
    """Open a file after full reconstruction.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_root(path) as file:
        yield EventFile(file)


def probe(path: str) -> FileFacts:
    """Return what the file holds without reading its events.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_events(path) as file:
        return file.facts


def read_collections(path: str, *, step_entries: int = 1000) -> Iterator[Collections]:
    """Yield everything known of the events of a file in order, see `EventFile.steps`.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_events(path) as file:
        yield from file.steps(all_leaves(), step_entries)


def _size(branches: Mapping[str, Any]) -> int:
    """Return the decompressed bytes of some branches."""
    return sum(int(branch.uncompressed_bytes) for branch in branches.values())


def _blocks(
    wanted: Mapping[str, Any], entries: int, limits: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield the spans of entries to read in one go: whole baskets of the largest branch.

    A basket that is read in parts is decompressed once for each. `limits` are the least and the
    most entries of a span; the last may be shorter.
    """
    least, most = limits
    edges = [entries]
    if wanted and entries:
        largest = max(wanted.values(), key=lambda branch: int(branch.uncompressed_bytes))
        edges = [int(edge) for edge in largest.entry_offsets[1:-1]] + edges
    start = 0
    for edge in edges:
        while edge - start > most:
            yield start, start + most
            start += most
        if edge - start >= least or edge == entries:
            yield start, edge
            start = edge
        if start == entries:
            break


def _resolve(file: RootFile) -> dict[str, Any]:
    """Return the branch of every canonical leaf that the file holds under any of its names."""
    branches = file.branches(EVENTS_TREE)
    found = {}
    for leaf in all_leaves():
        name = next((name for name in names_of(leaf) if name in branches), None)
        if name is not None:
            found[leaf.name] = branches[name]
    missing = [leaf.name for leaf in REQUIRED if leaf.name not in found]
    if missing:
        raise SchemaError(_wrong_kind(file.path, missing, branches))
    return found


def _wrong_kind(path: str, missing: list[str], branches: Mapping[str, Any]) -> str:
    """Say what kind of file was found instead of a fully reconstructed one."""
    stored = sorted({name.partition(".")[0] for name in branches if not name.startswith("_")})
    shown = ", ".join(stored[:12]) + (", ..." if len(stored) > 12 else "")
    kind = "the collections"
    if any(name.startswith("EFlow") for name in stored):
        kind = "a Delphes fast-simulation file with"
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    return (
        "expected the collections of full reconstruction (MCParticles, SiTracks_Refitted, "
        f"PandoraClusters), found {kind} {shown or 'nothing'} in {path!r}; missing "
        f"{', '.join(missing[:4])}{more}; give a file after reconstruction, "
        "or make one with 'mlpf simulate'"
    )


def _collection_ids(file: RootFile) -> dict[str, int]:
    """Return the id of every collection name; ids are looked up in every file anew."""
    for tree, names, numbers in _ID_TABLES:
        branches = file.branches(tree) if tree in file.keys else {}
        if names in branches and numbers in branches:
            name_rows = file.objects(branches[names])
            number_rows = file.objects(branches[numbers])
            if name_rows and number_rows:
                return _id_table(name_rows[0], number_rows[0])
    branches = file.branches(ID_TREE) if ID_TREE in file.keys else {}
    if "name" in branches and "collectionID" in branches:
        return _id_table(file.objects(branches["name"]), file.objects(branches["collectionID"]))
    return {}


def _id_table(names: list[str], numbers: list[int]) -> dict[str, int]:
    """Pair names with ids; ids are unsigned whatever the signedness of their branch."""
    return {str(name): int(number) % 2**32 for name, number in zip(names, numbers, strict=False)}


def _schema(file: RootFile) -> str:
    """Name the schema generation by where the collection ids are."""
    if ID_TREE in file.keys:
        return "flat"
    if "podio_metadata" not in file.keys:
        return "podio-0.16"
    new = _ID_TABLES[0][1] in file.branches("podio_metadata")
    return "podio-1" if new else "podio-0.17"

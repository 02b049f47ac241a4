"""ROOT file to `Collections`, by leaf name only, whatever its schema generation.

Units as stored: GeV, mm, ns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

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

STEP_BYTES: Final = 256 * 2**20
"""Largest step in decompressed bytes; full hit collections make big events."""

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


def probe(path: str) -> FileFacts:
    """Return what the file holds without reading its events.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_root(path) as file:
        found = _resolve(file)
        entries = file.entries(EVENTS_TREE)
        schema = _schema(file)
    size = sum(int(branch.uncompressed_bytes) for branch in found.values())
    links = tuple(x for x in (TRACK_LINKS, CLUSTER_LINKS, HIT_LINKS) if f"{x}.weight" in found)
    return FileFacts(
        path=path,
        entries=entries,
        bytes=size,
        schema=schema,
        hits=tuple(name for name in HIT_COLLECTIONS if f"{name}.energy" in found),
        links=links,
        has_candidates=f"{PFOS}.energy" in found,
    )


def read_collections(path: str, *, step_entries: int = 1000) -> Iterator[Collections]:
    """Yield the events of a file in order, at most `step_entries` at a time.

    Steps are smaller where events are big, so that one step stays below `STEP_BYTES`. A leaf that
    the file does not hold is absent from the collections. A file without events is one empty step.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_root(path) as file:
        found = _resolve(file)
        ids = _collection_ids(file)
        entries = file.entries(EVENTS_TREE)
        size = sum(int(branch.uncompressed_bytes) for branch in found.values())
        step = max(1, min(step_entries, STEP_BYTES * entries // max(size, 1)))
        for start in range(0, max(entries, 1), step):
            yield _read_step(file, found, ids, (start, min(start + step, entries)))


def read_leaves(path: str, leaves: tuple[Leaf, ...], entries: int) -> Collections:
    """Read only `leaves` of the first `entries` events; those not stored are absent.

    Raises:
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_root(path) as file:
        found = _resolve(file)
        wanted = {leaf.name: found[leaf.name] for leaf in leaves if leaf.name in found}
        stop = min(entries, file.entries(EVENTS_TREE))
        return _read_step(file, wanted, {}, (0, stop))


def _read_step(
    file: RootFile, found: Mapping[str, Any], ids: Mapping[str, int], span: tuple[int, int]
) -> Collections:
    """Read one span of entries."""
    dtypes = {leaf.name: leaf.dtype for leaf in all_leaves()}
    leaves = {name: file.jagged(branch, dtypes[name], *span) for name, branch in found.items()}
    collections = Collections(file.path, span[1] - span[0], leaves, ids)
    check_rows(collections)
    return collections


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

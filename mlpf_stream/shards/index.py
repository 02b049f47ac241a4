"""The index: one row per event, and the place of every pack. What plans are made of.

`writer` makes one per shard; `DatasetIndex` joins those of a dataset into numpy columns.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlpf_stream.columns import MODE_KINDS, SCHEMA_VERSION, SPLITS, ElementKind, Split
from mlpf_stream.errors import MissingDataError, SchemaError, ShardError
from mlpf_stream.event import I64, Bool
from mlpf_stream.manifest import MANIFEST_NAME, Manifest, ShardEntry, version_path
from mlpf_stream.shards.pack import BufferPlace, PackEntry
from mlpf_stream.storage import Store

COLUMNS = ("key", "pack", "row", "length", "particles", "process", "split")


@dataclass(frozen=True, slots=True)
class IndexRows:
    """The rows of one shard's index, in pack order."""

    key: tuple[str, ...]
    pack: I64
    row: I64
    length: I64
    particles: I64
    process: tuple[str, ...]
    split: tuple[str, ...]


def shard_path(name: str) -> str:
    """Return where the shard called `name` lies below the dataset."""
    return f"shards/{name}.tar"


def index_path(name: str) -> str:
    """Return where the index of the shard called `name` lies below the dataset."""
    return f"index/{name}.arrow"


def encode_index(rows: IndexRows, packs: Sequence[PackEntry]) -> bytes:
    """Return an index as an Arrow IPC file: same rows, same bytes."""
    table = pa.table(
        {
            "key": pa.array(rows.key, pa.string()),
            "pack": pa.array(rows.pack, pa.int32()),
            "row": pa.array(rows.row, pa.int32()),
            "length": pa.array(rows.length, pa.int32()),
            "particles": pa.array(rows.particles, pa.int32()),
            "process": pa.array(rows.process, pa.string()),
            "split": pa.array(rows.split, pa.string()),
        }
    ).replace_schema_metadata(
        {
            "format": "mlpf_stream.index",
            "schema_version": str(SCHEMA_VERSION),
            "packs": json.dumps([asdict(pack) for pack in packs]),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def decode_index(data: bytes, where: str) -> tuple[pa.Table, list[PackEntry]]:
    """Return the rows and packs of an index.

    Raises:
        SchemaError: not an index, or of another schema version.
    """
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
    except pa.ArrowInvalid as error:
        raise SchemaError(f"expected an Arrow index in {where!r}, found none ({error})") from error
    metadata = table.schema.metadata or {}
    version = metadata.get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION) or tuple(table.column_names) != COLUMNS:
        msg = f"expected an index of schema version {SCHEMA_VERSION}, found {version} in {where!r}"
        raise SchemaError(msg)
    return table, [_pack_entry(raw) for raw in json.loads(metadata[b"packs"])]


def _pack_entry(raw: dict[str, Any]) -> PackEntry:
    buffers = {name: BufferPlace(**place) for name, place in raw.pop("buffers").items()}
    return PackEntry(**raw, buffers=buffers)


@dataclass(frozen=True, slots=True)
class PackPlace:
    """One pack of the dataset: its shard and what the index says of it."""

    shard: str
    entry: PackEntry


def pack_place(raw: dict[str, Any]) -> PackPlace:
    """Return the place that `dataclasses.asdict` turned into plain values."""
    return PackPlace(raw["shard"], _pack_entry(raw["entry"]))


class DatasetIndex:
    """Every event of a dataset as columns, in shard and pack order.

    Attributes:
        manifest: what the dataset says of itself.
        packs: place of every pack, numbered over the whole dataset.
        keys: event keys (E,). pack, row: where each event lies (E,) int64.
        length, particles: elements and target particles of each event (E,) int64.
        process: number into `process_names` (E,). split: number into `SPLITS` (E,).
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest
        self.kinds: tuple[ElementKind, ...] = MODE_KINDS[manifest.mode]
        self.process_names = tuple(entry.name for entry in manifest.processes)
        self.packs: list[PackPlace] = []
        tables = []
        for shard in manifest.shards:
            table, packs = self._read_shard_index(shard)
            number = pa.array(table["pack"].to_numpy() + len(self.packs), pa.int64())
            tables.append(table.set_column(1, "pack", number))
            self.packs.extend(PackPlace(shard.name, entry) for entry in packs)
        whole = pa.concat_tables(tables)
        self.keys: tuple[str, ...] = tuple(whole["key"].to_pylist())
        self.pack: I64 = whole["pack"].to_numpy().astype(np.int64)
        self.row: I64 = whole["row"].to_numpy().astype(np.int64)
        self.length: I64 = whole["length"].to_numpy().astype(np.int64)
        self.particles: I64 = whole["particles"].to_numpy().astype(np.int64)
        self.process: I64 = _codes(whole["process"], self.process_names)
        self.split: I64 = _codes(whole["split"], SPLITS)
        # Events of a pack lie together and in row order, so a pack is a range of events.
        self.pack_offsets: I64 = np.searchsorted(self.pack, np.arange(len(self.packs) + 1))

    def _read_shard_index(self, shard: ShardEntry) -> tuple[pa.Table, list[PackEntry]]:
        path = index_path(shard.name)
        data = self.store.read(path)
        # Before it is decoded: Arrow trusts its offsets, and a damaged one reads foreign memory.
        found = hashlib.sha256(data).hexdigest()
        if found != shard.index_sha256:
            raise ShardError(path, f"sha256 {shard.index_sha256}", f"{found} ({len(data)} bytes)")
        return decode_index(data, f"{self.store.url}/{path}")

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def digest(self) -> str:
        """Return 16 hex digits that name the events and their places."""
        return self.manifest.digest

    def in_split(self, split: Split | None) -> Bool:
        """Return which events belong to `split`, (E,); None: all of them."""
        if split is None:
            return np.ones(len(self), np.bool_)
        return np.asarray(self.split == SPLITS.index(split))

    def keys_of_pack(self, pack: int) -> tuple[str, ...]:
        """Return the keys of a pack's events in row order."""
        return self.keys[self.pack_offsets[pack] : self.pack_offsets[pack + 1]]


def open_dataset(store: Store, version: int | None = None) -> DatasetIndex:
    """Open the dataset in `store`: its newest version, or the one asked for.

    Raises:
        MissingDataError: there is no manifest, so no complete dataset, or no such version.
        SchemaError: of another format or version. ShardError: an index is cut short.
    """
    return DatasetIndex(store, read_manifest(store, version))


def read_manifest(store: Store, version: int | None = None) -> Manifest:
    """Return the newest manifest of the dataset in `store`, or the one of a version.

    Raises:
        MissingDataError: there is no manifest, so no complete dataset, or no such version.
        SchemaError: of another format or schema version.
    """
    if not store.exists(MANIFEST_NAME):
        raise _no_dataset(store)
    newest = Manifest.from_json(store.read(MANIFEST_NAME), f"{store.url}/{MANIFEST_NAME}")
    if version is None or version == newest.version:
        return newest
    path = version_path(version)
    if not 1 <= version < newest.version or not store.exists(path):
        msg = (
            f"expected version {version} of the dataset in {store.url!r}, found versions up to "
            f"{newest.version} and no {path!r}; ask for one that is there"
        )
        raise MissingDataError(msg)
    return Manifest.from_json(store.read(path), f"{store.url}/{path}")


def newest_version(store: Store) -> int:
    """Return the version of the newest manifest, from its first bytes: for those who watch.

    Raises:
        MissingDataError: there is no complete dataset.
    """
    if not store.exists(MANIFEST_NAME):
        raise _no_dataset(store)
    head = bytes(store.view(MANIFEST_NAME, 0, 512))
    found = re.search(rb'"version": (\d+)', head)
    return int(found[1]) if found else read_manifest(store).version


def _no_dataset(store: Store) -> MissingDataError:
    return MissingDataError(
        f"expected a dataset (a {MANIFEST_NAME}) in {store.url!r}, found none; "
        "make one with 'mlpf convert', or check the path: a dataset without a manifest "
        "is one whose conversion did not finish"
    )


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> I64:
    """Return each string's number in `names`."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    lookup = np.array([names.index(name) for name in encoded.dictionary.to_pylist()], np.int64)
    return np.asarray(lookup[encoded.indices.to_numpy()], np.int64)

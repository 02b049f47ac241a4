"""Events in, shards out: packs pure in process and split, bounded shards, same bytes always.

`convert` feeds events in source order and closes the writer; what it returns goes into the
manifest, which `convert` writes last.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash

from mlpf_stream.columns import ElementKind, Role, Split
from mlpf_stream.event import I64, Events, concatenate_events, process_of
from mlpf_stream.manifest import ShardEntry, length_histogram
from mlpf_stream.shards.index import IndexRows, encode_index, index_path, shard_path
from mlpf_stream.shards.pack import PackEntry, encode_pack, locate_buffers
from mlpf_stream.storage import Store


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """How large packs and shards grow: events per pack, bytes per shard."""

    pack_events: int = 256
    shard_bytes: int = 128 << 20


def split_of(key: str, role: Role) -> Split:
    """Return the split of an event: 80/10/10 by a hash of its key; all of an `ood` process is test.

    Stable under re-sharding and renames of files, because the key is.
    """
    if role == "ood":
        return "test"
    bucket = xxhash.xxh3_64_intdigest(key.encode()) % 10
    return "train" if bucket < 8 else "valid" if bucket == 8 else "test"


class ShardWriter:
    """Collects events into packs, packs into shards, and writes each shard with its index."""

    def __init__(self, store: Store, kinds: Sequence[ElementKind], limits: ShardLimits) -> None:
        self._store = store
        self._kinds = tuple(kinds)
        self._limits = limits
        self._waiting: dict[tuple[str, Split], list[Events]] = {}
        self._shard = _OpenShard(0)
        self._done: list[ShardEntry] = []

    def add(self, events: Events, role: Role) -> None:
        """Take events of any mixture of processes; write packs as they fill."""
        groups: dict[tuple[str, Split], list[int]] = {}
        for number, key in enumerate(events.keys):
            groups.setdefault((process_of(key), split_of(key, role)), []).append(number)
        for group, numbers in groups.items():
            waiting = self._waiting.setdefault(group, [])
            waiting.append(events.select(np.array(numbers, np.int64)))
            while sum(map(len, waiting)) >= self._limits.pack_events:
                self._flush(group, self._limits.pack_events)
                waiting = self._waiting[group]

    def close(self) -> tuple[ShardEntry, ...]:
        """Write what is left and return every shard."""
        for group in sorted(self._waiting):
            if self._waiting[group]:
                self._flush(group, self._limits.pack_events)
        if self._shard.packs:
            self._close_shard()
        return tuple(self._done)

    def _flush(self, group: tuple[str, Split], size: int) -> None:
        """Write one pack of the first `size` waiting events of a group."""
        waiting = concatenate_events(self._waiting[group])
        rest = np.arange(min(size, len(waiting)), len(waiting), dtype=np.int64)
        self._waiting[group] = [waiting.select(rest)] if len(rest) else []
        first = waiting.select(np.arange(min(size, len(waiting)), dtype=np.int64))
        ordered = first.select(np.argsort(first.lengths, kind="stable").astype(np.int64))
        self._shard.add(ordered, group, self._kinds)
        if self._shard.size >= self._limits.shard_bytes:
            self._close_shard()

    def _close_shard(self) -> None:
        self._done.append(self._shard.write(self._store))
        self._shard = _OpenShard(len(self._done))


class _OpenShard:
    """A shard being filled in memory."""

    def __init__(self, number: int) -> None:
        self.name = f"{number:06d}"
        self.packs: list[PackEntry] = []
        self._keys: list[str] = []
        self._lengths: list[I64] = []
        self._particles: list[I64] = []
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=tarfile.USTAR_FORMAT)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._buffer.tell()

    def add(self, events: Events, group: tuple[str, Split], kinds: Sequence[ElementKind]) -> None:
        """Append one pack and its meta data."""
        key = f"{self.name}-{len(self.packs):05d}"
        data = encode_pack(events, kinds)
        checksum = xxhash.xxh3_64_hexdigest(data)
        meta = {
            "events": len(events),
            "elements": {name: len(part.x_RF) for name, part in events.elements.items()},
            "process": group[0],
            "split": group[1],
            "bytes": len(data),
            "xxh3_64": checksum,
        }
        offset = self._append(f"{key}.events.arrow", data)
        self._append(f"{key}.meta.json", json.dumps(meta, sort_keys=True).encode())
        entry = PackEntry(
            key, offset, len(data), checksum, len(events), *group, locate_buffers(data, kinds)
        )
        self.packs.append(entry)
        self._keys.extend(events.keys)
        self._lengths.append(events.lengths)
        self._particles.append(events.targets.counts)

    def _append(self, name: str, data: bytes) -> int:
        """Add a member with fixed time and owner; return where its bytes begin."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        self._tar.addfile(info, io.BytesIO(data))
        padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return self._buffer.tell() - padded

    def write(self, store: Store) -> ShardEntry:
        """Write the shard, then its index."""
        self._tar.close()
        data = self._buffer.getbuffer()
        rows = self._rows()
        index = encode_index(rows, self.packs)
        store.write(shard_path(self.name), data)
        store.write(index_path(self.name), index)
        return ShardEntry(
            name=self.name,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            index_bytes=len(index),
            index_sha256=hashlib.sha256(index).hexdigest(),
            events=len(rows.key),
            packs=len(self.packs),
            length_histogram=length_histogram(rows.length.tolist()),
        )

    def _rows(self) -> IndexRows:
        counts = [pack.events for pack in self.packs]
        return IndexRows(
            key=tuple(self._keys),
            pack=np.repeat(np.arange(len(counts), dtype=np.int64), counts),
            row=np.concatenate([np.arange(count, dtype=np.int64) for count in counts]),
            length=np.concatenate(self._lengths),
            particles=np.concatenate(self._particles),
            process=tuple(pack.process for pack in self.packs for _ in range(pack.events)),
            split=tuple(pack.split for pack in self.packs for _ in range(pack.events)),
        )

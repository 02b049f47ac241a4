"""Events in, shards out: packs pure in process and split, bounded shards, same bytes always.

`convert` feeds events in source order and closes the writer; what it returns goes into the
manifest, which `convert` writes last.
"""

import hashlib
import json
import tarfile
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import xxhash

from mlpf_stream.columns import ElementKind, Role, Split
from mlpf_stream.event import I64, Events, pick_events, process_of
from mlpf_stream.manifest import ShardEntry, length_histogram
from mlpf_stream.shards.index import IndexRows, encode_index, index_path, shard_path
from mlpf_stream.shards.pack import (
    PackEntry,
    element_columns,
    encode_pack,
    locate_buffers,
    particle_columns,
    row_bytes,
)
from mlpf_stream.storage import Store, Upload


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """How large packs and shards grow: events and about bytes per pack, bytes per shard."""

    pack_events: int = 256
    shard_bytes: int = 128 << 20
    pack_bytes: int = 8 << 20


PackGroup = tuple[str, Split]
"""What all events of a pack share: their process and split."""


def split_of(key: str, role: Role) -> Split:
    """Return the split of an event: 80/10/10 by a hash of its key; all of an `ood` process is test.

    Stable under re-sharding and renames of files, because the key is.
    """
    if role == "ood":
        return "test"
    bucket = xxhash.xxh3_64_intdigest(key.encode()) % 10
    return "train" if bucket < 8 else "valid" if bucket == 8 else "test"


class ShardWriter:
    """Collects events into packs, packs into shards, and writes each shard with its index.

    Shards are called `prefix` and their number. In memory is one open pack for each process and
    split; what is encoded goes to the store by a thread. As a context, it drops the open shard when
    an error ends it.
    """

    def __init__(
        self, store: Store, kinds: Sequence[ElementKind], limits: ShardLimits, prefix: str = ""
    ) -> None:
        self._store = store
        self._kinds = tuple(kinds)
        self._limits = limits
        self._prefix = prefix
        self._open: dict[PackGroup, _OpenPack] = {}
        self._done: list[ShardEntry] = []
        self._shard = self._next_shard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shard.abort()

    def add(self, events: Events, role: Role) -> None:
        """Take events of any mixture of processes; write packs as they fill."""
        groups: dict[PackGroup, list[int]] = {}
        for number, key in enumerate(events.keys):
            groups.setdefault((process_of(key), split_of(key, role)), []).append(number)
        bytes_E = _bytes_of(events, self._kinds)
        for group, members in groups.items():
            numbers = np.array(members, np.int64)
            while len(numbers):
                pack = self._open.setdefault(group, _OpenPack())
                room = pack.room(bytes_E[numbers], self._limits)
                if room:
                    pack.add(events, numbers[:room], int(bytes_E[numbers[:room]].sum()))
                    numbers = numbers[room:]
                if not room or len(pack) == self._limits.pack_events:
                    self._flush(group)

    def close(self) -> tuple[ShardEntry, ...]:
        """Write what is left and return every shard."""
        for group in sorted(self._open):
            self._flush(group)
        if self._shard.packs:
            self._done.append(self._shard.commit())
        return tuple(self._done)

    def _flush(self, group: PackGroup) -> None:
        """Write the open pack of a group."""
        self._shard.add(self._open.pop(group).ordered(), group, self._kinds)
        if self._shard.size >= self._limits.shard_bytes:
            self._done.append(self._shard.commit())
            self._shard = self._next_shard()

    def _next_shard(self) -> "_OpenShard":
        return _OpenShard(self._store, f"{self._prefix}{len(self._done):06d}")


class _OpenPack:
    """Events that wait, where they are, until there are enough for a pack."""

    def __init__(self) -> None:
        self._picks: list[tuple[Events, int]] = []
        self._lengths: list[I64] = []
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._picks)

    def room(self, bytes_E: I64, limits: ShardLimits) -> int:
        """Return how many of the next events fit; at least one if the pack is empty."""
        count = min(len(bytes_E), limits.pack_events - len(self))
        filled = self._bytes + np.cumsum(bytes_E[:count])
        fits = int(np.searchsorted(filled, limits.pack_bytes, side="right"))
        return fits if self._picks else max(fits, 1)

    def add(self, events: Events, numbers: I64, size: int) -> None:
        """Take the events numbered `numbers`, of about `size` bytes together."""
        self._picks += [(events, number) for number in numbers.tolist()]
        self._lengths.append(events.lengths[numbers])
        self._bytes += size

    def ordered(self) -> Events:
        """Return all events of the pack, sorted by length."""
        order = np.argsort(np.concatenate(self._lengths), kind="stable")
        return pick_events([self._picks[number] for number in order.tolist()])


def _bytes_of(events: Events, kinds: Sequence[ElementKind]) -> I64:
    """Return about how many bytes each event takes in a pack, shape (E,)."""
    particles = events.generator.counts + events.candidates.counts
    bytes_E = particles * row_bytes(particle_columns(""))
    for kind in kinds:
        bytes_E = bytes_E + events.elements[kind.name].counts * row_bytes(element_columns(kind))
    return bytes_E


class _OpenShard:
    """A shard being filled: an index that grows here, a tar that grows in the store."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.packs: list[PackEntry] = []
        self.size = 0
        self._keys: list[str] = []
        self._lengths: list[I64] = []
        self._particles: list[I64] = []
        self._store = store
        self._tar = _Tar(store, shard_path(name))

    def add(self, events: Events, group: PackGroup, kinds: Sequence[ElementKind]) -> None:
        """Append one pack and its meta data."""
        key = f"{self.name}-{len(self.packs):05d}"
        data = encode_pack(events, kinds)
        checksum = xxhash.xxh3_64_hexdigest(data)
        meta = {
            "events": len(events),
            "elements": {name: len(part.x_RF) for name, part in events.elements.items()},
            "process": group[0],
            "split": group[1],
            "bytes": data.size,
            "xxh3_64": checksum,
        }
        offset = self._member(f"{key}.events.arrow", memoryview(data))
        self._member(f"{key}.meta.json", memoryview(json.dumps(meta, sort_keys=True).encode()))
        entry = PackEntry(
            key, offset, data.size, checksum, len(events), *group, locate_buffers(data, kinds)
        )
        self.packs.append(entry)
        self._keys.extend(events.keys)
        self._lengths.append(events.lengths)
        self._particles.append(_target_counts(events))

    def _member(self, name: str, data: memoryview) -> int:
        """Add a member with fixed time and owner; return where its bytes begin."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mode = 0o644
        self._append(info.tobuf(tarfile.USTAR_FORMAT))
        offset = self.size
        self._append(data)
        self._append(bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset

    def _append(self, data: bytes | memoryview) -> None:
        part = memoryview(data)
        self._tar.append(part)
        self.size += len(part)

    def commit(self) -> ShardEntry:
        """Make the shard visible, then its index."""
        end = 2 * tarfile.BLOCKSIZE
        self._append(bytes(end + -(self.size + end) % tarfile.RECORDSIZE))
        rows = self._rows()
        index = encode_index(rows, self.packs)
        sha256 = self._tar.commit()
        self._store.write(index_path(self.name), index)
        return ShardEntry(
            name=self.name,
            bytes=self.size,
            sha256=sha256,
            index_bytes=len(index),
            index_sha256=hashlib.sha256(index).hexdigest(),
            events=len(rows.key),
            packs=len(self.packs),
            length_histogram=length_histogram(rows.length.tolist()),
        )

    def abort(self) -> None:
        """Drop the shard, unless it is committed."""
        self._tar.abort()

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


class _Tar:
    """Bytes on their way into the store: a thread sums and writes them while packs are made."""

    WAITING_BYTES = 64 << 20
    """Most that waits for the thread, lest a slow store fill the memory."""

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        self._path = path
        self._digest = hashlib.sha256()
        self._upload: Upload | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[tuple[int, Future[None]]] = deque()
        self._waiting_bytes = 0

    def append(self, part: memoryview) -> None:
        """Hand on the next part."""
        if self._thread is None or self._upload is None:
            self._upload = self._store.upload(self._path)
            self._thread = ThreadPoolExecutor(1, "mlpf-shard")
        future = self._thread.submit(self._take, self._upload, part)
        self._waiting.append((part.nbytes, future))
        self._waiting_bytes += part.nbytes
        self._settle(self.WAITING_BYTES)

    def _settle(self, most: int) -> None:
        """Wait until at most so many bytes wait; raise what the thread met."""
        while self._waiting and (self._waiting_bytes > most or self._waiting[0][1].done()):
            size, future = self._waiting.popleft()
            future.result()
            self._waiting_bytes -= size

    def _take(self, upload: Upload, part: memoryview) -> None:
        self._digest.update(part)
        upload.append(part)

    def commit(self) -> str:
        """Make the object visible; return its sha256."""
        self._settle(-1)
        if self._upload:
            self._upload.commit()
        self.abort()
        return self._digest.hexdigest()

    def abort(self) -> None:
        """End the thread and drop what is not committed."""
        if self._thread and self._upload:
            self._thread.shutdown(cancel_futures=True)
            self._upload.abort()
            self._thread = self._upload = None


def _target_counts(events: Events) -> I64:
    """Return the target particles of each event, shape (E,)."""
    counts = np.zeros(len(events), np.int64)
    for part in events.elements.values():
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(part.class_R > 0)])
        counts += before[part.offsets[1:]] - before[part.offsets[:-1]]
    return counts

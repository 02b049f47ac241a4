"""Packs out of shards: by place (the stream), or by walking a whole tar (verification).

A pack is read by range and opened only if every byte matches its checksum.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence

from mlpf_stream.columns import ElementKind
from mlpf_stream.errors import SchemaError, ShardError
from mlpf_stream.event import Events, concatenate_events
from mlpf_stream.manifest import ShardEntry
from mlpf_stream.shards.index import DatasetIndex, PackPlace, index_path, shard_path
from mlpf_stream.shards.pack import open_pack
from mlpf_stream.storage import Store

MEMBER_SUFFIXES = (".events.arrow", ".meta.json")
"""The allow-list: a member of any other kind is never decoded."""
MAX_MEMBER_BYTES = 1 << 30
MAX_META_BYTES = 1 << 20


def read_pack(index: DatasetIndex, pack: int) -> Events:
    """Return the events of pack number `pack`, verified.

    Raises:
        ShardError: the bytes differ from what the index promises.
        MissingDataError: the shard is not there.
    """
    return read_place(index.store, index.packs[pack], index.keys_of_pack(pack), index.kinds)


def read_place(
    store: Store, place: PackPlace, keys: Sequence[str], kinds: Sequence[ElementKind]
) -> Events:
    """Return the events of the pack at `place`, verified; for readers without an index.

    Raises:
        ShardError: the bytes differ from what the index promises.
        MissingDataError: the shard is not there.
    """
    path = shard_path(place.shard)
    view = store.view(path, place.entry.offset, place.entry.bytes)
    return open_pack(view, place.entry, keys, kinds, path)


def read_events(index: DatasetIndex) -> Events:
    """Return every event of a small dataset at once."""
    return concatenate_events([read_pack(index, pack) for pack in range(len(index.packs))])


def verify_shard(index: DatasetIndex, shard: ShardEntry) -> int:
    """Check every byte of a shard and its index, member by member; return the events seen.

    Raises:
        ShardError: a digest, checksum, size or count differs.
        SchemaError: a member that a shard may not hold.
    """
    path = shard_path(shard.name)
    data = index.store.read(path)
    _check_digest(path, data, shard.bytes, shard.sha256)
    name = index_path(shard.name)
    _check_digest(name, index.store.read(name), shard.index_bytes, shard.index_sha256)
    promised = {
        place.entry.key: number
        for number, place in enumerate(index.packs)
        if place.shard == shard.name
    }
    events, seen = 0, set()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            check_member(member, path)
            key, dot, suffix = member.name.partition(".")
            if key not in promised:
                raise ShardError(path, "only packs that the index names", member.name)
            if dot + suffix == ".meta.json":
                _check_meta(tar, member, index.packs[promised[key]].entry.xxh3, path)
            else:
                events += len(read_pack(index, promised[key]).keys)
                seen.add(key)
    if seen != set(promised) or events != shard.events:
        raise ShardError(path, f"{shard.events} events", f"{events}")
    return events


def check_member(member: tarfile.TarInfo, where: str) -> None:
    """Refuse anything but a plain pack or its meta data inside the shard itself.

    Raises:
        SchemaError: links, absolute paths, `..`, unknown suffixes, or absurd sizes.
    """
    parts = member.name.split("/")
    limit = MAX_META_BYTES if member.name.endswith(".meta.json") else MAX_MEMBER_BYTES
    if (
        not member.isfile()
        or member.name.startswith("/")
        or ".." in parts
        or not member.name.endswith(MEMBER_SUFFIXES)
        or member.size > limit
    ):
        msg = (
            f"shard {where!r} holds {member.name!r} ({member.size} bytes), expected only plain "
            f"members ending in {' or '.join(MEMBER_SUFFIXES)}; do not use this shard"
        )
        raise SchemaError(msg)


def _check_digest(path: str, data: bytes, size: int, sha256: str) -> None:
    if len(data) != size:
        raise ShardError(path, f"{size} bytes", f"{len(data)}")
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ShardError(path, f"sha256 {sha256}", found)


def _check_meta(tar: tarfile.TarFile, member: tarfile.TarInfo, xxh3: str, path: str) -> None:
    file = tar.extractfile(member)
    try:
        meta = json.loads(file.read()) if file else {}
    except ValueError as error:
        raise ShardError(path, f"JSON in {member.name}", str(error)) from error
    if meta.get("xxh3_64") != xxh3:
        raise ShardError(path, f"checksum {xxh3} in {member.name}", str(meta.get("xxh3_64")))

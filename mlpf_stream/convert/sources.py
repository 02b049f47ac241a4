"""Which files to convert: paths, globs, folders and prefixes of object storage; each once."""

import glob
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from mlpf_stream.edm4hep.source import source_file_id
from mlpf_stream.errors import MissingDataError
from mlpf_stream.storage import Store, open_store

REMOTE = "s3://"
FETCH_BYTES = 32 << 20
"""Bytes of one request when a file is fetched."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was found: where, and a stamp that changes when its content does."""

    path: str
    stamp: str


def find_sources(patterns: Sequence[str]) -> list[Found]:
    """Return the ROOT files that paths, globs, folders and s3:// prefixes name, each once.

    A file that two paths lead to is taken by the first of them.

    Raises:
        MissingDataError: a pattern that matches nothing.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        matches = _remote(pattern) if pattern.startswith(REMOTE) else _local(pattern)
        if not matches:
            msg = f"expected ROOT files, a glob or a folder of them, found nothing at {pattern!r}"
            raise MissingDataError(msg)
        for path in matches:
            found.setdefault(path if path.startswith(REMOTE) else str(Path(path).resolve()), path)
    return [Found(path, _stamp(path)) for path in found.values()]


def _local(pattern: str) -> list[str]:
    if Path(pattern).is_file():
        return [pattern]  # a name may hold the special characters of a glob
    if Path(pattern).is_dir():
        return sorted(str(path) for path in Path(pattern).rglob("*.root"))
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute globs


def _remote(url: str) -> list[str]:
    if url.endswith(".root"):
        store, name = _object(url)
        return [url] if store.exists(name) else []
    names = open_store(url).list()
    return [f"{url.rstrip('/')}/{name}" for name in names if name.endswith(".root")]


def _object(url: str) -> tuple[Store, str]:
    """Return the store and the name of an object."""
    prefix, _, name = url.rpartition("/")
    return open_store(prefix), name


def _stamp(path: str) -> str:
    """Return what tells whether a file is still the one that it was."""
    if path.startswith(REMOTE):
        store, name = _object(path)
        return _remote_id(store, name)
    found = Path(path).stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def _remote_id(store: Store, name: str) -> str:
    """Return the identity of an object, as `source_file_id` finds it for the same bytes."""
    size = store.size(name)
    digest = xxhash.xxh3_64(size.to_bytes(8, "little"))
    digest.update(store.view(name, 0, _MIB))
    digest.update(store.view(name, max(0, size - _MIB), _MIB))
    return digest.hexdigest()[:12]


@contextmanager
def local_file(path: str) -> Iterator[str]:
    """Give a path on this machine: the file itself, or a copy of an object while it is needed."""
    if not path.startswith(REMOTE):
        yield path
        return
    store, name = _object(path)
    size = store.size(name)
    with tempfile.TemporaryDirectory(prefix="mlpf-source-") as folder:
        # The object's own name: it may tell the process, and messages show it.
        place = Path(folder) / name
        with place.open("wb") as file:
            for start in range(0, size, FETCH_BYTES):
                file.write(store.view(name, start, min(FETCH_BYTES, size - start)))
        yield str(place)


def file_identity(path: str) -> tuple[str, int]:
    """Return the identity of a file on this machine, and its bytes."""
    return source_file_id(path), Path(path).stat().st_size

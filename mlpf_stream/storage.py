"""The only door to objects: named byte strings below one URL, local or in memory.

A name is relative to the URL, with forward slashes. A write is atomic: a reader sees the old
object, or none, or the whole new one.
"""

import mmap
import os
import secrets
from pathlib import Path
from typing import Protocol

import fsspec

from mlpf_stream.errors import ConfigError, MissingDataError


class Store(Protocol):
    """Objects below one URL."""

    url: str

    def read(self, name: str) -> bytes:
        """Return the whole object.

        Raises:
            MissingDataError: no such object.
        """
        ...

    def view(self, name: str, start: int, length: int) -> memoryview:
        """Return `length` bytes from `start` on, without a copy where the store allows it.

        The view is shorter where the object ends earlier.

        Raises:
            MissingDataError: no such object.
        """
        ...

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write the object atomically."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether the object is there."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Return the names below `prefix`, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Remove the object; absent is no error."""
        ...


def open_store(url: str) -> Store:
    """Open the store at `url`: a local path, `file://` or `memory://`.

    Raises:
        ConfigError: a scheme this version does not know.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStore(url)
    if scheme == "file":
        return LocalStore(rest)
    if scheme == "memory":
        return MemoryStore(url)
    msg = f"expected a local path, file:// or memory://, found {url!r}"
    raise ConfigError(msg)


class LocalStore:
    """Objects are files below a folder."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(url)

    def _path(self, name: str) -> Path:
        return self._root / name

    def _missing(self, name: str) -> MissingDataError:
        return MissingDataError(f"expected {name!r} below {self.url!r}, found nothing there")

    def read(self, name: str) -> bytes:
        """Return the whole file."""
        try:
            return self._path(name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._missing(name) from error

    def view(self, name: str, start: int, length: int) -> memoryview:
        """Return a memory-mapped part of the file."""
        try:
            with self._path(name).open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    return memoryview(b"")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._missing(name) from error
        return memoryview(mapped)[start : start + length]

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write beside the target, flush to disk, then rename."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        """Return whether the file is there."""
        return self._path(name).is_file()

    def list(self, prefix: str = "") -> list[str]:
        """Return the names of files below `prefix`, sorted; unfinished writes are left out."""
        files = (path for path in self._path(prefix).rglob("*") if path.is_file())
        return sorted(
            path.relative_to(self._root).as_posix()
            for path in files
            if not path.name.endswith(".part")
        )

    def delete(self, name: str) -> None:
        """Remove the file; absent is no error."""
        self._path(name).unlink(missing_ok=True)


class MemoryStore:
    """Objects live in this process, through fsspec's memory file system."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs = fsspec.filesystem("memory")
        self._root = "/" + self.url.partition("://")[2].strip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes:
        """Return the whole object."""
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except FileNotFoundError as error:
            msg = f"expected {name!r} below {self.url!r}, found nothing there"
            raise MissingDataError(msg) from error

    def view(self, name: str, start: int, length: int) -> memoryview:
        """Return a part of the object."""
        return memoryview(self.read(name))[start : start + length]

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Replace the object."""
        self._fs.pipe_file(self._path(name), bytes(data))

    def exists(self, name: str) -> bool:
        """Return whether the object is there."""
        return bool(self._fs.isfile(self._path(name)))

    def list(self, prefix: str = "") -> list[str]:
        """Return the names below `prefix`, sorted."""
        found: list[str] = self._fs.find(self._path(prefix))
        return sorted(path.removeprefix(self._root + "/") for path in found)

    def delete(self, name: str) -> None:
        """Remove the object; absent is no error."""
        if self.exists(name):
            self._fs.rm_file(self._path(name))

"""Objects as files below a folder of this machine."""

import mmap
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import IO

from mlpf_stream.errors import MissingDataError

PART = ".part"
"""Suffix of a write that is not finished, or never will be."""
OPEN_TRIES = 5
FLUSH_BYTES = 32 << 20
"""Bytes of a growing file between two flushes to disk."""


class LocalStore:
    """Objects are files below a folder."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(url)

    def _path(self, name: str) -> Path:
        return self._root / name

    def _missing(self, name: str) -> MissingDataError:
        return MissingDataError(f"expected {name!r} below {self.url!r}, found nothing there")

    def child(self, name: str) -> "LocalStore":
        """Return the store of all files below `name/`."""
        return LocalStore(f"{self.url.rstrip('/')}/{name}")

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

    def size(self, name: str) -> int:
        """Return the bytes of the file."""
        try:
            return self._path(name).stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._missing(name) from error

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write beside the target, flush to disk, rename, flush the names."""
        upload = self.upload(name)
        try:
            upload.append(memoryview(data))
            upload.commit()
        finally:
            upload.abort()

    def upload(self, name: str) -> "LocalUpload":
        """Begin a file beside the target."""
        return LocalUpload(self._path(name))

    def append(self, name: str, data: bytes) -> None:
        """Write at the end of the file and flush to disk."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def exists(self, name: str) -> bool:
        """Return whether the file is there."""
        return self._path(name).is_file()

    def list(self, prefix: str = "") -> list[str]:
        """Return the names of files below `prefix`, sorted; unfinished writes are left out."""
        files = (path for path in self._path(prefix).rglob("*") if path.is_file())
        return sorted(
            path.relative_to(self._root).as_posix()
            for path in files
            if not path.name.endswith(PART)
        )

    def delete(self, name: str) -> None:
        """Remove the file, what killed writes of it left, and folders that are empty then."""
        path = self._path(name)
        with suppress(NotADirectoryError):
            path.unlink(missing_ok=True)
        for part in path.parent.glob(f".{path.name}.*{PART}"):
            part.unlink(missing_ok=True)
        self._drop_empty_folders(path)

    def sweep(self) -> None:
        """Remove the unfinished writes of killed processes, and folders that are empty then."""
        for path in sorted(self._root.rglob(f".*{PART}")):
            if path.is_file():
                path.unlink(missing_ok=True)
                self._drop_empty_folders(path)

    def _drop_empty_folders(self, path: Path) -> None:
        """Remove the folders above a file that are empty."""
        for folder in path.parents:
            if folder == self._root or not folder.is_relative_to(self._root):
                break
            with suppress(OSError):  # not empty, not there, or in use: it stays
                folder.rmdir()


class LocalUpload:
    """A file that grows beside its target and takes its name at last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
        self._fresh = [folder for folder in path.parents if not folder.exists()]
        self._file = _create(self._part)
        self._unflushed = 0

    def append(self, part: memoryview) -> None:
        """Write the next part; flush to disk now and then, so that the end is no long wait."""
        self._file.write(part)
        self._unflushed += part.nbytes
        if self._unflushed >= FLUSH_BYTES:
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._unflushed = 0

    def commit(self) -> None:
        """Flush to disk, rename, flush the names."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)
        for folder in (self._path.parent, *(made.parent for made in self._fresh)):
            _flush_folder(folder)

    def abort(self) -> None:
        """Remove the unfinished file."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def _create(path: Path) -> IO[bytes]:
    """Open a new file; its folder is made, again if somebody removes it as empty meanwhile."""
    for _ in range(OPEN_TRIES - 1):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return path.open("xb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _flush_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Objects in the memory of this process, through fsspec's memory file system."""

from functools import partial

import fsspec

from mlpf_stream.errors import MissingDataError
from mlpf_stream.storage.upload import GatheredUpload


class MemoryStore:
    """Objects live in this process."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs = fsspec.filesystem("memory")
        self._root = "/" + self.url.partition("://")[2].strip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def child(self, name: str) -> "MemoryStore":
        """Return the store of all objects below `name/`."""
        return MemoryStore(f"{self.url}/{name}")

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

    def size(self, name: str) -> int:
        """Return the bytes of the object."""
        return len(self.read(name))

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Replace the object."""
        self._fs.pipe_file(self._path(name), bytes(data))

    def upload(self, name: str) -> GatheredUpload:
        """Gather the parts of an object."""
        return GatheredUpload(partial(self.write, name))

    def append(self, name: str, data: bytes) -> None:
        """Replace the object by a longer one."""
        self.write(name, (self.read(name) if self.exists(name) else b"") + data)

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

    def sweep(self) -> None:
        """Do nothing: a write is never half done."""

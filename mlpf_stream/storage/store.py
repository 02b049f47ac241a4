"""What a store is: named byte strings below one URL.

A name is relative to the URL, with forward slashes. A write is atomic: a reader sees the old
object, or none, or the whole new one. A store may be pickled, forked and shared by threads.
"""

from typing import Protocol, Self

from mlpf_stream.errors import ConfigError
from mlpf_stream.storage.local import LocalStore
from mlpf_stream.storage.memory import MemoryStore
from mlpf_stream.storage.upload import Upload


class Store(Protocol):
    """Objects below one URL.

    Every method may raise `AccessError` (refused, do not try again) or `StorageError` (not
    reachable, try again later) where objects lie behind a network.
    """

    url: str

    def child(self, name: str) -> Self:
        """Return the store of all objects below `name/`."""
        ...

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

    def size(self, name: str) -> int:
        """Return the bytes of the object.

        Raises:
            MissingDataError: no such object.
        """
        ...

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write the object atomically."""
        ...

    def upload(self, name: str) -> Upload:
        """Begin to write the object in parts; it appears atomically when that is committed."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Add bytes at the end of the object, or begin it; for one writer at a time.

        Object storage cannot append: there, the object is read and written again, which costs its
        whole size each time. Gather what is small before.
        """
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

    def sweep(self) -> None:
        """Remove what killed writes left behind; only when nobody else writes below this URL."""
        ...


def open_store(url: str) -> Store:
    """Open the store at `url`: a local path, `file://`, `memory://` or `s3://bucket/prefix`.

    Raises:
        ConfigError: a scheme this version does not know, or no bucket.
        MissingExtraError: `s3://` without the package for it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStore(url)
    if scheme == "file":
        return LocalStore(rest)
    if scheme == "memory":
        return MemoryStore(url)
    if scheme == "s3":
        from mlpf_stream.storage.s3 import S3Store  # noqa: PLC0415 - only S3 needs its client

        return S3Store(url)
    msg = f"expected a local path, file://, memory:// or s3://, found {url!r}"
    raise ConfigError(msg)

"""An object on its way into a store, part by part: whole after `commit`, else never there."""

from collections.abc import Callable
from typing import Protocol


class Upload(Protocol):
    """One write that takes its data in parts."""

    def append(self, part: memoryview) -> None:
        """Take the next part; its memory may be used again afterwards only by who owns it."""
        ...

    def commit(self) -> None:
        """Make the object visible, in place of an old one of that name."""
        ...

    def abort(self) -> None:
        """Drop what was taken; nothing to do after `commit`."""
        ...


class GatheredUpload:
    """Gathers all parts and writes them at once, where a store knows no other way."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._parts: list[memoryview] = []

    def append(self, part: memoryview) -> None:
        """Take the next part."""
        self._parts.append(part)

    def commit(self) -> None:
        """Write all parts as one object."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._write(data)

    def abort(self) -> None:
        """Drop all parts."""
        self._parts.clear()

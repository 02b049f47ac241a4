"""A store's place as Arrow sees it, for libraries that want a file system and a path."""

from pathlib import Path
from typing import TYPE_CHECKING

import fsspec

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def arrow_place(url: str) -> tuple["FileSystem", str]:
    """Return the Arrow file system of a URL and the path inside it."""
    from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem  # noqa: PLC0415 - heavy

    if "://" not in url or url.startswith("file://"):
        return LocalFileSystem(), str(Path(url.removeprefix("file://")).absolute())
    system, path = fsspec.core.url_to_fs(url)
    return PyFileSystem(FSSpecHandler(system)), path

"""Tar archives unpacked: plain files only, inside their folder, each whole before it has a name."""

import hashlib
import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Final

from mlpf_stream.download.ledger import LEDGER_NAME, KeptFile
from mlpf_stream.download.transfer import ABOUT, PART
from mlpf_stream.errors import DataError

SUFFIX: Final = ".tar"
_CHUNK: Final = 1 << 20


def is_archive(name: str) -> bool:
    """Return whether a download is an archive of files."""
    return name.endswith(SUFFIX)


def unpack(archive: Path) -> tuple[KeptFile, ...]:
    """Unpack an archive beside itself; return its files as they are now.

    Raises:
        DataError: not a tar, or a member that is no plain file inside the folder.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            return tuple(_unpack_member(tar, each, archive) for each in tar if not each.isdir())
    except tarfile.TarError as error:
        msg = f"expected a tar archive in {str(archive)!r}, found {error}; remove it and try again"
        raise DataError(msg) from error


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> KeptFile:
    """Write one member under a name of its own, then give it its name."""
    path = archive.parent / _name(member, archive)
    content = tar.extractfile(member)
    if content is None:
        raise DataError(f"expected plain files in {str(archive)!r}, found {member.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    with content, part.open("wb") as stream:
        digest = _copy(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    name = path.relative_to(archive.parent).as_posix()
    return KeptFile.of(archive.parent, name, f"sha256:{digest}")


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream and return the digest of its bytes."""
    digest = hashlib.sha256()
    while data := source.read(_CHUNK):
        target.write(data)
        digest.update(data)
    return digest.hexdigest()


def _name(member: tarfile.TarInfo, archive: Path) -> str:
    """Return the name of a member.

    Raises:
        DataError: a link, a device, a sparse file, or a name outside the folder or of our own.
    """
    name = PurePosixPath(member.name)
    plain = member.isreg() and member.sparse is None
    ours = name.name == LEDGER_NAME or name.name.endswith((PART, ABOUT))
    if not plain or ours or name.is_absolute() or ".." in name.parts or not name.parts:
        msg = f"expected plain files inside {str(archive)!r}, found {member.name!r}; do not use it"
        raise DataError(msg)
    return name.as_posix()

"""What a published set holds: names, sizes and checksums, as the archive that keeps it tells."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mlpf_stream.download.catalogue import PublishedSet
from mlpf_stream.download.server import FileServer
from mlpf_stream.errors import ConfigError, DataError

HOSTS: Final = {"zenodo": "https://zenodo.org", "huggingface": "https://huggingface.co"}
DIGITS: Final = {"md5": 32, "sha256": 64}
"""Hexadecimal digits of each kind of checksum."""
_CHECKSUM: Final = re.compile(r"(?:(md5|sha256):)?([0-9a-f]+)")
_NUMBERS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file: its name, place, size and checksum `ALGORITHM:HEX`."""

    name: str
    url: str
    bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a set by name, and the licence that its archive states."""

    files: tuple[RemoteFile, ...]
    licence: str | None


class _Answer(BaseModel):
    """A part of an answer: what is not needed is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _ZenodoFile(_Answer):
    key: str
    size: int
    checksum: str


class _ZenodoLicence(_Answer):
    id: str


class _ZenodoMetadata(_Answer):
    license: _ZenodoLicence | None = None


class _ZenodoRecord(_Answer):
    files: list[_ZenodoFile]
    metadata: _ZenodoMetadata = _ZenodoMetadata()


class _HubLargeFile(_Answer):
    oid: str
    size: int


class _HubFile(_Answer):
    type: str
    path: str
    lfs: _HubLargeFile | None = None


def list_set(entry: PublishedSet, server: FileServer, mirror: str | None) -> Listing:
    """Return what the archive says of a set; `mirror` stands in for the archive's own address.

    Raises:
        DataError: an answer that is none, no file, or a name or checksum that cannot be.
        StorageError: no answer. ConfigError: a mirror that is no URL.
    """
    base = _base(entry, mirror)
    listing = (_list_zenodo if entry.host == "zenodo" else _list_hub)(entry, server, base)
    files = [file for file in listing.files if fnmatchcase(file.name, entry.pattern)]
    if not files:
        msg = (
            f"expected files {entry.pattern!r} of set {entry.name!r} at {base!r}, found "
            f"{[file.name for file in listing.files][:20]}; the archive may have changed"
        )
        raise DataError(msg)
    return Listing(tuple(sorted(files, key=_natural)), listing.licence)


def _base(entry: PublishedSet, mirror: str | None) -> str:
    """Return the address to ask."""
    if mirror is None:
        return HOSTS[entry.host]
    if urlsplit(mirror).scheme not in {"http", "https"}:
        raise ConfigError(f"expected --mirror http(s)://..., found {mirror!r}")
    return mirror.rstrip("/")


def _list_zenodo(entry: PublishedSet, server: FileServer, base: str) -> Listing:
    """Ask Zenodo.

    Files are fetched below /records, which knows ranges; those below /api do not.
    Source: zenodo/zenodo issue 2593.
    """
    url = f"{base}/api/records/{entry.record}"
    text, _ = server.text(url)
    try:
        record = _ZenodoRecord.model_validate_json(text)
    except ValidationError as error:
        raise _strange(url, error) from error
    files = [
        RemoteFile(
            name=_name(file.key, url),
            url=f"{base}/records/{entry.record}/files/{quote(file.key)}?download=1",
            bytes=file.size,
            checksum=_checksum(file.checksum, "md5", url),
        )
        for file in record.files
    ]
    licence = record.metadata.license
    return Listing(tuple(files), licence.id if licence else None)


def _list_hub(entry: PublishedSet, server: FileServer, base: str) -> Listing:
    """Ask Hugging Face, page by page; only large files have a checksum of their content."""
    place: str | None = f"{base}/api/datasets/{entry.record}/tree/main/{entry.folder}"
    files = []
    while place is not None:
        text, following = server.text(place)
        try:
            page = TypeAdapter(list[_HubFile]).validate_json(text)
        except ValidationError as error:
            raise _strange(place, error) from error
        files += [
            RemoteFile(
                name=_name(PurePosixPath(file.path).name, place),
                url=f"{base}/datasets/{entry.record}/resolve/main/{quote(file.path)}",
                bytes=file.lfs.size,
                checksum=_checksum(file.lfs.oid, "sha256", place),
            )
            for file in page
            if file.type == "file" and file.lfs is not None
        ]
        place = _moved(following, base) if following else None
    return Listing(tuple(files), None)


def _moved(url: str, base: str) -> str:
    """Return the same place below `base`: a mirror hands on the links of its origin."""
    parts = urlsplit(url)
    return f"{base}{parts.path}" + (f"?{parts.query}" if parts.query else "")


def _name(name: str, where: str) -> str:
    """Return the name of a file, which must be one in any folder.

    Raises:
        DataError: a path, or a hidden name.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        raise DataError(f"expected plain file names in {where!r}, found {name!r}")
    return name


def _checksum(text: str, default: str, where: str) -> str:
    """Return a checksum with the name of its kind.

    Raises:
        DataError: not a checksum.
    """
    match = _CHECKSUM.fullmatch(text.strip().lower())
    kind = (match.group(1) or default) if match else ""
    if match is None or len(match.group(2)) != DIGITS[kind]:
        raise DataError(f"expected checksums md5 or sha256 in {where!r}, found {text!r}")
    return f"{kind}:{match.group(2)}"


def _strange(url: str, error: ValidationError) -> DataError:
    """Say that an answer is not what it was."""
    first = error.errors()[0]
    return DataError(
        f"expected the list of files at {url!r}, found another answer "
        f"({'.'.join(map(str, first['loc']))}: {first['msg']}); the archive may have changed"
    )


def _natural(file: RemoteFile) -> list[str | int]:
    """Order names as people count: file 2 before file 10."""
    return [int(part) if part.isdigit() else part for part in _NUMBERS.split(file.name)]

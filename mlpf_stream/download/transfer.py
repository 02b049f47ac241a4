"""One file from its server to a folder: resumed, verified, and only then given its name.

Until then its bytes lie in `NAME.part`, beside `NAME.part.json`, which says whose they are.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from mlpf_stream.download.listing import RemoteFile
from mlpf_stream.download.server import CHUNK, LOST, Clock, FileServer, receive
from mlpf_stream.errors import DataError

PART: Final = ".part"
ABOUT: Final = ".part.json"
TRIES: Final = 2
"""Whole files that may have the wrong bytes before theirs are taken to be the archive's."""
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Tell = Callable[[int], None]
"""Is told how many bytes came, or, below zero, how many count no more."""


class WrongSizeError(Exception):
    """An answer is of another size than the published file."""


class PartAbout(BaseModel):
    """Whose bytes a part holds: of which content, from which place, of which version there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checksum: str
    url: str
    etag: str | None


@dataclass(slots=True)
class Part:
    """The bytes of a file that are here already, and their running digest."""

    path: Path
    about_path: Path
    about: PartAbout | None
    size: int
    digest: "hashlib._Hash"

    @classmethod
    def open(cls, file: RemoteFile, folder: Path) -> "Part":
        """Return what an earlier try left of a file; bytes of another content are dropped."""
        path = folder / (file.name + PART)
        about_path = folder / (file.name + ABOUT)
        part = cls(path, about_path, None, 0, _new_digest(file))
        try:
            about = PartAbout.model_validate_json(about_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            about = None
        if not path.exists() or about is None or about.checksum != file.checksum:
            part.clear(file)
            return part
        part.about, part.size = about, _digest_file(path, part.digest)
        if part.size > file.bytes:
            part.clear(file)
        return part

    def clear(self, file: RemoteFile) -> None:
        """Drop all bytes."""
        self.path.unlink(missing_ok=True)
        self.about_path.unlink(missing_ok=True)
        self.about, self.size, self.digest = None, 0, _new_digest(file)

    def describe(self, about: PartAbout) -> None:
        """Note whose bytes follow, before the first of them is written."""
        if about != self.about:
            self.about_path.write_text(about.model_dump_json(), encoding="utf-8")
            self.about = about

    def commit(self, place: Path) -> None:
        """Give the file its name, its bytes being on disk."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        self.path.replace(place)
        self.about_path.unlink(missing_ok=True)


def part_size(file: RemoteFile, folder: Path) -> int:
    """Return how many bytes of a file are here already."""
    path = folder / (file.name + PART)
    return min(path.stat().st_size, file.bytes) if path.exists() else 0


def is_file(file: RemoteFile, path: Path) -> bool:
    """Return whether the file at `path` has the published size and checksum; reads all of it."""
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    digest = _new_digest(file)
    _digest_file(path, digest)
    return digest.hexdigest() == file.checksum.partition(":")[2]


def fetch(file: RemoteFile, folder: Path, server: FileServer, tell: Tell) -> None:
    """Fetch a file into a folder; what an earlier try left is used.

    Raises:
        DataError: twice the wrong bytes, which are removed. MissingDataError, AccessError: refused.
        StorageError: no answer in time. StoppedError: the user wants to stop.
    """
    part = Part.open(file, folder)
    clock = Clock(file.url, server.patience, server.stop)
    found = ""
    for _ in range(TRIES):
        wrong = _fill(file, part, server, clock, tell)
        if wrong is None:
            part.commit(folder / file.name)
            return
        found = wrong
        tell(-part.size)
        part.clear(file)
    msg = (
        f"expected {file.bytes} bytes of {file.checksum} at {file.url!r}, found {found}, "
        f"{TRIES} times; the bytes were removed: give another --mirror, or tell those who keep "
        "the archive"
    )
    raise DataError(msg)


def _fill(file: RemoteFile, part: Part, server: FileServer, clock: Clock, tell: Tell) -> str | None:
    """Ask until all bytes are here; return what is wrong with them, None if nothing is."""
    try:
        while part.size < file.bytes or part.about is None:
            try:
                _receive(file, part, server, clock, tell)
            except LOST as error:
                clock.wait(error)
    except WrongSizeError as error:
        return str(error)
    digest = part.digest.hexdigest()
    return None if digest == file.checksum.partition(":")[2] else f"checksum {digest}"


def _receive(file: RemoteFile, part: Part, server: FileServer, clock: Clock, tell: Tell) -> None:
    """Take what one answer brings.

    Raises:
        WrongSizeError: the answer is of another size than the published file.
        DataError: an answer to another question.
    """
    with server.ask(file.url, _question(file, part)) as response:
        etag = _strong(response.headers.get("ETag"))
        begins = _begin(file, response.status_code, dict(response.headers))
        if begins and not part.size:
            raise DataError(f"expected the whole file at {file.url!r}, found no such part of it")
        if begins != part.size or _is_other(part, file, etag):
            tell(-part.size)
            part.clear(file)
            if begins:
                return  # the next question is for the whole file
        part.describe(PartAbout(checksum=file.checksum, url=file.url, etag=etag))
        with part.path.open("ab", buffering=0) as stream:
            for data in receive(response):
                if part.size + len(data) > file.bytes:
                    raise WrongSizeError(f"more than {file.bytes} bytes")
                stream.write(data)
                part.digest.update(data)
                part.size += len(data)
                tell(len(data))
                clock.received(len(data))


def _question(file: RemoteFile, part: Part) -> dict[str, str]:
    """Return the headers that ask for what is missing, if the file is still the one begun."""
    if not part.size or part.about is None:
        return {}
    headers = {"Range": f"bytes={part.size}-"}
    if part.about.etag is not None and part.about.url == file.url:
        headers["If-Range"] = part.about.etag
    return headers


def _begin(file: RemoteFile, status: int, headers: dict[str, str]) -> int:
    """Return the place in the file where an answer begins; -1 where the place was wrong.

    Raises:
        WrongSizeError: the answer is of another size than the published file.
    """
    if status == 416:
        return -1
    begins, total = 0, headers.get("Content-Length")
    if status == 206:
        match = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if match is None:
            return -1
        begins, total = int(match.group(1)), match.group(2)
    if total not in {None, "*", str(file.bytes)}:
        raise WrongSizeError(f"{total} bytes")
    return begins


def _is_other(part: Part, file: RemoteFile, etag: str | None) -> bool:
    """Return whether the same place holds another version than the one begun."""
    about = part.about
    return about is not None and about.url == file.url and bool(part.size) and about.etag != etag


def _strong(etag: str | None) -> str | None:
    """Return an entity tag that stands for the very bytes."""
    return None if etag is None or etag.startswith("W/") else etag


def _new_digest(file: RemoteFile) -> "hashlib._Hash":
    return hashlib.new(file.checksum.partition(":")[0], usedforsecurity=False)


def _digest_file(path: Path, digest: "hashlib._Hash") -> int:
    """Digest a file; return its size."""
    size = 0
    with path.open("rb") as stream:
        while data := stream.read(CHUNK):
            digest.update(data)
            size += len(data)
    return size

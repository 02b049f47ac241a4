"""`mlpf download`: a published set into a folder, several files at once.

Workers fetch and verify; this thread alone draws the bar and keeps the ledger.
"""

import fcntl
import logging
import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Final

from mlpf_stream.download.archive import is_archive, unpack
from mlpf_stream.download.catalogue import published
from mlpf_stream.download.ledger import KeptFile, Ledger, LedgerEntry
from mlpf_stream.download.listing import Listing, RemoteFile, list_set
from mlpf_stream.download.server import FileServer, Patience, StoppedError
from mlpf_stream.download.transfer import fetch, is_file, part_size
from mlpf_stream.errors import ConfigError, DataError, MlpfError
from mlpf_stream.progress import progress

LOG = logging.getLogger(__name__)

GRACE_SECONDS: Final = 2.0
"""How long workers may take to stop; what they wrote stays usable in any case."""
DISK_RESERVE: Final = 64 << 20
"""Bytes that stay free."""


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What to download, and where to.

    Attributes:
        name: of the published set.
        out: local folder.
        files: at most so many files, in the order of their names.
        pattern: only files whose names match this glob.
        mirror: address that stands in for the archive's own.
        workers: files under way at once.
    """

    name: str
    out: str
    files: int | None = None
    pattern: str | None = None
    mirror: str | None = None
    workers: int = 4
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class DownloadSummary:
    """What is in the folder now.

    Attributes:
        files: paths of the verified files; of archives, the files that were inside.
        bytes: their size together.
        fetched, kept: downloads of this run, and those that were there already.
        stopped: whether the user stopped it before its end.
    """

    files: tuple[str, ...]
    bytes: int
    fetched: int
    kept: int
    seconds: float
    licence: str | None
    stopped: bool


@dataclass(frozen=True, slots=True)
class _Received:
    bytes: int


@dataclass(frozen=True, slots=True)
class _Finished:
    file: RemoteFile
    outcome: LedgerEntry | MlpfError | OSError | None


_Report = _Received | _Finished


def list_files(request: DownloadRequest) -> Listing:
    """Return the files that a request means, as their archive lists them.

    Raises:
        ConfigError: no such set, or no file matches. DataError, StorageError: no proper answer.
    """
    entry = published(request.name)
    server = FileServer(request.patience, threading.Event())
    listing = list_set(entry, server, request.mirror)
    pattern = request.pattern or "*"
    files = [file for file in listing.files if fnmatchcase(file.name, pattern)]
    if not files:
        names = ", ".join(file.name for file in listing.files[:20])
        msg = f"expected --pattern of files in {request.name!r} ({names}), found {pattern!r}"
        raise ConfigError(msg)
    return Listing(tuple(files[: request.files]), listing.licence)


def download(request: DownloadRequest) -> DownloadSummary:
    """Download and verify what a request means; what is there already is kept.

    Raises:
        ConfigError: no such set, a folder that cannot be, too little space on its disk.
        DataError: wrong bytes, or nothing at a place. StorageError: no answer in time.
    """
    begun = time.monotonic()
    if "://" in request.out:
        msg = f"expected --out of a local folder, found {request.out!r}; convert can write to s3://"
        raise ConfigError(msg)
    listing = list_files(request)
    folder = Path(request.out)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        ledger = Ledger.read(folder)
        wanted = [file for file in listing.files if not ledger.holds(file, folder)]
        for file in listing.files:
            if file not in wanted:  # a kill may have come between the ledger and the archive
                _drop_archive(folder, file.name, ledger.downloads[file.name])
        _check_space(wanted, folder)
        run = _Run(folder, request, ledger)
        stopped = run.fetch_all(wanted)
    kept = [
        (folder / each.name, each.bytes)
        for file in listing.files
        if run.ledger.holds(file, folder)
        for each in run.ledger.downloads[file.name].kept
    ]
    return DownloadSummary(
        files=tuple(str(path) for path, _ in kept),
        bytes=sum(size for _, size in kept),
        fetched=run.fetched,
        kept=len(listing.files) - len(wanted),
        seconds=time.monotonic() - begun,
        licence=listing.licence,
        stopped=stopped,
    )


class _Run:
    """One run over the files that are wanted."""

    def __init__(self, folder: Path, request: DownloadRequest, ledger: Ledger) -> None:
        self.ledger = ledger
        self.fetched = 0
        self._folder = folder
        self._request = request
        self._stop = threading.Event()
        self._reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self._failures: list[tuple[RemoteFile, MlpfError]] = []

    def fetch_all(self, wanted: Sequence[RemoteFile]) -> bool:
        """Fetch files; return whether the user stopped it.

        Raises:
            MlpfError, OSError: what a worker met.
        """
        waiting: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
        for file in wanted:
            waiting.put(file)
        workers = [
            threading.Thread(target=self._work, args=(waiting,), daemon=True)
            for _ in range(min(self._request.workers, len(wanted)))
        ]
        with _signals(self._stop):
            for worker in workers:
                worker.start()
            try:
                self._gather(wanted, workers)
                stopped = self._stop.is_set()
            finally:
                self._stop.set()
                end = time.monotonic() + GRACE_SECONDS
                for worker in workers:
                    worker.join(max(end - time.monotonic(), 0.0))
        if len(self._failures) > 1:
            names = ", ".join(file.name for file, _ in self._failures)
            first = self._failures[0][1]
            raise DataError(f"{len(self._failures)} files failed ({names}); the first: {first}")
        if self._failures:
            raise self._failures[0][1]
        return stopped

    def _gather(self, wanted: Sequence[RemoteFile], workers: Sequence[threading.Thread]) -> None:
        """Take what the workers report until all is done, or nobody works any more."""
        missing = len(wanted)
        done = sum(part_size(file, self._folder) for file in wanted)
        total = sum(file.bytes for file in wanted)
        grace = GRACE_SECONDS
        with progress(total, "B", "download", done=done) as bar:
            while missing and grace > 0:
                alive = any(worker.is_alive() for worker in workers)
                try:
                    report = self._reports.get(timeout=0.1)
                except queue.Empty:
                    if not alive:
                        return
                    grace -= 0.1 if self._stop.is_set() else 0.0
                    continue
                if isinstance(report, _Received):
                    bar.update(report.bytes)
                else:
                    missing -= 1
                    self._note(report.file, report.outcome)

    def _note(self, file: RemoteFile, outcome: LedgerEntry | MlpfError | OSError | None) -> None:
        """Keep one result: in the ledger at once, so that a kill loses nothing.

        Raises:
            MlpfError, OSError: what makes it pointless to go on.
        """
        if outcome is None:  # stopped, or a mistake of ours whose traceback is on stderr
            return
        if isinstance(outcome, LedgerEntry):
            self.fetched += 1
            self.ledger = self.ledger.with_entry(file.name, outcome)
            self.ledger.write(self._folder)
            _drop_archive(self._folder, file.name, outcome)
        elif isinstance(outcome, DataError):
            LOG.error("%s", outcome)
            self._failures.append((file, outcome))
        else:
            self._stop.set()
            raise outcome

    def _work(self, waiting: "queue.SimpleQueue[RemoteFile]") -> None:
        """Fetch what waits, file after file, until nothing waits or all must stop."""
        server = FileServer(self._request.patience, self._stop)
        while not self._stop.is_set():
            try:
                file = waiting.get_nowait()
            except queue.Empty:
                return
            outcome: LedgerEntry | MlpfError | OSError | None = None
            try:
                outcome = self._fetch(file, server)
            except StoppedError:
                return
            except (MlpfError, OSError) as error:
                outcome = error
            finally:
                self._reports.put(_Finished(file, outcome))

    def _fetch(self, file: RemoteFile, server: FileServer) -> LedgerEntry:
        """Bring one file into the folder, verified, and unpack it if it is an archive."""
        place = self._folder / file.name
        if is_file(file, place):
            self._reports.put(_Received(file.bytes - part_size(file, self._folder)))
        else:
            fetch(file, self._folder, server, lambda count: self._reports.put(_Received(count)))
        if is_archive(file.name):
            kept = unpack(place)
        else:
            kept = (KeptFile.of(self._folder, file.name, file.checksum),)
        return LedgerEntry(url=file.url, bytes=file.bytes, checksum=file.checksum, kept=kept)


def _drop_archive(folder: Path, name: str, entry: LedgerEntry) -> None:
    """Remove an archive whose files are all here."""
    if all(kept.name != name for kept in entry.kept):
        (folder / name).unlink(missing_ok=True)


def _check_space(wanted: Sequence[RemoteFile], folder: Path) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        ConfigError: too little space.
    """
    needed = 0
    for file in wanted:
        there = file.bytes if (folder / file.name).exists() else part_size(file, folder)
        needed += file.bytes - there + (file.bytes if is_archive(file.name) else 0)
    free = shutil.disk_usage(folder).free
    if wanted and needed + DISK_RESERVE > free:
        msg = (
            f"expected {needed / 1e9:.2f} GB free below {str(folder)!r}, found {free / 1e9:.2f} GB;"
            " give --files or --pattern for less, or another --out"
        )
        raise ConfigError(msg)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second download out of the folder; the system forgets the lock of a dead process.

    Raises:
        ConfigError: another download is at work there.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = (
                f"expected no other download into {str(folder)!r}, found one at work; "
                "wait for it, or give another --out"
            )
            raise ConfigError(msg) from error
        except OSError:  # a file system without locks: then nobody watches
            LOG.debug("no locks below %s", folder)
        yield
    finally:
        os.close(handle)


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Take SIGTERM, or one Ctrl-C, as the request to stop; a second Ctrl-C ends at once."""

    def ask(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {}
    with suppress(ValueError):  # not the main thread: signals are not ours
        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

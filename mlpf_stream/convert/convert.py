"""Files in source order, through a pool of processes, into shards; the manifest is written last.

The result does not depend on the number of workers: they only read ahead.
"""

import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from mlpf_stream.columns import DETECTORS, MODE_KINDS, Mode, Role
from mlpf_stream.convert.sources import Source, describe_source, find_sources
from mlpf_stream.convert.tally import Tally
from mlpf_stream.edm4hep.events import ReadCounts, ReadRequest, read_events, sum_counts
from mlpf_stream.errors import ConfigError, DataError
from mlpf_stream.event import Events
from mlpf_stream.manifest import MANIFEST_NAME, Manifest
from mlpf_stream.shards.writer import ShardLimits, ShardWriter
from mlpf_stream.storage import Store, open_store

Part = tuple[Events, ReadCounts]


@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """One conversion, as the command line asks for it."""

    sources: Sequence[str]
    out: str
    mode: Mode = "clusters"
    detector: str = "clic"
    process: str | None = None
    role: Role | None = None
    field: float | None = None
    workers: int = 1
    title: str = "particle-flow dataset"
    max_skipped: float = 0.05
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ConvertSummary:
    """What a conversion made."""

    manifest: Manifest
    url: str
    seconds: float


def convert(request: ConvertRequest) -> ConvertSummary:
    """Convert EDM4HEP files into a dataset.

    Raises:
        ConfigError: unknown detector, no process, or a dataset already there.
        DataError: a file that cannot be read, or more skipped events than allowed.
    """
    started = time.perf_counter()
    if request.detector not in DETECTORS:
        known = ", ".join(DETECTORS)
        raise ConfigError(f"expected a detector of {known}, found {request.detector!r}")
    store = open_store(request.out)
    _make_room(store, overwrite=request.overwrite)
    paths = find_sources(request.sources)
    sources = [describe_source(path, request.process, request.role) for path in paths]
    kinds = MODE_KINDS.get(request.mode, ())
    tally = Tally(DETECTORS[request.detector], request.mode, kinds)
    writer = ShardWriter(store, kinds, ShardLimits())
    with _parts(sources, request) as parts, tqdm(total=len(sources), unit="file") as bar:
        bar.set_description("convert")
        for source, read in zip(sources, parts, strict=True):
            _take(source, read, tally, writer)
            _check_skips(tally, request.max_skipped)
            bar.set_postfix(events=tally.events.total(), refresh=False)
            bar.update()
    if not tally.events:
        msg = f"expected events, found none that can be used; skipped: {dict(tally.skipped)}"
        raise DataError(msg)
    manifest = tally.manifest(request.title, writer.close())
    store.write(MANIFEST_NAME, manifest.to_json().encode())
    return ConvertSummary(manifest, request.out, time.perf_counter() - started)


def _make_room(store: Store, *, overwrite: bool) -> None:
    """Refuse to write into a finished dataset; clear what an unfinished conversion left."""
    if store.exists(MANIFEST_NAME) and not overwrite:
        msg = (
            f"expected no dataset in {store.url!r}, found one; choose another --out, "
            "or give --overwrite to replace it"
        )
        raise ConfigError(msg)
    store.delete(MANIFEST_NAME)
    for name in (*store.list("shards"), *store.list("index")):
        store.delete(name)


def _take(source: Source, read: Sequence[Part], tally: Tally, writer: ShardWriter) -> None:
    """Write one file's events."""
    for events, _ in read:
        if len(events):
            tally.add_events(events, source.role)
            writer.add(events, source.role)
    tally.add_source(source, sum_counts([counts for _, counts in read]))


def _check_skips(tally: Tally, limit: float) -> None:
    """Stop when more than `limit` of the events, and more than one, had to be left out."""
    skipped, seen = tally.skipped.total(), tally.skipped.total() + tally.events.total()
    if skipped > max(1.0, limit * seen):
        msg = (
            f"expected at most {limit:.0%} of the events to be skipped, found {skipped} of {seen} "
            f"({dict(tally.skipped)}); last file {tally.files[-1].name!r}; "
            "look at the files, or raise --max-skipped"
        )
        raise DataError(msg)


@contextmanager
def _parts(sources: Sequence[Source], request: ConvertRequest) -> Iterator[Iterator[list[Part]]]:
    """Read the files in order, `workers` of them at a time."""
    if request.workers <= 1:
        yield (_read(source, request) for source in sources)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(request.workers, mp_context=context) as pool:
        yield _ahead(pool, sources, request)


def _ahead(
    pool: ProcessPoolExecutor, sources: Sequence[Source], request: ConvertRequest
) -> Iterator[list[Part]]:
    """Keep one file more than there are workers under way, so memory stays bounded."""
    waiting: deque[Future[list[Part]]] = deque()
    for source in sources:
        waiting.append(pool.submit(_read, source, request))
        if len(waiting) > request.workers:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(source: Source, request: ConvertRequest) -> list[Part]:
    """Read one file: what a worker does."""
    asked = ReadRequest(
        detector=DETECTORS[request.detector],
        field=request.field,
        process=source.process,
        mode=request.mode,
        file_id=source.file_id,
    )
    return list(read_events(source.path, asked))

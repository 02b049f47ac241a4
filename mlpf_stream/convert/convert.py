"""Files in source order, through a pool of processes, into shards; the manifest is written last.

The result does not depend on the number of workers: they only read ahead.
"""

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from mlpf_stream.columns import DETECTORS, MODE_KINDS, Mode, Role
from mlpf_stream.convert.sources import Source, check_distinct, describe_source, find_sources
from mlpf_stream.convert.tally import Tally
from mlpf_stream.edm4hep.events import ReadCounts, ReadRequest, read_events, sum_counts
from mlpf_stream.errors import ConfigError, DataError
from mlpf_stream.event import Events
from mlpf_stream.manifest import MANIFEST_NAME, Manifest
from mlpf_stream.physics.baseline import reconstruct
from mlpf_stream.progress import progress
from mlpf_stream.shards.writer import ShardLimits, ShardWriter
from mlpf_stream.storage import Store, open_store
from mlpf_stream.workers import in_order

Part = tuple[Events, ReadCounts]

SKIP_SAMPLE = 1000
"""Events that must have been seen before a conversion stops early for too many skips."""


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
        ConfigError: settings without meaning, no process, or a dataset already there.
        DataError: a file that cannot be read or is given twice, or too many skipped events.
    """
    started = time.perf_counter()
    _check(request)
    store = open_store(request.out)
    _check_room(store, overwrite=request.overwrite)
    paths = find_sources(request.sources)
    sources = [describe_source(path, request.process, request.role) for path in paths]
    check_distinct(sources)
    # Only now: a misspelt source must not cost the dataset that it should replace.
    _make_room(store)
    kinds = MODE_KINDS.get(request.mode, ())
    tally = Tally(DETECTORS[request.detector], request.mode, kinds)
    writer = ShardWriter(store, kinds, ShardLimits())
    with (
        closing(in_order(partial(_read, request), sources, request.workers)) as parts,
        progress(len(sources), "file", "convert") as bar,
    ):
        for source, read in zip(sources, parts, strict=True):
            _take(source, read, tally, writer)
            _check_skips(tally, request.max_skipped, SKIP_SAMPLE)
            bar.set_postfix(events=tally.events.total(), refresh=False)
            bar.update()
    if not tally.events:
        msg = f"expected events, found none that can be used; skipped: {dict(tally.skipped)}"
        raise DataError(msg)
    _check_skips(tally, request.max_skipped, 0)
    manifest = tally.manifest(request.title, writer.close())
    store.write(MANIFEST_NAME, manifest.to_json().encode())
    return ConvertSummary(manifest, request.out, time.perf_counter() - started)


def _check(request: ConvertRequest) -> None:
    """Refuse settings that mean nothing, before any work."""
    if request.detector not in DETECTORS:
        known = ", ".join(DETECTORS)
        raise ConfigError(f"expected --detector of {known}, found {request.detector!r}")
    if request.field is not None and (not math.isfinite(request.field) or request.field == 0):
        raise ConfigError(f"expected --field in tesla, not zero, found {request.field}")
    if not 0 <= request.max_skipped <= 1:
        raise ConfigError(f"expected --max-skipped from 0 to 1, found {request.max_skipped}")


def _check_room(store: Store, *, overwrite: bool) -> None:
    """Refuse to write into a finished dataset."""
    if store.exists(MANIFEST_NAME) and not overwrite:
        msg = (
            f"expected no dataset in {store.url!r}, found one; choose another --out, "
            "or give --overwrite to replace it"
        )
        raise ConfigError(msg)


def _make_room(store: Store) -> None:
    """Clear the old dataset, manifest first, or what an unfinished conversion left."""
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


def _check_skips(tally: Tally, limit: float, least: int) -> None:
    """Stop when more than `limit` of at least `least` events had to be left out.

    One event may always be left out, unless `limit` is 0.
    """
    skipped, seen = tally.skipped.total(), tally.skipped.total() + tally.events.total()
    allowed = max(1.0, limit * seen) if limit else 0.0
    if seen >= least and skipped > allowed:
        worst = max(tally.files, key=lambda file: sum(file.skipped.values()))
        msg = (
            f"expected at most {limit:.3%} of the events to be skipped, found {skipped} of {seen} "
            f"({dict(tally.skipped)}), most of them in {worst.name!r}; "
            "look at the files, or raise --max-skipped"
        )
        raise DataError(msg)


def _read(request: ConvertRequest, source: Source) -> list[Part]:
    """Read one file: what a worker does; the rule-based baseline stands in where it holds none."""
    detector = DETECTORS[request.detector]
    asked = ReadRequest(
        detector=detector,
        field=request.field,
        process=source.process,
        mode=request.mode,
        file_id=source.file_id,
        baseline=lambda events: reconstruct(events, detector).particles,
    )
    return list(read_events(source.path, asked))

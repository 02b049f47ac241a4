"""Files in, a dataset out: look at all files, convert them in groups, commit the manifest last.

What comes out is a function of the files and the request: neither the number of workers, nor who
they are, nor a kill and a rerun change a byte.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlpf_stream.columns import default_role
from mlpf_stream.convert.commit import commit, tidy
from mlpf_stream.convert.group import Receipt
from mlpf_stream.convert.job import Job
from mlpf_stream.convert.journal import Journal
from mlpf_stream.convert.launcher import open_launcher
from mlpf_stream.convert.merge import check_fields, merge_parts
from mlpf_stream.convert.plan import Source
from mlpf_stream.convert.quarantine import BadFile, check_bad_files
from mlpf_stream.convert.request import ConvertRequest, ConvertSummary
from mlpf_stream.convert.scan import Scanned
from mlpf_stream.convert.sources import find_sources
from mlpf_stream.errors import ConfigError, DataError, SchemaError
from mlpf_stream.manifest import MANIFEST_NAME, Manifest
from mlpf_stream.shards.index import read_manifest
from mlpf_stream.storage import Store, open_store

SKIP_SAMPLE = 1000
"""Events that must have been seen before a conversion stops early for too many skips."""


def convert(request: ConvertRequest) -> ConvertSummary:
    """Convert EDM4HEP files into a dataset, or into a new version of one.

    Raises:
        ConfigError: settings without meaning, no process, or another dataset already there.
        DataError: too many files that cannot be read, a file given twice, too many skipped events.
        DeviceError: workers were lost; a rerun goes on from there.
    """
    started = time.perf_counter()
    request.check()
    store = open_store(request.out)
    old = _old_manifest(store, request)
    found = find_sources(request.sources)
    out = request.out if "://" in request.out else str(Path(request.out).absolute())
    with open_launcher(request.workers, request.ray, out) as launcher:
        job = Job(request, Journal(store), launcher, out)
        scanned = job.scan(found, _known(request, old))
        identity = request.identity([(file.name, file.file_id) for file in scanned])
        fresh = [file for file in scanned if file.look or file.bad]
        if old is not None and (note := _why_not(request, old, identity, fresh)):
            tidy(store, old)
            seconds = time.perf_counter() - started
            return ConvertSummary(old, request.out, seconds, known=len(scanned), note=note)
        base = old if request.append else None
        bad = [file.bad for file in fresh if file.bad]
        check_bad_files(bad, request.max_bad_files)
        tasks = job.groups(_sources(request, fresh, base), base.version + 1 if base else 1)
        receipts = job.finished(tasks)
        resumed, before = len(receipts), _events(receipts.values())
        parts, bad = _collect(request, job.convert(tasks, receipts), bad)
    order = {file.path: number for number, file in enumerate(scanned)}
    bad.sort(key=lambda file: order[file.path])
    check_bad_files(bad, request.max_bad_files)
    manifest = _manifest(request, base, parts, bad)
    manifest = manifest.model_copy(update={"requests": (*manifest.requests, identity)})
    commit(store, manifest, base)
    return ConvertSummary(
        manifest=manifest,
        url=request.out,
        seconds=time.perf_counter() - started,
        converted=sum(part.events for part in parts) - before,
        resumed=resumed,
        known=len(scanned) - len(fresh),
    )


def _old_manifest(store: Store, request: ConvertRequest) -> Manifest | None:
    """Return the dataset that is there; None if there is none, or if it is to go unread.

    Raises:
        ConfigError: events of another mode or detector cannot be added to it.
        SchemaError: it is of another version, and not to be replaced.
    """
    if not store.exists(MANIFEST_NAME):
        return None
    try:
        old = read_manifest(store)
    except SchemaError:
        if request.overwrite:
            return None
        raise
    there, asked = (old.mode, old.detector), (request.mode, request.detector)
    if request.append and there != asked:
        msg = (
            f"expected --mode {old.mode} --detector {old.detector} as in {store.url!r}, found "
            f"--mode {request.mode} --detector {request.detector}; append what is alike"
        )
        raise ConfigError(msg)
    return old


def _known(request: ConvertRequest, old: Manifest | None) -> Sequence[str] | None:
    """Return the identities of the files that need no look; None if none needs one."""
    if old is None or request.overwrite:
        return ()
    return [file.file_id for file in old.files] if request.append else None


def _why_not(
    request: ConvertRequest, old: Manifest, identity: str, fresh: Sequence[Scanned]
) -> str:
    """Return why there is nothing to do, if there is nothing.

    Raises:
        ConfigError: another dataset is there.
    """
    if request.append:
        return "" if fresh else "nothing new: the dataset has all of these files"
    if request.overwrite:
        return ""
    if identity in old.requests:
        return "nothing to do: the dataset is there, made of these files by the same request"
    msg = (
        f"expected no dataset in {request.out!r}, found one of another request; choose another "
        "--out, or give --append to add files to it, or --overwrite to replace it"
    )
    raise ConfigError(msg)


def _sources(
    request: ConvertRequest, fresh: Sequence[Scanned], base: Manifest | None
) -> list[Source]:
    """Return the files to convert, each with its role.

    Raises:
        ConfigError: an option names a process that is not there, or a role is not the dataset's.
        DataError: a file is given twice, or they are of different magnetic fields.
    """
    roles = {entry.name: entry.role for entry in base.processes} if base else {}
    sources = []
    for file in fresh:
        if (look := file.look) is None:
            continue
        role = request.roles.get(look.process, request.role)
        chosen = role or roles.get(look.process) or default_role(look.process)
        if roles.setdefault(look.process, chosen) != chosen:
            msg = f"expected role {roles[look.process]!r} for {look.process!r} as in the dataset"
            raise ConfigError(f"{msg}, found {chosen!r}; one process has one role")
        sources.append(
            Source(path=file.path, file_id=file.file_id, bytes=file.bytes, role=chosen, look=look)
        )
    for option, names in (("--weight", request.weights), ("--role", request.roles)):
        for name in names:
            if name not in roles:
                known = ", ".join(sorted(roles)) or "none"
                raise ConfigError(f"expected {option} of a process among {known}, found {name!r}")
    _check_distinct(sources)
    fields = {(round(source.look.field, 2), source.path) for source in sources}
    check_fields(fields | ({(round(base.field, 2), request.out)} if base else set()))
    return sources


def _check_distinct(sources: Sequence[Source]) -> None:
    """Refuse two files of one identity: their events would share their keys."""
    known: dict[str, Source] = {}
    for source in sources:
        other = known.setdefault(source.file_id, source)
        if other is not source:
            msg = (
                f"expected files of different content, found {source.path!r} to be a copy of "
                f"{other.path!r}; leave one of them out"
            )
            raise DataError(msg)


def _collect(
    request: ConvertRequest, receipts: Iterable[Receipt], bad: Sequence[BadFile]
) -> tuple[list[Manifest], list[BadFile]]:
    """Return the parts of all groups, in order, and all bad files."""
    parts, bad = [], list(bad)
    for receipt in receipts:
        bad.extend(receipt.bad)
        if receipt.part is not None:
            parts.append(receipt.part)
            _check_skips(parts, request.max_skipped, SKIP_SAMPLE)
    _check_skips(parts, request.max_skipped, 0)
    return parts, bad


def _events(receipts: Iterable[Receipt]) -> int:
    return sum(receipt.part.events for receipt in receipts if receipt.part)


def _manifest(
    request: ConvertRequest,
    base: Manifest | None,
    parts: Sequence[Manifest],
    bad: Sequence[BadFile],
) -> Manifest:
    """Return the manifest of the old dataset, if it grows, and everything converted.

    Raises:
        DataError: there is no event.
    """
    if not any(part.events for part in (*parts, *([base] if base else []))):
        skipped = sum((Counter(part.skipped) for part in parts), Counter())
        msg = f"expected events, found none that can be used; skipped: {dict(skipped)}"
        raise DataError(msg)
    merged = merge_parts([*([base] if base else []), *parts])
    here = {file.file_id for file in merged.files} | {file.file_id for file in bad}
    kept = [entry for entry in merged.quarantined if entry.file_id not in here]
    processes = tuple(
        entry.model_copy(update={"weight": request.weights.get(entry.name, entry.weight)})
        for entry in merged.processes
    )
    version = base.version + 1 if base else 1
    return request.card.applied(merged).model_copy(
        update={
            "version": version,
            "processes": processes,
            "quarantined": (*kept, *(file.entry for file in bad)),
        }
    )


def _check_skips(parts: Sequence[Manifest], limit: float, least: int) -> None:
    """Stop when more than `limit` of at least `least` events had to be left out.

    One event may always be left out, unless `limit` is 0.
    """
    skipped = sum((Counter(part.skipped) for part in parts), Counter())
    seen = skipped.total() + sum(part.events for part in parts)
    allowed = max(1.0, limit * seen) if limit else 0.0
    if seen >= least and skipped.total() > allowed:
        files = [file for part in parts for file in part.files]
        worst = max(files, key=lambda file: sum(file.skipped.values()))
        msg = (
            f"expected at most {limit:.3%} of the events to be skipped, found {skipped.total()} of "
            f"{seen} ({dict(skipped)}), most of them in {worst.name!r}; "
            "look at the files, or raise --max-skipped"
        )
        raise DataError(msg)

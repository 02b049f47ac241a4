"""ROOT file to events with targets: the public face of this package.

Shape letters: E events, R element rows. Units: GeV, mm, ns, T.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import numpy as np

from mlpf_stream.columns import CLUSTER, FIELD_TOLERANCE, TRACK, Detector, Mode
from mlpf_stream.edm4hep.accounts import TruthCounts
from mlpf_stream.edm4hep.candidates import FIELD_LEAVES, measure_field
from mlpf_stream.edm4hep.hits import tracker_sources
from mlpf_stream.edm4hep.leaves import HIT_LINKS, TRACKER_HITS
from mlpf_stream.edm4hep.links import TruthSource, truth_source
from mlpf_stream.edm4hep.reader import EventFile, open_events
from mlpf_stream.edm4hep.selection import needed_leaves
from mlpf_stream.edm4hep.step import (
    SKIP_REASONS,
    Baseline,
    SkipReason,
    Step,
    StepRequest,
    convert_step,
)
from mlpf_stream.errors import ConfigError, DataError, EventError, SchemaError
from mlpf_stream.event import I64, Events

FieldSource = Literal["option", "file", "detector"]

FIELD_EVENTS: Final = 1000
"""Events that measure the field."""
_PROCESS: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """How to read one file; `field` [T] is None where the file or the detector decides.

    `baseline` makes the candidates of a file that stores none, from its tracks and clusters in
    whatever mode; without it such events have no candidates. `tracker_hits` makes those of the
    tracker elements of hit mode too.
    """

    detector: Detector
    field: float | None
    process: str
    mode: Mode
    file_id: str
    baseline: Baseline | None = None
    tracker_hits: bool = False


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What one step of reading found; all but `skipped` and `events_read` count kept events.

    `clusters_shared` have two particles that each gave 10 % of the linked energy,
    `clusters_without_target` host none, `unlinked_*` have no truth link at all; in hit mode, hits
    stand where these names say clusters. `dangling_hits` belong to clusters but are not stored;
    `dropped_energy` in GeV; `field` in T; `has_candidates` tells whether the file itself holds a
    baseline.
    """

    events_read: int
    events: int
    skipped: Mapping[SkipReason, int]
    tracks: int
    clusters: int
    targets: int
    merged: int
    dropped: int
    dropped_energy: float
    unlinked_tracks: int
    unlinked_clusters: int
    clusters_shared: int
    clusters_without_target: int
    dangling_hits: int
    truth_source: TruthSource
    missing_features: tuple[str, ...]
    field: float
    field_source: FieldSource
    has_candidates: bool


def read_events(path: str, request: ReadRequest) -> Iterator[tuple[Events, ReadCounts]]:
    """Return the events of a file in order, in steps, each with what was found.

    Keys are PROCESS-FILEID-ENTRY. Events that cannot be used are skipped and counted. The file is
    checked before this returns, its events while they are read.

    Raises:
        ConfigError: the process name cannot be part of a key, or the mode is not available yet.
        MissingDataError: no file is at that place.
        SchemaError: the file is not one after full reconstruction, or lacks truth links or hits.
        EventError: an event contradicts itself.
        DataError: the file is not ROOT, truncated or corrupt, or was made with another field.
    """
    if not _PROCESS.fullmatch(request.process):
        raise ConfigError(
            f"expected a process name of letters, digits, '-' and '_', found {request.process!r}; "
            "give one with --process"
        )
    with ExitStack() as stack:
        file = stack.enter_context(open_events(path))
        check_mode(file, request.detector, request.mode)
        if request.tracker_hits:
            _check_tracker(file, request)
        field, source = choose_field(file, request.detector, request.field)
        return _steps(stack.pop_all(), file, request, (field, source))


def choose_field(
    file: EventFile, detector: Detector, field: float | None
) -> tuple[float, FieldSource]:
    """Return the solenoid field [T] of a file and who decided it.

    Raises:
        DataError: `field`, or the detector's without one, differs from the field that the file's
            candidates were made with.
    """
    measured = measure_field(file.first(FIELD_LEAVES, FIELD_EVENTS))
    expected = detector.field if field is None else abs(field)
    if measured is not None and abs(expected - measured) > FIELD_TOLERANCE * measured:
        origin = f"of detector {detector.name}" if field is None else "as asked for"
        raise DataError(
            f"expected a field of {expected:.3f} T {origin}, found {measured:.3f} T from the "
            f"candidates of {file.path!r}; give the detector of the file, or with --field the "
            "field of one that differs in nothing else"
        )
    if field is None:
        return (detector.field, "detector") if measured is None else (measured, "file")
    return field, "option"


def sum_counts(parts: Sequence[ReadCounts]) -> ReadCounts:
    """Add up the counts of steps or files; what is no number is taken from the first part."""
    total = parts[0]
    numbers = [name for name in _summed() if name != "skipped"]
    skipped = {reason: sum(part.skipped[reason] for part in parts) for reason in SKIP_REASONS}
    sums = {name: sum(getattr(part, name) for part in parts) for name in numbers}
    missing = tuple(dict.fromkeys(name for part in parts for name in part.missing_features))
    return replace(total, skipped=skipped, missing_features=missing, **sums)


def _summed() -> list[str]:
    """Return the names of the counts that add up."""
    fixed = {"truth_source", "missing_features", "field", "field_source", "has_candidates"}
    return [item.name for item in fields(ReadCounts) if item.name not in fixed]


def check_mode(file: EventFile, detector: Detector, mode: Mode) -> None:
    """Refuse hit mode where hits or their truth are not stored.

    Raises:
        SchemaError: names what the file lacks.
    """
    if mode != "hits":
        return
    if not set(detector.calorimeter_hits) & set(file.facts.hits):
        raise SchemaError(
            f"expected calorimeter hit collections for mode 'hits', found none in {file.path!r}; "
            "use mode 'clusters', or a file that kept its hits"
        )
    if f"{HIT_LINKS}.weight" not in file:
        raise SchemaError(
            f"expected {HIT_LINKS!r} for mode 'hits', found none in {file.path!r}: hits have no "
            "truth; keep these links when the file is made, or use mode 'clusters'"
        )


def _check_tracker(file: EventFile, request: ReadRequest) -> None:
    """Refuse tracker hits in another mode, where none are stored, or where they have no truth."""
    if request.mode != "hits":
        raise ConfigError(f"expected mode 'hits' for tracker hits, found {request.mode!r}")
    stored = [source.name for source in tracker_sources(file, request.detector)]
    if not stored:
        raise SchemaError(
            f"expected tracker hit collections of detector {request.detector.name}, found none in "
            f"{file.path!r}; leave tracker hits out, or give a file that kept them"
        )
    for name in stored:
        relation, simulated = TRACKER_HITS[name]
        for leaf in (f"_{relation}_to.index", f"_{simulated}_particle.index"):
            if leaf not in file:
                raise SchemaError(
                    f"expected {leaf!r} for the truth of tracker hits {name!r}, found none in "
                    f"{file.path!r}; leave tracker hits out, or keep these when the file is made"
                )


def _steps(
    stack: ExitStack, file: EventFile, request: ReadRequest, field: tuple[float, FieldSource]
) -> Iterator[tuple[Events, ReadCounts]]:
    """Read, convert and count one step after the other; `stack` closes the file."""
    baseline = None if file.facts.has_candidates else request.baseline
    asked = StepRequest(
        request.detector, request.mode, field[0], baseline is not None, request.tracker_hits
    )
    first, truth = 0, truth_source(file, request.detector)
    if request.mode == "hits":
        truth = "hits"
    with stack:
        for collections in file.steps(needed_leaves(file, asked)):
            try:
                step = convert_step(collections, asked)
            except EventError as error:
                raise EventError(error.where, first + error.entry, error.reason) from error
            entries = range(first, first + collections.events)
            keys = [f"{request.process}-{request.file_id}-{entry}" for entry in entries]
            counts = _counts(step, truth, field, has_candidates=file.facts.has_candidates)
            first += collections.events
            # Views of a block of the file: none is left when the next one is read.
            del collections
            yield step.events(keys, baseline), counts
            del step


def _counts(
    step: Step, truth: TruthSource, field: tuple[float, FieldSource], *, has_candidates: bool
) -> ReadCounts:
    """Count what the kept events hold."""
    kept = step.kept
    sums = {
        item.name: getattr(step.targets.counts, item.name)[kept].sum().item()
        for item in fields(TruthCounts)
    }
    arrays = step.elements.arrays
    lengths = {name: int(np.diff(part.offsets)[kept].sum()) for name, part in arrays.items()}
    return ReadCounts(
        events_read=len(step.reason_E),
        events=len(kept),
        skipped={reason: int((step.reason_E == reason).sum()) for reason in SKIP_REASONS},
        tracks=lengths.pop(TRACK.name),
        clusters=sum(lengths.values()),
        dangling_hits=_dangling(step, kept),
        truth_source=truth,
        missing_features=step.elements.missing_features,
        field=field[0],
        field_source=field[1],
        has_candidates=has_candidates,
        **sums,
    )


def _dangling(step: Step, kept: I64) -> int:
    """Return the hits of clusters that are not stored, where clusters are the elements."""
    clusters = step.elements.arrays.get(CLUSTER.name)
    if clusters is None:
        return 0
    dangling = np.concatenate([np.zeros(1, np.int64), np.cumsum(step.elements.dangling_R)])
    return int(np.diff(dangling[clusters.offsets])[kept].sum())

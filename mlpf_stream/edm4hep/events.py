"""ROOT file to events with targets: the public face of this package.

Shape letters: E events, R element rows. Units: GeV, mm, ns, T.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import numpy as np

from mlpf_stream.columns import FIELD_TOLERANCE, MODE_KINDS, TRACK, Detector, Mode
from mlpf_stream.edm4hep.accounts import TruthCounts
from mlpf_stream.edm4hep.candidates import (
    FIELD_LEAVES,
    build_candidates,
    has_candidates,
    measure_field,
)
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.elements import ElementSet, build_elements
from mlpf_stream.edm4hep.links import TruthSource, truth_source
from mlpf_stream.edm4hep.reader import probe, read_collections, read_leaves
from mlpf_stream.edm4hep.targets import Targets, build_targets
from mlpf_stream.errors import ConfigError, DataError, EventError, SchemaError
from mlpf_stream.event import I64, Bool, Elements, Events, Particles

FieldSource = Literal["option", "file", "detector"]
SkipReason = Literal["empty", "non_finite", "no_target"]
Baseline = Callable[[Events], Particles]
"""Candidates of events that hold tracks and clusters, and nothing of the truth."""
SKIP_REASONS: Final[tuple[SkipReason, ...]] = ("empty", "non_finite", "no_target")
"""Why an event is left out: no elements, a number that is not finite, no visible particle."""

FIELD_EVENTS: Final = 1000
"""Events that measure the field."""
_PROCESS: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """How to read one file; `field` [T] is None where the file or the detector decides.

    `baseline` makes the candidates of a file that stores none, from its tracks and clusters in
    whatever mode; without it such events have no candidates.
    """

    detector: Detector
    field: float | None
    process: str
    mode: Mode
    file_id: str
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What one step of reading found; all but `skipped` and `events_read` count kept events.

    `clusters_shared` have two particles that each gave 10 % of the linked energy,
    `clusters_without_target` host none, `unlinked_*` have no truth link at all; `dangling_hits`
    belong to clusters but are not stored; `dropped_energy` in GeV; `field` in T;
    `has_candidates` tells whether the file itself holds a baseline.
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
    _check_mode(path, request.mode)
    field, source = choose_field(path, request.detector, request.field)
    return _steps(path, request, field, source)


def choose_field(path: str, detector: Detector, field: float | None) -> tuple[float, FieldSource]:
    """Return the solenoid field [T] of a file and who decided it.

    Raises:
        DataError: `field`, or the detector's without one, differs from the field that the file's
            candidates were made with.
    """
    measured = measure_field(read_leaves(path, FIELD_LEAVES, FIELD_EVENTS))
    expected = detector.field if field is None else abs(field)
    if measured is not None and abs(expected - measured) > FIELD_TOLERANCE * measured:
        origin = f"of detector {detector.name}" if field is None else "as asked for"
        raise DataError(
            f"expected a field of {expected:.3f} T {origin}, found {measured:.3f} T from the "
            f"candidates of {path!r}; give the detector of the file, or with --field the field of "
            "one that differs in nothing else"
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


def _check_mode(path: str, mode: Mode) -> None:
    """Refuse a mode whose inputs are not stored, or that cannot be made yet."""
    facts = probe(path)
    if mode in MODE_KINDS:
        return
    if not facts.has_hits:
        raise SchemaError(
            f"expected calorimeter hit collections for mode {mode!r}, found none in {path!r}; "
            "use mode 'clusters', or a file that kept its hits"
        )
    raise ConfigError(f"mode {mode!r} comes with a later version; use mode 'clusters'")


def _steps(
    path: str, request: ReadRequest, field: float, source: FieldSource
) -> Iterator[tuple[Events, ReadCounts]]:
    """Read, convert and count one step after the other."""
    first = 0
    for collections in read_collections(path):
        try:
            step = _convert(collections, request.detector, field)
        except EventError as error:
            raise EventError(error.where, first + error.entry, error.reason) from error
        entries = range(first, first + collections.events)
        keys = tuple(f"{request.process}-{request.file_id}-{entry}" for entry in entries)
        kept = np.flatnonzero(step.reason_E == "")
        counts = _counts(step, kept, (truth_source(collections, request.detector), field, source))
        events = step.events(keys).select(kept)
        if request.baseline is not None and not step.has_candidates:
            events = replace(events, candidates=request.baseline(step.bare(keys).select(kept)))
        yield events, counts
        first += collections.events


@dataclass(frozen=True, slots=True)
class _Step:
    """Everything about the events of one step, and why each is skipped ("" for kept)."""

    elements: ElementSet
    targets: Targets
    candidates: Particles
    has_candidates: bool
    reason_E: np.ndarray[tuple[int], np.dtype[np.str_]]

    def events(self, keys: tuple[str, ...]) -> Events:
        """Join features and targets."""
        elements = {}
        for name, arrays in self.elements.arrays.items():
            truth = self.targets.arrays[name]
            elements[name] = Elements(
                arrays.x_RF,
                truth.class_R,
                truth.charge_R,
                truth.momentum_RM,
                truth.particle_R,
                arrays.offsets,
            )
        return Events(keys, elements, self.targets.generator, self.candidates)

    def bare(self, keys: tuple[str, ...]) -> Events:
        """Return tracks and clusters without their truth."""
        elements = {
            name: Elements.bare(arrays.x_RF, arrays.offsets)
            for name, arrays in self.elements.arrays.items()
        }
        nobody = Particles.empty(len(keys))
        return Events(keys, elements, nobody, nobody)


def _convert(collections: Collections, detector: Detector, field: float) -> _Step:
    """Convert all events of one step and decide which to keep."""
    elements = build_elements(collections, detector, field)
    omega_R = elements.arrays[TRACK.name].x_RF[:, TRACK.index("omega")]
    track_charge_R = np.sign(np.nan_to_num(omega_R) * field).astype(np.int8)
    targets = build_targets(collections, detector, track_charge_R)
    candidates = build_candidates(collections)
    lengths = [np.diff(arrays.offsets) for arrays in elements.arrays.values()]
    finite_E = targets.finite_E & _finite(candidates.momentum_PM, candidates.offsets)
    for arrays in elements.arrays.values():
        finite_E = finite_E & _finite(arrays.x_RF, arrays.offsets)
    reason_E = np.full(collections.events, "", dtype="<U16")
    reason_E[targets.counts.targets == 0] = "no_target"
    reason_E[~finite_E] = "non_finite"
    reason_E[np.sum(lengths, axis=0) == 0] = "empty"
    return _Step(elements, targets, candidates, has_candidates(collections), reason_E)


def _finite(rows: np.ndarray[tuple[int, int], np.dtype[np.float32]], offsets: I64) -> Bool:
    """Return which events have only finite numbers in their rows."""
    bad = np.concatenate([np.zeros(1, np.int64), np.cumsum(~np.isfinite(rows).all(axis=1))])
    finite_E: Bool = bad[offsets[1:]] == bad[offsets[:-1]]
    return finite_E


def _counts(step: _Step, kept: I64, facts: tuple[TruthSource, float, FieldSource]) -> ReadCounts:
    """Count what the kept events hold."""
    truth, field, field_source = facts
    offsets = step.elements.arrays["cluster"].offsets
    dangling = np.concatenate([np.zeros(1, np.int64), np.cumsum(step.elements.dangling_R)])
    dangling_E = np.diff(dangling[offsets])
    sums = {
        item.name: getattr(step.targets.counts, item.name)[kept].sum().item()
        for item in fields(TruthCounts)
    }
    lengths = {name: np.diff(part.offsets)[kept] for name, part in step.elements.arrays.items()}
    return ReadCounts(
        events_read=len(step.reason_E),
        events=len(kept),
        skipped={reason: int((step.reason_E == reason).sum()) for reason in SKIP_REASONS},
        tracks=int(lengths["track"].sum()),
        clusters=int(lengths["cluster"].sum()),
        dangling_hits=int(dangling_E[kept].sum()),
        truth_source=truth,
        missing_features=step.elements.missing_features,
        field=field,
        field_source=field_source,
        has_candidates=step.has_candidates,
        **sums,
    )

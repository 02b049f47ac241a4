"""One step of reading: collections of some events to elements, targets and candidates.

Shape letters: E events, R element rows. Units: GeV, mm, ns, T.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from mlpf_stream.columns import TRACK, Detector, Mode
from mlpf_stream.edm4hep.candidates import build_candidates
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.edm4hep.elements import ElementSet, build_elements
from mlpf_stream.edm4hep.hits import Cells
from mlpf_stream.edm4hep.targets import Targets, build_targets
from mlpf_stream.event import F32, I32, I64, Bool, Elements, Events, Particles

_EXPONENT: Final = np.int32(0x7F800000)

SkipReason = Literal["empty", "non_finite", "no_target"]
SKIP_REASONS: Final[tuple[SkipReason, ...]] = ("empty", "non_finite", "no_target")
"""Why an event is left out: no elements, a number that is not finite, no visible particle."""
Baseline = Callable[[Events], Particles]
"""Candidates of events that hold tracks and clusters, and nothing of the truth."""


@dataclass(frozen=True, slots=True)
class StepRequest:
    """How to convert a step; `field` in T; `with_baseline` if a baseline will see its events.

    With `tracker_hits`, those of the tracker are elements too.
    """

    detector: Detector
    mode: Mode
    field: float
    with_baseline: bool
    tracker_hits: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Everything about the events of one step, and why each is skipped ("" for kept).

    `seen` holds the tracks and clusters that a baseline may see.
    """

    elements: ElementSet
    seen: ElementSet
    targets: Targets
    candidates: Particles
    reason_E: np.ndarray[tuple[int], np.dtype[np.str_]]

    @property
    def kept(self) -> I64:
        """Numbers of the events that are kept."""
        return np.flatnonzero(self.reason_E == "").astype(np.int64)

    def events(self, keys: Sequence[str], baseline: Baseline | None) -> Events:
        """Join features, targets and candidates of the kept events; `keys` are those of all.

        With a `baseline`, its candidates take the place of those of the file.
        """
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
        events = Events(tuple(keys), elements, self.targets.generator, self.candidates)
        events = self._select(events)
        return events if baseline is None else replace(events, candidates=baseline(self.bare(keys)))

    def bare(self, keys: Sequence[str]) -> Events:
        """Return tracks and clusters of the kept events without anything of the truth."""
        nobody = Particles.empty(len(keys))
        elements = {
            name: Elements.bare(arrays.x_RF, arrays.offsets)
            for name, arrays in self.seen.arrays.items()
        }
        return self._select(Events(tuple(keys), elements, nobody, nobody))

    def _select(self, events: Events) -> Events:
        """Return the kept events."""
        kept = self.kept
        return events if len(kept) == len(events) else events.select(kept)


def convert_step(collections: Collections, request: StepRequest) -> Step:
    """Convert all events of one step and decide which to keep.

    Raises:
        SchemaError: the collections lack truth links or what every reconstructed file has.
        EventError: an event contradicts itself.
    """
    detector, mode, field = request.detector, request.mode, request.field
    cells = Cells(collections, detector, tracker_hits=request.tracker_hits)
    elements = build_elements(collections, detector, field, mode, cells)
    seen = elements
    if request.with_baseline and mode != "clusters":
        seen = build_elements(collections, detector, field, cells=cells)
    omega_R = elements.arrays[TRACK.name].x_RF[:, TRACK.index("omega")]
    track_charge_R = np.sign(np.nan_to_num(omega_R) * field).astype(np.int8)
    targets = build_targets(collections, detector, track_charge_R, mode, cells)
    candidates = build_candidates(collections)
    finite_E = targets.finite_E & _finite(candidates.momentum_PM, candidates.offsets)
    for arrays in {id(x): x for x in (*elements.arrays.values(), *seen.arrays.values())}.values():
        finite_E = finite_E & _finite(arrays.x_RF, arrays.offsets)
    lengths = [np.diff(arrays.offsets) for arrays in elements.arrays.values()]
    reason_E = np.full(collections.events, "", dtype="<U16")
    reason_E[targets.counts.targets == 0] = "no_target"
    reason_E[~finite_E] = "non_finite"
    reason_E[np.sum(lengths, axis=0) == 0] = "empty"
    return Step(elements, seen, targets, candidates, reason_E)


def _finite(rows: F32, offsets: I64) -> Bool:
    """Return which events have only finite numbers in their rows."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.int32)
    finite_E: Bool = _all_finite(bits, offsets)
    return finite_E


@compiled()
def _all_finite(bits_RF: I32, offsets: I64) -> Bool:
    """Return which events have no number whose exponent is all ones, in whole-number arithmetic."""
    finite_E = np.ones(len(offsets) - 1, np.bool_)
    flat = bits_RF.reshape(-1)
    width = bits_RF.shape[1]
    for event in range(len(finite_E)):
        largest = np.int32(0)
        for bits in flat[offsets[event] * width : offsets[event + 1] * width]:
            largest = max(largest, bits & _EXPONENT)
        finite_E[event] = largest < _EXPONENT
    return finite_E

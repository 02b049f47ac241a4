"""`mlpf inspect --physics`: every gate judged on every process of a sample."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import numpy as np

from mlpf_stream.columns import CLUSTER
from mlpf_stream.errors import DataError
from mlpf_stream.event import I64, Events
from mlpf_stream.inspect.bookkeeping import number_measures, truth_measures, unit_measures
from mlpf_stream.inspect.calorimetry import calorimetry_measures
from mlpf_stream.inspect.gates import GATES, Gate
from mlpf_stream.inspect.measures import (
    RESAMPLINGS,
    SEED,
    Estimate,
    Measure,
    Values,
    join,
)
from mlpf_stream.inspect.outcome import outcome_measures
from mlpf_stream.inspect.ownership import Ownership
from mlpf_stream.inspect.sample import Books, Chunk, Sample
from mlpf_stream.inspect.tracking import class_measures, tracking_measures
from mlpf_stream.physics.response import resample_events
from mlpf_stream.progress import progress

LEAST_ENTRIES: Final = 10
LEAST_EVENTS: Final = 5
"""What a gate that is not exact must rest on to be judged."""
SIGMAS: Final = 3.0
"""A gate fails if its value is farther outside the range than this many standard errors."""
ALL: Final = "all"
"""Process of gates that are about all events together."""

Verdict = Literal["pass", "fail", "not judged"]
VERDICTS: Final[tuple[Verdict, ...]] = ("pass", "fail", "not judged")


@dataclass(frozen=True, slots=True)
class Judgement:
    """One gate judged on one process; `error` is statistical, `events` how many took part."""

    name: str
    process: str
    value: float | None
    error: float | None
    low: float
    high: float
    entries: int
    events: int
    verdict: Verdict
    why: str

    @property
    def label(self) -> str:
        """Return how the failure of this gate is called."""
        return f"{self.name} ({self.process}: {self.value:.4g})"


@dataclass(frozen=True, slots=True)
class Judgements:
    """All gates on all processes, and how many events they looked at."""

    gates: tuple[Judgement, ...]
    events: int

    @property
    def failed(self) -> tuple[Judgement, ...]:
        """The gates that failed."""
        return tuple(gate for gate in self.gates if gate.verdict == "fail")

    def count(self, verdict: Verdict) -> int:
        """Return how many gates have this verdict."""
        return sum(gate.verdict == verdict for gate in self.gates)

    @property
    def passed(self) -> bool:
        """Whether some gate was judged and none failed."""
        return not self.failed and self.count("pass") > 0

    def as_json(self) -> dict[str, object]:
        """Return everything as plain values."""
        return {
            "passed": self.passed,
            "judged": self.count("pass") + self.count("fail"),
            "failed": self.count("fail"),
            "not_judged": self.count("not judged"),
            "events": self.events,
            "sigmas": SIGMAS,
            "gates": [asdict(gate) for gate in self.gates],
        }


@dataclass(slots=True)
class _Looked:
    """Sums of what was looked at: events, energy of the generator [GeV], hits of clusters."""

    events: int = 0
    energy: float = 0.0
    hits: float = 0.0

    def add(self, events: Events) -> None:
        """Count a chunk in."""
        self.events += len(events)
        self.energy += float(events.generator.column("energy").sum(dtype=np.float64))
        if CLUSTER.name in events.elements:
            hits_R = events.elements[CLUSTER.name].x_RF[:, CLUSTER.index("num_hits")]
            self.hits += float(hits_R.sum(dtype=np.float64))


def judge(sample: Sample, events: int) -> Judgements:
    """Measure a sample of about `events` events chunk by chunk, then judge all gates by process.

    Raises:
        DataError: the sample cannot be read. MissingExtraError: jets need fastjet.
    """
    measured: dict[str, list[dict[str, Measure]]] = {}
    looked = _Looked()
    with progress(events, "event", "physics") as bar:
        for chunk in sample.chunks():
            if len(chunk.events):
                measured.setdefault(chunk.process, []).append(_measure(chunk))
                looked.add(chunk.events)
                bar.update(len(chunk.events))
    found: list[Judgement] = []
    for process, parts in measured.items():
        found += _judge_process(process, join(parts))
    found += _judge_process(ALL, _book_measures(sample.books, looked))
    return Judgements(tuple(found), looked.events)


def check(judgements: Judgements) -> None:
    """Do nothing if all judged gates passed.

    Raises:
        DataError: a gate failed, or none could be judged.
    """
    failed = judgements.failed
    if failed:
        names = ", ".join(gate.label for gate in failed[:6])
        more = f" and {len(failed) - 6} more" if len(failed) > 6 else ""
        raise DataError(
            f"expected every physics gate to pass, found {len(failed)} that failed: {names}{more}; "
            "look at their ranges in the table, and at some events with 'mlpf display'"
        )
    if not judgements.passed:
        raise DataError(
            f"expected events to judge, found {judgements.events}, too few for any gate; "
            "convert more events"
        )


def _measure(chunk: Chunk) -> dict[str, Measure]:
    """Measure some events; those with a number that is not finite are measured no further."""
    measured, sound = number_measures(chunk.events)
    if len(sound) < len(chunk.events):
        chunk = Chunk(chunk.process, chunk.events.select(sound), chunk.detector, chunk.field)
    owned = Ownership.of(chunk)
    for measure in (
        unit_measures,
        truth_measures,
        tracking_measures,
        class_measures,
        calorimetry_measures,
        outcome_measures,
    ):
        measured |= measure(owned)
    return measured


def _book_measures(books: Books, looked: _Looked) -> dict[str, Measure]:
    """Return what the counts of the truth tell, over sums of what was looked at, scaled up."""
    if not looked.events:
        return {}
    scale, truth, events = books.events / looked.events, books.truth, books.events
    particles = truth.merged_particles + books.targets
    made: dict[str, Measure] = {
        "dropped_energy": _counted(
            truth.dropped_energy, scale * looked.energy, truth.dropped_particles, events
        ),
        "merged_particles": _counted(
            truth.merged_particles, particles, truth.merged_particles, events
        ),
    }
    if books.truth_source == "hits" and looked.hits:
        made["dangling_hits"] = _counted(
            truth.dangling_hits, scale * looked.hits, truth.dangling_hits, events
        )
    return made


def _counted(part: float, whole: float, count: int, events: int) -> Estimate:
    """Return part / whole, where `count` entries made the part."""
    value = part / whole if whole > 0 else np.nan
    return Estimate(value, value / np.sqrt(count + 1), int(whole), events)


def _judge_process(process: str, measured: Mapping[str, Measure]) -> Iterator[Judgement]:
    """Judge the gates whose measure there is."""
    draws: dict[int, I64] = {}
    for gate in GATES:
        measure = measured.get(gate.measure)
        if measure is None:
            continue
        if measure.events not in draws:
            draws[measure.events] = resample_events(measure.events, RESAMPLINGS, SEED)
        yield _judge(gate, process, _estimate(gate, measure, draws[measure.events]))


def _estimate(gate: Gate, measure: Measure, draws_BE: I64) -> Estimate:
    if isinstance(measure, Estimate):
        return measure
    if isinstance(measure, Values):
        return measure.iqr(draws_BE) if gate.statistic == "iqr" else measure.median(draws_BE)
    return measure.mean(draws_BE)


def _judge(gate: Gate, process: str, found: Estimate) -> Judgement:
    """Compare an estimate with the range of its gate."""
    known = bool(np.isfinite(found.value))
    enough = found.entries >= LEAST_ENTRIES and found.events >= LEAST_EVENTS
    error = 0.0 if gate.exact else found.error
    verdict: Verdict = "not judged"
    if known and (enough or (gate.exact and found.entries > 0)):
        room = SIGMAS * (error if np.isfinite(error) else 0.0)
        verdict = "pass" if gate.low - room <= found.value <= gate.high + room else "fail"
    return Judgement(
        gate.name,
        process,
        found.value if known else None,
        error if known and np.isfinite(error) else None,
        gate.low,
        gate.high,
        found.entries,
        found.events,
        verdict,
        gate.why,
    )


def table(judgements: Judgements) -> Sequence[str]:
    """Return the judgements as lines for people: verdict, value, range and reason of every gate."""
    head = (
        f"{'verdict':10} {'process':12} {'gate':28} {'value':>10} {'error':>9} {'allowed':>15} "
        f"{'entries':>8}  why"
    )
    lines = [head, "-" * len(head)]
    for gate in judgements.gates:
        value, error = (
            "-" if number is None else f"{number:.4g}" for number in (gate.value, gate.error)
        )
        allowed = f"{gate.low:g} .. {gate.high:g}"
        lines.append(
            f"{gate.verdict:10} {gate.process:12} {gate.name:28} {value:>10} {error:>9} "
            f"{allowed:>15} {gate.entries:>8}  {gate.why}"
        )
    passed, failed, rest = map(judgements.count, VERDICTS)
    counts = f"{passed} passed, {failed} failed, {rest} not judged"
    lines.append(f"{judgements.events} events, {len(judgements.gates)} gates: {counts}")
    return lines

"""How fast runs were, what they waited for, and how much of what they computed was padding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from mlpf_stream.report.canvas import Drawing
from mlpf_stream.report.comparison import Comparison, Run
from mlpf_stream.report.curves import Curve, Plot, draw_curves
from mlpf_stream.report.digits import NOTHING, duration, percent, significant
from mlpf_stream.report.folder import Training
from mlpf_stream.report.markup import aligned, text
from mlpf_stream.report.records import TimingRecord
from mlpf_stream.report.series import Series


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all timed steps of a run."""

    steps: int
    events: int
    rows: int
    computed_rows: int
    seconds: float
    wait_seconds: float

    @classmethod
    def of(cls, lines: Sequence[TimingRecord]) -> Self:
        """Add up the lines of a run."""
        return cls(
            steps=sum(steps for steps, _ in _with_steps(lines)),
            events=sum(line.events for line in lines),
            rows=sum(line.rows for line in lines),
            computed_rows=sum(line.computed_rows for line in lines),
            seconds=sum(line.seconds for line in lines),
            wait_seconds=sum(line.wait_seconds for line in lines),
        )

    @property
    def events_per_second(self) -> float | None:
        """Return events of all ranks per second."""
        return _ratio(self.events, self.seconds)

    @property
    def seconds_per_step(self) -> float | None:
        """Return the mean time of a step."""
        return _ratio(self.seconds, self.steps)

    @property
    def waiting(self) -> float | None:
        """Return which part of the time rank 0 waited for data."""
        return _ratio(self.wait_seconds, self.seconds)

    @property
    def real(self) -> float | None:
        """Return which part of the computed rows are elements."""
        return _ratio(self.rows, self.computed_rows)


def speed_figures(comparison: Comparison) -> list[Drawing]:
    """Draw throughput, time per step and real rows over the runs that wrote them down."""
    runs = [(run, Totals.of(run.training.timing)) for run in comparison.runs]
    timed = [(run, totals) for run, totals in runs if run.training.timing]
    labels = comparison.labels("timing")
    throughput = Plot(
        name="throughput",
        y_label="Events per second",
        caption="Events of all ranks per second.",
        head=("mean",),
        scale="linear",
        labels=labels,
    )
    step_time = Plot(
        name="step-time",
        y_label="Time per step [ms]",
        caption="Time per step (lines), and what of it rank 0 waited for data (areas).",
        head=("mean [ms]", "waiting"),
        scale="linear",
        labels=labels,
    )
    real_rows = Plot(
        name="real-rows",
        y_label="Real rows [%]",
        caption="Padding: which of the computed rows are elements; the rest fills up batches.",
        head=("mean",),
        scale="percent",
        labels=labels,
    )
    drawings = (
        draw_curves(throughput, [_throughput(run, totals) for run, totals in timed]),
        draw_curves(step_time, [_step_time(run, totals) for run, totals in timed]),
        draw_curves(real_rows, [_real_rows(run, totals) for run, totals in timed]),
    )
    return [drawing for drawing in drawings if drawing is not None]


def _throughput(run: Run, totals: Totals) -> Curve:
    pairs = ((line.step, _ratio(line.events, line.seconds)) for line in run.training.timing)
    return Curve(run, Series.of(pairs), (significant(totals.events_per_second),))


def _step_time(run: Run, totals: Totals) -> Curve:
    """Return the times of steps, waiting for data as an area, both in ms."""
    lines = _with_steps(run.training.timing)
    mean = totals.seconds_per_step
    return Curve(
        run,
        Series.of((line.step, 1000 * line.seconds / steps) for steps, line in lines),
        (significant(None if mean is None else 1000 * mean), percent(totals.waiting)),
        below=Series.of((line.step, 1000 * line.wait_seconds / steps) for steps, line in lines),
    )


def _real_rows(run: Run, totals: Totals) -> Curve:
    parts = ((line.step, _ratio(line.rows, line.computed_rows)) for line in run.training.timing)
    pairs = ((step, None if part is None else 100 * part) for step, part in parts)
    return Curve(run, Series.of(pairs), (percent(totals.real),))


def speed_table(comparison: Comparison) -> str:
    """Return how runs were made and how fast they were, a column per run."""
    columns = [_facts(run.training) for run in comparison.runs]
    return aligned([run.name for run in comparison.runs], columns)


def _facts(training: Training) -> dict[str, str]:
    """Return names and markup of what is known of the speed of a run."""
    summary, totals = training.summary, Totals.of(training.timing)
    stream = training.recipe.get("stream", {})
    known: dict[str, object] = {
        "ranks": summary.ranks if summary else None,
        "launcher": summary.launcher if summary else None,
        "engine": (summary.engine if summary else None) or stream.get("engine"),
        "layout": stream.get("layout"),
    }
    rate = summary.events_per_second if summary else None
    waited = summary.data_wait_fraction if summary else None
    known["events per second"] = significant(rate or totals.events_per_second)
    known["time waiting for data"] = percent(totals.waiting if waited is None else waited)
    if training.timing:
        per_step = totals.seconds_per_step
        known |= {
            "time in steps": duration(totals.seconds),
            "time per step": NOTHING if per_step is None else duration(per_step),
            "elements per second": significant(_ratio(totals.rows, totals.seconds)),
            "real rows (not padding)": percent(totals.real),
        }
    return {name: text(NOTHING if value is None else value) for name, value in known.items()}


def _with_steps(lines: Iterable[TimingRecord]) -> list[tuple[int, TimingRecord]]:
    """Return every line with the number of its steps; steps are counted from 0."""
    counted, before = [], -1
    for line in lines:
        counted.append((max(line.step - before, 1), line))
        before = line.step
    return counted


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None

"""Response figures: how reconstructed jets and momenta lie around the generated ones."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpf_stream.report.canvas import Drawing, draw, make_room, put_labels
from mlpf_stream.report.comparison import Comparison, Source
from mlpf_stream.report.digits import fixed, measured, percent
from mlpf_stream.report.legend import Entry, put_legend
from mlpf_stream.report.records import HistogramRecord, MeasuresRecord, Spectra
from mlpf_stream.report.series import F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADROOM: Final = 1.06
"""Free space above the highest line, beside that of the legend."""
TAIL: Final = 0.04
"""The window of a figure leaves out at most this part of the values on either side."""
LEAST_PART: Final = 0.25
"""The window is at least this part of the range of the histograms."""
GRID: Final = 20
"""The window ends at a multiple of one part in so many of the range."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of response figure: what it counts, what is ideal, what its legend says."""

    name: str
    title: str
    x_label: str
    y_label: str
    caption: str
    ideal: float
    histogram: Callable[[Spectra], HistogramRecord]
    head: tuple[str, ...]
    numbers: Callable[[MeasuresRecord], tuple[str, ...]]


def _jet_numbers(measures: MeasuresRecord) -> tuple[str, ...]:
    jet = measures.jet
    return (
        fixed(jet.median, 3),
        measured(jet.resolution, jet.resolution_error, 3),
        fixed(jet.matched_fraction, 3),
    )


def _momentum_numbers(measures: MeasuresRecord) -> tuple[str, ...]:
    momentum = measures.momentum
    return (
        fixed(momentum.median, 3),
        measured(momentum.resolution, momentum.resolution_error, 3),
    )


def _met_numbers(measures: MeasuresRecord) -> tuple[str, ...]:
    return (measured(measures.met.resolution_gev, measures.met.resolution_gev_error, 2),)


MEASURES: Final = (
    Measure(
        "jet",
        "Jet response",
        r"Jet $p_{T}$, reconstructed / generated",
        "Fraction of matched jets",
        "Response of matched jets",
        1.0,
        lambda spectra: spectra.jet,
        ("median", "IQR/median", "matched"),
        _jet_numbers,
    ),
    Measure(
        "met",
        "Missing momentum",
        r"$p_{x,y}^{miss}$, reconstructed - generated [GeV]",
        "Fraction of components",
        "Difference of the x and y components of the missing transverse momentum",
        0.0,
        lambda spectra: spectra.met,
        ("IQR [GeV]",),
        _met_numbers,
    ),
    Measure(
        "momentum",
        "Event momentum",
        r"$\Sigma|p|$, reconstructed / generated",
        "Fraction of events",
        "Response of the scalar sum of all momenta of an event",
        1.0,
        lambda spectra: spectra.momentum,
        ("median", "IQR/median"),
        _momentum_numbers,
    ),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One source in one figure."""

    source: Source
    histogram: HistogramRecord
    numbers: tuple[str, ...]


def response_figures(comparison: Comparison, measure: Measure) -> Iterator[Drawing]:
    """Draw one response in every process, of all particles that have histograms."""
    found = {
        process: list(_shown(comparison, measure, process)) for process in comparison.processes
    }
    half = _half_window([part for parts in found.values() for part in parts], measure.ideal)
    for process, shown in found.items():
        if not shown:
            continue
        right = f"{process}, never trained on" if comparison.unseen(process) else process
        caption = f"{measure.caption}, {right}. {_outside(shown, measure.ideal, half)}".strip()
        paint = partial(_paint, shown=shown, measure=measure, half=half)
        yield draw(
            f"{measure.name}-{_plain(process)}",
            caption,
            partial(_finish, paint=paint, comparison=comparison, right=right),
        )


def _shown(comparison: Comparison, measure: Measure, process: str) -> Iterator[Shown]:
    for source in comparison.sources:
        spectra, measures = source.spectra(process), source.measures(process)
        if spectra is not None and measures is not None:
            yield Shown(source, measure.histogram(spectra), measure.numbers(measures))


def _finish(
    axes: "Axes", paint: Callable[["Axes"], None], comparison: Comparison, right: str
) -> None:
    paint(axes)
    put_labels(axes, comparison.labels(right))


def _paint(axes: "Axes", shown: Sequence[Shown], measure: Measure, half: float) -> None:
    """Draw one line per source; perfect targets may leave the figure at the top."""
    highest = 0.0
    for part in shown:
        heights, line = _heights(part.histogram), part.source.line
        if part.source.role != "target":
            highest = max(highest, float(heights.max()))
        axes.stairs(
            heights, _edges(part.histogram), fill=line.area, color=line.colour,
            linewidth=line.width, linestyle=line.dash, alpha=0.3 if line.area else 1.0,
            zorder=line.order,
        )  # fmt: skip
    axes.set(xlabel=measure.x_label, ylabel=measure.y_label)
    axes.set_xlim(measure.ideal - half, measure.ideal + half)
    axes.set_ylim(0, (highest or 1.0) * HEADROOM)
    entries = [Entry(part.source.name, part.numbers, part.source.line) for part in shown]
    make_room(axes, put_legend(axes, measure.head, entries))


def _half_window(shown: Sequence[Shown], ideal: float) -> float:
    """Return how far around the ideal value figures must reach to show all but the tails."""
    far, near = 0.0, 0.0
    for part in shown:
        histogram = part.histogram
        edges_E = _edges(histogram)
        reach = max(abs(float(edges_E[0]) - ideal), abs(float(edges_E[-1]) - ideal))
        far, near = max(far, reach), max(near, LEAST_PART * reach)
        below_N = np.cumsum([histogram.underflow, *histogram.counts])
        total = int(below_N[-1]) + histogram.overflow
        if not total:
            continue
        low = edges_E[max(int(np.searchsorted(below_N, TAIL * total, "right")) - 1, 0)]
        high = edges_E[min(int(np.searchsorted(below_N, (1 - TAIL) * total)), len(edges_E) - 1)]
        near = max(near, abs(float(low) - ideal), abs(float(high) - ideal))
    pitch = far / GRID
    return min(math.ceil(near / pitch - 1e-6) * pitch, far) if far else 1.0


def _outside(shown: Sequence[Shown], ideal: float, half: float) -> str:
    """Say what part of the values the figure does not show, where there is any."""
    parts = []
    for part in shown:
        edges_E, counts_N = _edges(part.histogram), np.array(part.histogram.counts)
        middle_N = (edges_E[1:] + edges_E[:-1]) / 2
        total = int(counts_N.sum()) + part.histogram.underflow + part.histogram.overflow
        lost = total - int(counts_N[np.abs(middle_N - ideal) < half].sum())
        if lost:
            parts.append(f"{part.source.name} {percent(lost / total)}")
    return f"Outside the range: {', '.join(parts)}." if parts else ""


def _heights(part: HistogramRecord) -> F64:
    """Return the fraction of all values, shown or not, per bin."""
    total = sum(part.counts) + part.underflow + part.overflow
    return np.array(part.counts, np.float64) / max(total, 1)


def _edges(part: HistogramRecord) -> F64:
    return np.linspace(part.edges.first, part.edges.last, part.edges.bins + 1)


def _plain(text: str) -> str:
    """Return a name as a part of an SVG id."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)

"""The figures of a report: responses per process, training curves, multiplicities."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from mlpf_stream.report.canvas import (
    BASELINE_COLOUR,
    DASHES,
    MODEL_COLOURS,
    TARGET_COLOUR,
    Drawing,
    Labels,
    draw,
    put_labels,
)
from mlpf_stream.report.comparison import Comparison, Source
from mlpf_stream.report.folder import Training
from mlpf_stream.report.records import DataCard, HistogramRecord, MeasuresRecord, Spectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Dash = str | tuple[int, tuple[int, ...]]
F64 = npt.NDArray[np.float64]

HEADROOM: Final = 1.12
"""Free space above the highest line, beside that of the legend."""
LEGEND_LINE: Final = 0.066
"""Height of a line of the legend as a part of the figure."""
LONGEST_NAME: Final = 18
"""Letters of a name that leave room for numbers on the same line of a legend."""
DOTS: Final = (0, (1, 1))
POINTS: Final = 400
"""Most points of a training curve: more cannot be seen."""


@dataclass(frozen=True, slots=True)
class Line:
    """How one source is drawn; an area is `faint`."""

    colour: str
    width: float
    dash: Dash
    order: int
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of response figure: what it counts and what its legend says."""

    name: str
    title: str
    x_label: str
    y_label: str
    caption: str
    histogram: Callable[[Spectra], HistogramRecord]
    legend: Callable[[MeasuresRecord], str]


def _number(value: float | None, digits: int) -> str:
    """Return a number, or what stands for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


MEASURES: Final = (
    Measure(
        "jet",
        "Jet response",
        "Jet response, reconstructed pt / generated pt",
        "Fraction of matched jets",
        "Response of matched jets",
        lambda spectra: spectra.jet,
        lambda m: f"median {_number(m.jet.median, 3)}, IQR/median {_number(m.jet.resolution, 3)}",
    ),
    Measure(
        "momentum",
        "Total momentum",
        "Total momentum response, reconstructed / generated",
        "Fraction of events",
        "Response of the scalar sum of all momenta",
        lambda spectra: spectra.momentum,
        lambda m: (
            f"median {_number(m.momentum.median, 3)}, "
            f"IQR/median {_number(m.momentum.resolution, 3)}"
        ),
    ),
    Measure(
        "met",
        "Missing momentum",
        "Missing momentum x and y, rec. - gen. [GeV]",
        "Fraction of components",
        "Difference of the x and y components of the missing transverse momentum",
        lambda spectra: spectra.met,
        lambda m: f"IQR {_number(m.met.resolution_gev, 2)} GeV",
    ),
)


def response_figures(comparison: Comparison, measure: Measure) -> Iterator[Drawing]:
    """Draw one response in every process, of all particles that have histograms."""
    for process in comparison.processes:
        shown = [s for s in comparison.sources if s.spectra(process) and s.measures(process)]
        if not shown:
            continue
        right = f"{process}, never trained on" if comparison.unseen(process) else process
        caption = f"{measure.caption}, {right}. {_outside(measure, shown, process)}"
        paint = partial(
            _paint_response,
            measure=measure,
            shown=shown,
            process=process,
            labels=_labels(comparison, right),
        )
        yield draw(f"{measure.name}-{_plain(process)}", caption.strip(), paint)


def _paint_response(
    figure: "Figure", measure: Measure, shown: Sequence[Source], process: str, labels: Labels
) -> None:
    """Draw one line per source; perfect targets may leave the figure at the top."""
    axes = figure.subplots()
    highest, edges_E, lines = 0.0, np.zeros(2), 0
    for source in shown:
        spectra, numbers = source.spectra(process), source.measures(process)
        if spectra is None or numbers is None:
            continue
        part = measure.histogram(spectra)
        heights, edges_E = _heights(part), _edges(part)
        if source.role != "target":
            highest = max(highest, float(heights.max()))
        _paint_line(axes, heights, edges_E, f"{_said(source)}{measure.legend(numbers)}", source)
        lines += 1 + _said(source).count("\n")
    top = (highest or 1.0) * HEADROOM / (1 - LEGEND_LINE * lines - 0.03)
    axes.set(xlabel=measure.x_label, ylabel=measure.y_label, ylim=(0, top))
    axes.set_xlim(float(edges_E[0]), float(edges_E[-1]))
    axes.legend(loc="upper left", borderaxespad=0.3, labelspacing=0.25)
    put_labels(axes, labels)


def _paint_line(axes: "Axes", heights: F64, edges_E: F64, label: str, source: Source) -> None:
    line = _line(source)
    axes.stairs(
        heights, edges_E, label=label, fill=line.faint, color=line.colour, linewidth=line.width,
        linestyle=line.dash, alpha=0.28 if line.faint else 1.0, zorder=line.order,
    )  # fmt: skip


def _said(source: Source) -> str:
    """Return a name for a legend; the numbers go below a long one."""
    return f"{source.name}: " if len(source.name) <= LONGEST_NAME else f"{source.name}:\n"


def _line(source: Source) -> Line:
    """Return how the line of a source looks: the baseline is an area, all others lie on it."""
    if source.role == "target":
        return Line(TARGET_COLOUR, 1.6, DOTS, 1)
    if source.role == "baseline":
        return Line(BASELINE_COLOUR, 0.0, "-", 0, faint=True)
    colour = MODEL_COLOURS[source.place % len(MODEL_COLOURS)]
    return Line(colour, 2.6, DASHES[source.place % len(DASHES)], 3)


def _outside(measure: Measure, shown: Sequence[Source], process: str) -> str:
    """Say what part of the values the figure does not show, where there is any."""
    parts = []
    for source in shown:
        spectra = source.spectra(process)
        histogram = measure.histogram(spectra) if spectra else None
        if histogram and histogram.underflow + histogram.overflow:
            lost = histogram.underflow + histogram.overflow
            parts.append(f"{source.name} {lost / (lost + sum(histogram.counts)):.1%}")
    return f"Outside the range: {', '.join(parts)}." if parts else ""


def _heights(part: HistogramRecord) -> F64:
    """Return the fraction of all values, shown or not, per bin."""
    total = sum(part.counts) + part.underflow + part.overflow
    return np.array(part.counts, np.float64) / max(total, 1)


def _edges(part: HistogramRecord) -> F64:
    return np.linspace(part.edges.first, part.edges.last, part.edges.bins + 1)


def training_figure(comparison: Comparison) -> Drawing | None:
    """Draw losses and learning rates of all trainings, None if there are none."""
    runs = [
        (name, place, folder.training)
        for place, (name, folder) in enumerate(
            zip(comparison.names, comparison.folders, strict=True)
        )
        if folder.training is not None and folder.training.steps
    ]
    if not runs:
        return None
    caption = (
        "Loss per step (lines, running mean over 1/40 of the steps), loss on the validation split "
        "(points) and learning rate."
    )

    def paint(figure: "Figure") -> None:
        loss_axes, rate_axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for name, place, training in runs:
            _paint_training(loss_axes, rate_axes, training, name, place)
        loss_axes.set(ylabel="Loss", yscale="log")
        loss_axes.legend(loc="upper right", labelspacing=0.25)
        rate_axes.set(xlabel="Step", ylabel="Learning\nrate", ylim=(0, None))
        rate_axes.ticklabel_format(axis="y", style="plain")
        _plain_log_axis(loss_axes)
        put_labels(loss_axes, _labels(comparison, "training"))

    return draw("training", caption, paint)


def _paint_training(
    loss_axes: "Axes", rate_axes: "Axes", training: Training, name: str, place: int
) -> None:
    """Draw one training: what is not a number is left out."""
    colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
    dash = DASHES[place % len(DASHES)]
    step_N, loss_N = _smooth(*_curve(training, "loss"))
    valid_step_V, valid_V = _curve(training, "valid_loss")
    rate_step_N, rate_N = _thin(*_curve(training, "learning_rate"))
    said = [f"train {loss_N[-1]:.3f}"] if len(loss_N) else []
    said += [f"validation {valid_V[-1]:.3f}"] if len(valid_V) else []
    loss_axes.plot(
        step_N, loss_N, color=colour, linestyle=dash, linewidth=2.2,
        label=f"{name}: {', '.join(said)}",
    )  # fmt: skip
    loss_axes.plot(
        valid_step_V, valid_V, color=colour, linestyle="none", marker="os^Dvp"[place % 6],
        markersize=8, markeredgecolor="white",
    )  # fmt: skip
    rate_axes.plot(rate_step_N, rate_N, color=colour, linestyle=dash, linewidth=2.0)


def _plain_log_axis(axes: "Axes") -> None:
    """Write 0.2 and not a power of ten, three to six times an axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curve(training: Training, name: str) -> tuple[F64, F64]:
    """Return the steps that have a finite value, and the values."""
    pairs = [(line.step, getattr(line, name)) for line in training.steps]
    kept = [(s, v) for s, v in pairs if v is not None and math.isfinite(v)]
    table = np.array(kept, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _smooth(step_N: F64, value_N: F64) -> tuple[F64, F64]:
    """Return the running mean over a fortieth of the steps, thinned to what can be seen."""
    width = max(1, len(value_N) // 40)
    if width == 1:
        return _thin(step_N, value_N)
    mean = np.convolve(value_N, np.full(width, 1 / width), mode="valid")
    return _thin(step_N[width - 1 :], mean)


def _thin(step_N: F64, value_N: F64) -> tuple[F64, F64]:
    """Keep at most `POINTS` points, the last one among them."""
    stride = max(1, math.ceil(len(step_N) / POINTS))
    return step_N[::-1][::stride][::-1], value_N[::-1][::stride][::-1]


def multiplicity_figure(comparison: Comparison, card: DataCard, name: str) -> Drawing:
    """Draw how many events have how many elements."""
    edges_E = np.arange(len(card.lengths.counts) + 1) * float(card.lengths.width)
    mean = card.elements / max(card.events, 1)
    kinds = " and ".join(f"{kind}s" for kind in card.elements_by_kind)

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        label = f"{card.events:,} events, mean {mean:.0f}"
        counts = np.array(card.lengths.counts, np.float64)
        axes.stairs(counts, edges_E, fill=True, color=MODEL_COLOURS[0], alpha=0.3, label=label)
        axes.stairs(counts, edges_E, color=MODEL_COLOURS[0], linewidth=2)
        axes.set(xlabel=f"Elements per event ({kinds})", ylabel="Events", xlim=(0, edges_E[-1]))
        axes.set_ylim(0, max(float(counts.max(initial=0)), 1.0) * 1.25)
        axes.legend(loc="upper right")
        put_labels(axes, _labels(comparison, "all splits"))

    return draw(name, f"Elements per event in bins of {card.lengths.width}.", paint)


def _labels(comparison: Comparison, right: str) -> Labels:
    """Return what stands above a figure."""
    detectors = {e.dataset.detector.upper() for e in comparison.evaluations if e.dataset}
    detector = ", ".join(sorted(detectors)) or "mlpf_stream"
    if comparison.fast_simulation:
        return Labels(f"{detector}-like", "Fast simulation", right)
    return Labels(detector, "", right)


def _plain(text: str) -> str:
    """Return a name as a part of an SVG id."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)

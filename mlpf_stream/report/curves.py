"""Curves over the steps of runs: what is measured as a faint line, its running mean above it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from mlpf_stream.report.canvas import (
    Drawing,
    draw,
    log_axis,
    make_room,
    percent_axis,
    put_labels,
    step_axis,
)
from mlpf_stream.report.comparison import Comparison, Run
from mlpf_stream.report.digits import significant
from mlpf_stream.report.legend import Entry, put_legend
from mlpf_stream.report.records import StepRecord
from mlpf_stream.report.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mlpf_stream.report.canvas import Labels

Scale = Literal["log", "linear", "percent"]


@dataclass(frozen=True, slots=True)
class Curve:
    """One run in one figure: its curve, further points, its numbers in the legend.

    `below` is drawn as an area from zero.
    """

    run: Run
    series: Series
    numbers: tuple[str, ...]
    points: Series | None = None
    below: Series | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure: its axis, the head of its legend, what stands above it."""

    name: str
    y_label: str
    caption: str
    head: tuple[str, ...]
    scale: Scale
    labels: "Labels"


def draw_curves(plot: Plot, curves: Sequence[Curve]) -> Drawing | None:
    """Draw the curves of all runs, None if none has a point."""
    shown = [curve for curve in curves if len(curve.series)]
    if not shown:
        return None
    return draw(plot.name, plot.caption, partial(_paint, plot=plot, curves=shown))


def _paint(axes: "Axes", plot: Plot, curves: Sequence[Curve]) -> None:
    for curve in curves:
        _paint_curve(axes, curve)
    axes.margins(x=0.02)
    axes.set_ylabel(plot.y_label)
    step_axis(axes)
    if plot.scale == "log" and all((curve.series.value_N > 0).all() for curve in curves):
        log_axis(axes)
    elif plot.scale == "percent":
        percent_axis(axes)
    else:
        axes.set_ylim(0)
    kind: Literal["line", "both"] = "both" if any(curve.points for curve in curves) else "line"
    entries = [Entry(curve.run.name, curve.numbers, curve.run.line, kind) for curve in curves]
    make_room(axes, put_legend(axes, plot.head, entries))
    put_labels(axes, plot.labels)


def _paint_curve(axes: "Axes", curve: Curve) -> None:
    """Draw one run: faint as measured, above it the running mean."""
    line, raw, mean = curve.run.line, curve.series.envelope(), curve.series.smooth()
    axes.plot(raw.step_N, raw.value_N, color=line.colour, linewidth=0.8, alpha=0.3, zorder=1)
    axes.plot(
        mean.step_N, mean.value_N, color=line.colour, linestyle=line.dash, linewidth=line.width,
        zorder=line.order,
    )  # fmt: skip
    if curve.below is not None:
        area = curve.below.smooth()
        axes.fill_between(area.step_N, area.value_N, color=line.colour, alpha=0.35, linewidth=0)
    if curve.points is not None:
        points = curve.points.thin()
        axes.plot(
            points.step_N, points.value_N, color=line.colour, linestyle="none", marker=line.marker,
            markersize=9, markeredgecolor="white", zorder=line.order + 1,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of every step."""

    name: str
    y_label: str
    caption: str
    scale: Scale
    value: Callable[[StepRecord], float | None]


QUANTITIES: Final = (
    Quantity(
        "classification",
        "Classification loss",
        "Class of every element (focal loss), mean over rows.",
        "log",
        lambda line: line.classification,
    ),
    Quantity(
        "charge",
        "Charge loss",
        "Charge of every particle (cross-entropy), mean over particles.",
        "log",
        lambda line: line.charge,
    ),
    Quantity(
        "regression",
        "Regression loss",
        "Momentum of every particle (Huber loss), mean over particles.",
        "log",
        lambda line: line.regression,
    ),
    Quantity(
        "gradient",
        "Gradient norm",
        "Norm of the gradient of all parameters before clipping.",
        "log",
        lambda line: line.gradient_norm,
    ),
    Quantity(
        "rate",
        "Learning rate",
        "Learning rate of every step.",
        "linear",
        lambda line: line.learning_rate,
    ),
)


def training_figures(comparison: Comparison) -> list[Drawing]:
    """Draw the loss, its parts, gradient norm and learning rate of all trainings."""
    labels = comparison.labels("training")
    drawings = [_loss_figure(comparison)]
    for quantity in QUANTITIES:
        peak = quantity.name == "rate"
        head = ("highest",) if peak else ("last 10%",)
        plot = Plot(
            quantity.name, quantity.y_label, quantity.caption, head, quantity.scale, labels
        )  # fmt: skip
        curves = []
        for run in comparison.runs:
            series = _series(run, quantity.value)
            number = significant(series.highest if peak else series.final)
            curves.append(Curve(run, series, (number,)))
        drawings.append(draw_curves(plot, curves))
    return [drawing for drawing in drawings if drawing is not None]


def _loss_figure(comparison: Comparison) -> Drawing | None:
    """Draw the loss of every step, and that on the validation split as points."""
    curves = []
    for run in comparison.runs:
        train = _series(run, lambda line: line.loss)
        valid = _series(run, lambda line: line.valid_loss)
        numbers = (significant(train.final), significant(valid.last))
        curves.append(Curve(run, train, numbers, points=valid))
    caption = (
        "Loss: of every step (faint), its running mean (line) and on the validation split "
        "(points). Numbers: mean over the last tenth of the steps, last validation."
    )
    plot = Plot(
        "loss", "Loss", caption, ("train", "validation"), "log", comparison.labels("training")
    )
    return draw_curves(plot, curves)


def _series(run: Run, value: Callable[[StepRecord], float | None]) -> Series:
    return Series.of((line.step, value(line)) for line in run.training.steps)

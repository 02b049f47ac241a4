"""Overview figures: one number of every process and origin of particles, with errors."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpf_stream.report.canvas import Drawing, draw, make_room, put_labels
from mlpf_stream.report.comparison import Comparison, Source
from mlpf_stream.report.digits import measured
from mlpf_stream.report.legend import Entry, put_legend
from mlpf_stream.report.records import MeasuresRecord
from mlpf_stream.report.series import F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADROOM: Final = 1.06
SPREAD: Final = 0.6
"""Part of the room of a process that its markers take."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One number of all processes."""

    name: str
    y_label: str
    caption: str
    value: Callable[[MeasuresRecord], tuple[float | None, float | None]]


OVERVIEWS: Final = (
    Overview(
        "jet",
        r"Jet $p_{T}$ response, IQR/median",
        "Width of the jet response.",
        lambda m: (m.jet.resolution, m.jet.resolution_error),
    ),
    Overview(
        "met",
        r"$p_{x,y}^{miss}$ difference, IQR [GeV]",
        "Width of the differences of the missing-momentum components.",
        lambda m: (m.met.resolution_gev, m.met.resolution_gev_error),
    ),
)


@dataclass(frozen=True, slots=True)
class Markers:
    """Values and errors of one source, NaN where a process was not judged. P: processes."""

    source: Source
    value_P: F64
    error_P: F64

    @property
    def mean(self) -> str:
        """Return the mean over processes with its error, taking processes as independent."""
        known_P = np.isfinite(self.value_P)
        error = float(np.sqrt((self.error_P[known_P] ** 2).sum())) / int(known_P.sum())
        return measured(float(self.value_P[known_P].mean()), error, 3)


def overview_figures(comparison: Comparison) -> Iterator[Drawing]:
    """Draw the widths of the responses, process by process."""
    for overview in OVERVIEWS:
        markers = [_markers(overview, source, comparison) for source in comparison.sources]
        shown = [part for part in markers if np.isfinite(part.value_P).any()]
        if shown:
            yield draw(
                f"overview-{overview.name}",
                f"{overview.caption} Lower is better; errors are bootstrap errors; in the legend "
                "the mean over the processes.",
                partial(_paint, overview=overview, shown=shown, comparison=comparison),
            )


def _markers(overview: Overview, source: Source, comparison: Comparison) -> Markers:
    pairs = []
    for process in comparison.processes:
        measures = source.measures(process)
        value, error = overview.value(measures) if measures else (None, None)
        pairs.append((math.nan if value is None else value, 0.0 if error is None else error))
    table_P2 = np.array(pairs, np.float64)
    return Markers(source, table_P2[:, 0], table_P2[:, 1])


def _paint(
    axes: "Axes", overview: Overview, shown: Sequence[Markers], comparison: Comparison
) -> None:
    """Draw a marker per source beside one another in every process."""
    highest, pitch = 0.0, SPREAD / len(shown)
    for number, part in enumerate(shown):
        line = part.source.line
        axes.errorbar(
            np.arange(len(part.value_P)) + (number - (len(shown) - 1) / 2) * pitch,
            part.value_P, part.error_P, linestyle="none", color=line.colour, marker=line.marker,
            markersize=11, markeredgewidth=3.0 if line.marker == "_" else 1.0, elinewidth=1.8,
        )  # fmt: skip
        highest = max(highest, float(np.nanmax(part.value_P + part.error_P)))
    axes.set(ylabel=overview.y_label, ylim=(0, (highest or 1.0) * HEADROOM))
    axes.set_xlim(-0.5, len(comparison.processes) - 0.5)
    axes.set_xticks(range(len(comparison.processes)), comparison.processes)
    axes.tick_params(axis="x", which="minor", length=0)
    entries = [Entry(part.source.name, (part.mean,), part.source.line, "marker") for part in shown]
    make_room(axes, put_legend(axes, ("mean",), entries))
    put_labels(axes, comparison.labels("all processes"))

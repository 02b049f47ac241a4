"""Legends that carry numbers: a small table inside the figure, its columns aligned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mlpf_stream.report.canvas import LEGEND_SIZE, SIZE, text_width
from mlpf_stream.report.palette import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["line", "marker", "both"]

PITCH: Final = 1.3 * LEGEND_SIZE
HANDLE: Final = 34.0
GAP: Final = 14.0
MARGIN: Final = 14.0
"""Distances between rows, length of a handle, between columns, to the frame [pt]."""
FRONT: Final = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a name and its numbers, one per column."""

    name: str
    numbers: tuple[str, ...]
    line: Line
    kind: Kind = "line"


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Axes measured in points from their upper left corner."""

    axes: "Axes"
    width: float
    height: float

    def write(self, x: float, row: float, words: str, side: Literal["left", "right"]) -> None:
        """Write on the base line of a row."""
        self.axes.text(
            x / self.width, self._y(row + 0.75), words, ha=side, va="baseline",
            fontsize=LEGEND_SIZE, transform=self.axes.transAxes, zorder=FRONT + 1,
        )  # fmt: skip

    def handle(self, row: float, entry: Entry) -> None:
        """Draw what a line or area looks like."""
        line = entry.line
        left, right = MARGIN / self.width, (MARGIN + HANDLE) / self.width
        if line.area and entry.kind == "line":
            height = 0.6 * PITCH / self.height
            patch = Rectangle(
                (left, self._y(row + 0.8)), right - left, height, color=line.colour, alpha=0.3,
                linewidth=0, transform=self.axes.transAxes, zorder=FRONT + 1,
            )  # fmt: skip
            self.axes.add_patch(patch)
            return
        mark = Line2D(
            [left, (left + right) / 2, right], [self._y(row + 0.5)] * 3, color=line.colour,
            linewidth=line.width, linestyle=line.dash if entry.kind != "marker" else "none",
            marker=line.marker if entry.kind != "line" else "none", markersize=10, markevery=[1],
            transform=self.axes.transAxes, zorder=FRONT + 1,
        )  # fmt: skip
        self.axes.add_artist(mark)

    def paper(self, width: float, rows: float) -> None:
        """Cover what lies below the legend."""
        bottom = self._y(rows + 0.15)
        cover = Rectangle(
            (6 / self.width, bottom), width / self.width, 1 - 6 / self.height - bottom,
            facecolor="white", alpha=0.9, edgecolor="none", transform=self.axes.transAxes,
            zorder=FRONT,
        )  # fmt: skip
        self.axes.add_patch(cover)

    def _y(self, row: float) -> float:
        return 1 - (0.6 * MARGIN + row * PITCH) / self.height


def put_legend(axes: "Axes", head: Sequence[str], entries: Sequence[Entry]) -> float:
    """Write the legend into the upper left corner; return which part of the height it takes.

    Args:
        axes: where to.
        head: names of the columns of numbers, may be empty.
        entries: rows; a name too long for one row with its numbers stands above them.
    """
    box = axes.get_position()
    sheet = _Sheet(axes, box.width * SIZE[0] * 72, box.height * SIZE[1] * 72)
    names = max((_width(entry.name) for entry in entries), default=0.0)
    columns = [
        max(_width(head[i]), *(_width(entry.numbers[i]) for entry in entries))
        for i in range(len(head))
    ]
    start = MARGIN + HANDLE + GAP / 2
    numbers = sum(columns) + GAP * len(columns)
    stacked = bool(head) and start + names + numbers + MARGIN > sheet.width
    ends = _ends(start if stacked else start + names, columns)
    row = 1 if head else 0
    for x, words in zip(ends, head, strict=True):
        sheet.write(x, 0, words, "right")
    for entry in entries:
        sheet.handle(row, entry)
        sheet.write(start, row, entry.name, "left")
        row += stacked
        for x, words in zip(ends, entry.numbers, strict=True):
            sheet.write(x, row, words, "right")
        row += 1
    sheet.paper(max([start + names, *ends]) + GAP, row)
    return (0.6 * MARGIN + (row + 0.6) * PITCH) / sheet.height


def _ends(start: float, columns: Sequence[float]) -> list[float]:
    """Return where columns end that follow one another."""
    ends = []
    for width in columns:
        start += GAP + width
        ends.append(start)
    return ends


def _width(words: str) -> float:
    return text_width(words, FontProperties(size=LEGEND_SIZE))

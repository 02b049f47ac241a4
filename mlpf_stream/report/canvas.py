"""Figures as inline SVG in the field's style: same content, same bytes, text stays text."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlpf_stream.errors import MissingExtraError

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        LogLocator,
        MaxNLocator,
        NullFormatter,
    )
except ImportError as error:
    raise MissingExtraError("matplotlib", "report") from error
try:
    import mplhep
except ImportError as error:
    raise MissingExtraError("mplhep", "report") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

SIZE: Final = (8.0, 7.0)
"""Width and height [inch]: letters stay readable when the figure is as wide as a phone."""
LEGEND_SIZE: Final = 16.5
LABEL_SIZE: Final = 17.0
EXPERIMENT_SIZE: Final = 22.0
"""Height of letters of the legend and above the figure [pt]."""
LABEL_HEIGHT: Final = 1.02
"""Base line of what stands above a figure, as a part of its height."""

FONTS: Final = "'TeX Gyre Heros', 'Helvetica', 'Arial', 'Liberation Sans'"
"""The field's font and others of the same widths: figures do not carry fonts."""

_SETTINGS: "Final[dict[RcKeyType, object]]" = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlpf_stream",
    "font.size": 20,
    "axes.labelsize": "medium",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "xtick.major.pad": 8,
    "axes.linewidth": 1.4,
    "xtick.major.size": 9,
    "ytick.major.size": 9,
    "xtick.minor.size": 4.5,
    "ytick.minor.size": 4.5,
    "figure.figsize": SIZE,
    "figure.subplot.left": 0.165,
    "figure.subplot.right": 0.965,
    "figure.subplot.bottom": 0.12,
    "figure.subplot.top": 0.93,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure of the page: `svg` to be put into HTML, `caption` below it."""

    name: str
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What stands above a figure: the detector, how the data came about, and what is shown."""

    detector: str
    data: str
    right: str


def draw(name: str, caption: str, paint: Callable[["Axes"], None]) -> Drawing:
    """Return what `paint` puts on empty axes in the field's style.

    Args:
        name: distinguishes the figure from all others of the page; letters, digits and dashes.
        caption: a sentence below it, also what a screen reader says.
        paint: draws on the axes.
    """
    with _style():
        figure = Figure()
        paint(figure.subplots())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return Drawing(name, _inline(buffer.getvalue(), name), caption)


def put_labels(axes: "Axes", labels: Labels) -> None:
    """Write above a figure whose data it shows, as the field does.

    Like `mplhep.label.exp_label`, which draws the whole figure to find out how wide a word is.
    """
    bold = FontProperties(size=EXPERIMENT_SIZE, weight="bold")
    box, inches = axes.get_position(), SIZE[0] * 72
    start = (text_width(labels.detector, bold) + 6) / (box.width * inches)
    over = axes.transAxes
    axes.text(0, LABEL_HEIGHT, labels.detector, fontproperties=bold, transform=over)
    axes.text(start, LABEL_HEIGHT, labels.data, fontsize=LABEL_SIZE, style="italic", transform=over)
    axes.text(1, LABEL_HEIGHT, labels.right, fontsize=LABEL_SIZE, ha="right", transform=over)


def text_width(words: str, font: FontProperties) -> float:
    """Return how wide words are [pt]."""
    return float(text_to_path.get_text_width_height_descent(words, font, ismath=False)[0])


def step_axis(axes: "Axes") -> None:
    """Let x count steps, with few and short numbers."""
    axes.set_xlabel("Step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}")
    )


def log_axis(axes: "Axes") -> None:
    """Let y be logarithmic, and write 0.2 instead of a power of ten, a few times."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ratio = high / low
    subs = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if ratio < 10 else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs if ratio < 500 else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def percent_axis(axes: "Axes") -> None:
    """Let y run from 0 to 100 percent, without numbers in the room above."""
    axes.set_ylim(0, 100)
    axes.yaxis.set_major_locator(FixedLocator(range(0, 101, 20)))
    axes.yaxis.set_minor_locator(FixedLocator(range(0, 101, 5)))


def make_room(axes: "Axes", part: float) -> None:
    """Stretch y so that the upper `part` of the figure stays free."""
    low, high = axes.get_ylim()
    stretch = 1 / (1 - min(part, 0.8))
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** stretch)
    else:
        axes.set_ylim(low, low + (high - low) * stretch)


@contextmanager
def _style() -> Iterator[None]:
    """Draw as high-energy physics does, whatever settings the caller has."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(mplhep.style.ROOT)
        mpl.rcParams.update(_SETTINGS)
        yield


def _inline(svg: str, name: str) -> str:
    """Make a stand-alone SVG a part of a page.

    Goes: prologue, metadata, styles that would leak and the fixed size. Names inside get the
    figure's name in front: they must be unique on the page.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.S
    )
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = svg.replace("'TeX Gyre Heros'", FONTS).replace(f"{FONTS}, 'Helvetica', 'Arial'", FONTS)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.S)
    svg = re.sub(r"\n\s*", "\n", svg)
    return svg.replace("<svg ", '<svg role="img" ', 1).strip()

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
except ImportError as error:
    raise MissingExtraError("matplotlib", "report") from error
try:
    import mplhep
except ImportError as error:
    raise MissingExtraError("mplhep", "report") from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

SIZE: Final = (9.0, 7.2)
"""Width and height [inch]: letters stay readable when the figure is as wide as a phone."""

# Source: M. A. Petroff, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270.
MODEL_COLOURS: Final = ("#3f90da", "#bd1f01", "#832db6", "#ffa90e", "#a96b59", "#92dadd")
BASELINE_COLOUR: Final = "#5c6170"
TARGET_COLOUR: Final = "#94a4a2"
DASHES: Final = ("-", (0, (6, 1)), (0, (3, 1)), (0, (6, 1, 1, 1)), (0, (1, 1)), "-.")
"""Lines differ by more than their colour."""

_SETTINGS: "Final[dict[RcKeyType, object]]" = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mlpf_stream",
    "font.size": 21,
    "axes.labelsize": "medium",
    "xtick.labelsize": "small",
    "ytick.labelsize": "small",
    "legend.fontsize": 18,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fancybox": False,
    "xtick.major.pad": 9,
    "axes.linewidth": 1.4,
    "xtick.major.size": 9,
    "ytick.major.size": 9,
    "xtick.minor.size": 4.5,
    "ytick.minor.size": 4.5,
    "figure.figsize": SIZE,
    "figure.subplot.left": 0.14,
    "figure.subplot.right": 0.97,
    "figure.subplot.bottom": 0.13,
    "figure.subplot.top": 0.94,
    "figure.subplot.hspace": 0.06,
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


def draw(name: str, caption: str, paint: Callable[[Figure], None]) -> Drawing:
    """Return what `paint` puts on a figure in the field's style.

    Args:
        name: distinguishes the figure from all others of the page; letters, digits and dashes.
        caption: a sentence below it, also what a screen reader says.
        paint: draws on an empty figure.
    """
    with _style():
        figure = Figure()
        paint(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return Drawing(name, _inline(buffer.getvalue(), name), caption)


def put_labels(axes: "Axes", labels: Labels) -> None:
    """Write above a figure whose data it shows, as the field does."""
    mplhep.label.exp_label(
        exp=labels.detector,
        text=labels.data,
        rlabel=labels.right,
        data=True,  # or the library adds a word about simulation of its own
        ax=axes,
        fontsize=19,
    )


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
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.S)
    svg = re.sub(r"\n\s*", "\n", svg)
    return svg.replace("<svg ", '<svg role="img" ', 1).strip()

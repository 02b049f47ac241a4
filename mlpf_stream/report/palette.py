"""How lines look: colours that colour-blind readers tell apart, and dashes that need no colour."""

from dataclasses import dataclass
from typing import Final, Literal

Dash = Literal["-", "-.", "none"] | tuple[int, tuple[int, ...]]

# Source: M. A. Petroff, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270.
MODEL_COLOURS: Final = ("#3f90da", "#bd1f01", "#832db6", "#ffa90e", "#a96b59", "#92dadd")
BASELINE_COLOUR: Final = "#717581"
TARGET_COLOUR: Final = "#717581"

DASHES: Final[tuple[Dash, ...]] = (
    "-", (0, (6, 1)), (0, (3, 1)), (0, (6, 1, 1, 1)), (0, (2, 1)), "-.",
)  # fmt: skip
DOTS: Final = (0, (1, 1))
MARKERS: Final = "os^Dvp"


@dataclass(frozen=True, slots=True)
class Line:
    """How one source or run is drawn; an area is filled and has no edge."""

    colour: str
    width: float
    dash: Dash
    marker: str
    order: int
    area: bool = False


def model_line(place: int) -> Line:
    """Return the line of the run at this place of the arguments, the same in all figures."""
    return Line(
        colour=MODEL_COLOURS[place % len(MODEL_COLOURS)],
        width=2.4,
        dash=DASHES[place % len(DASHES)],
        marker=MARKERS[place % len(MARKERS)],
        order=3,
    )


def baseline_line(place: int) -> Line:
    """Return the look of a baseline: an area below all lines; those of other events are lines."""
    if place == 0:
        return Line(BASELINE_COLOUR, 0.0, "-", "P", 0, area=True)
    return Line(BASELINE_COLOUR, 1.8, DASHES[place % len(DASHES)], "P", 2)


def target_line(place: int) -> Line:
    """Return the look of perfect targets: thin, behind the lines of models."""
    return Line(TARGET_COLOUR, 1.8, DOTS if place == 0 else (0, (1, 1 + place)), "_", 1)

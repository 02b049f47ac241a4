"""Numbers as text: as many digits as the error gives meaning to."""

import math
from typing import Final

PLUS_MINUS: Final = "\N{PLUS-MINUS SIGN}"
NOTHING: Final = "-"
MOST_PLACES: Final = 4
"""Decimals that nobody needs more of, unless the error would be shown as nothing."""


def fixed(value: float | None, places: int) -> str:
    """Return a number with this many decimals, or what stands for none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{places}f}"


def rounded(value: float | None, error: float | None, places: int) -> tuple[str, str]:
    """Return a number and its error, "" for one that is not known.

    The three leading digits of the error decide: up to 354 it keeps two digits, else one, and the
    number has as many decimals as its error, but no more than four while that shows the error.

    Args:
        value: what was measured.
        error: its standard error.
        places: decimals of a number without error.

    Source: Particle Data Group, Review of Particle Physics (2024), introduction, section 5.3.
    """
    if value is None or error is None or not (math.isfinite(error) and error > 0):
        return fixed(value, places), ""
    decimals = _decimals(error)
    return fixed(value, decimals), fixed(error, decimals)


def measured(value: float | None, error: float | None, places: int) -> str:
    """Return a number and its error on one line of plain text."""
    number, spread = rounded(value, error, places)
    return f"{number} {PLUS_MINUS} {spread}" if spread else number


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with this many significant digits and no exponent."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, places):,.{max(places, 0)}f}"


def percent(part: float | None, places: int = 1) -> str:
    """Return a part of one in percent."""
    return NOTHING if part is None or not math.isfinite(part) else f"{100 * part:.{places}f}%"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 1:
        return f"{significant(1000 * seconds)} ms"
    if seconds < 60:
        return f"{significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _decimals(error: float) -> int:
    """Return the decimals that an error of this size gives meaning to."""
    exponent = math.floor(math.log10(error))
    leading = round(error / 10.0 ** (exponent - 2))
    wanted = max((1 if leading <= 354 else 0) - exponent, 0)
    return min(wanted, MOST_PLACES) if round(error, MOST_PLACES) > 0 else wanted

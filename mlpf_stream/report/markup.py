"""Pieces of HTML: text is escaped here and nowhere else."""

import math
from collections.abc import Iterable, Sequence
from html import escape

Cell = tuple[str, str]
"""Markup of a cell, and its class: `best`, `number`, `name` or none."""

PLUS_MINUS = "&plusmn;"
NOTHING = "&ndash;"


def text(value: object) -> str:
    """Return any value as text of a page."""
    return escape(str(value), quote=True)


def number(value: float | None, digits: int) -> str:
    """Return a number, or a dash for none."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def measured(value: float | None, error: float | None, digits: int) -> str:
    """Return a number with its error."""
    if value is None or error is None:
        return number(value, digits)
    return f"{number(value, digits)} <small>{PLUS_MINUS}&nbsp;{number(error, digits)}</small>"


def element(tag: str, body: str, css: str = "") -> str:
    """Return markup inside a tag."""
    return f'<{tag} class="{css}">{body}</{tag}>' if css else f"<{tag}>{body}</{tag}>"


def paragraph(sentence: str, css: str = "") -> str:
    """Return plain text as a paragraph."""
    return element("p", text(sentence), css)


def row(cells: Iterable[Cell], css: str = "") -> str:
    """Return one row of a table; a cell of class `name` heads its row."""
    parts = []
    for body, kind in cells:
        if kind == "name":
            parts.append(f'<th scope="row">{body}</th>')
        else:
            parts.append(element("td", body, kind))
    return element("tr", "".join(parts), css)


def table(head: Sequence[str], rows: Iterable[str], css: str = "") -> str:
    """Return a table that scrolls on its own where it is wider than the screen."""
    top = "".join(f'<th scope="col">{part}</th>' for part in head)
    body = "\n".join(rows)
    opened = f'<table class="{css}">' if css else "<table>"
    head_row = f"<thead><tr>{top}</tr></thead>\n" if head else ""
    return f'<div class="scroll">{opened}\n{head_row}<tbody>\n{body}\n</tbody></table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a table of names (text) and what is known of them (markup)."""
    return table((), [row([(text(name), "name"), (body, "")]) for name, body in pairs], "facts")

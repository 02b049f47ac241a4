"""Pieces of HTML: text is escaped here and nowhere else."""

from collections.abc import Iterable, Sequence
from html import escape

from mlpf_stream.report.digits import NOTHING, PLUS_MINUS, rounded

Cell = tuple[str, str]
"""Markup of a cell, and its class: `best`, `number`, `name` or none."""


def text(value: object) -> str:
    """Return any value as text of a page; what stands for no number as a dash."""
    return "&ndash;" if value == NOTHING else escape(str(value), quote=True)


def measured(value: float | None, error: float | None, places: int) -> str:
    """Return a number with its error."""
    number, spread = rounded(value, error, places)
    if not spread:
        return text(number)
    return f"{number}&nbsp;<small>{PLUS_MINUS}&nbsp;{spread}</small>"


def element(tag: str, body: str, css: str = "") -> str:
    """Return markup inside a tag."""
    return f'<{tag} class="{css}">{body}</{tag}>' if css else f"<{tag}>{body}</{tag}>"


def paragraph(sentence: str, css: str = "") -> str:
    """Return plain text as a paragraph."""
    return element("p", text(sentence), css)


def items(sentences: Iterable[str], css: str = "") -> str:
    """Return plain texts as a list."""
    return element("ul", "\n".join(element("li", text(part)) for part in sentences), css)


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
    return (
        f'<div class="scroll" tabindex="0">{opened}\n{head_row}<tbody>\n{body}\n</tbody></table>'
        "</div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a table of names (text) and what is known of them (markup)."""
    return table((), [row([(text(name), "name"), (body, "")]) for name, body in pairs], "facts")


def aligned(names: Sequence[str], columns: Sequence[dict[str, str]]) -> str:
    """Return a table with a column of facts (markup) per name; rows that differ are marked."""
    rows = []
    for fact in dict.fromkeys(fact for column in columns for fact in column):
        values = [column.get(fact, text(NOTHING)) for column in columns]
        cells: list[Cell] = [(text(fact), "name"), *((value, "") for value in values)]
        rows.append(row(cells, "differs" if len(set(values)) > 1 else ""))
    return table(("", *map(text, names)), rows, "aligned")

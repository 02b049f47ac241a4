"""The page: one HTML file with everything inside, for desks and phones, with or without network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mlpf_stream import __version__
from mlpf_stream.columns import CLASSES
from mlpf_stream.display.colours import CLASS_COLOURS
from mlpf_stream.display.look import SCRIPT, STYLE


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows: facts and counts as text, two figures, a table for reading.

    `views` are places of the camera by name; `sources` are the switches: name of each source, what
    it is called, and whether it is on.
    """

    title: str
    sentence: str
    facts: Sequence[tuple[str, str]]
    figures: Mapping[str, Mapping[str, object]]
    captions: Mapping[str, str]
    views: Mapping[str, Mapping[str, float]]
    sources: Sequence[tuple[str, str, bool]]
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def render(page: Page, library: str) -> str:
    """Return the page with the JavaScript `library` inside."""
    tree = {"figures": page.figures, "colours": CLASS_COLOURS, "views": page.views}
    data = json.dumps(tree, separators=(",", ":"))
    scenes = "\n".join(_scene(name, page.captions[name]) for name in page.figures)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        '<body data-colour="particle">\n'
        f"<header>\n<h1>{escape(page.title)}</h1>\n<p>{escape(page.sentence)}</p>\n"
        f"{_facts(page.facts)}\n</header>\n<main>\n{_controls(page.sources)}\n"
        f'<div class="scenes">\n{scenes}\n</div>\n{_table(page)}\n</main>\n'
        f"<footer>Made by mlpf display of mlpf_stream {escape(__version__)}. "
        "This file holds everything it shows.</footer>\n"
        f"<script>{library}</script>\n"
        f'<script type="application/json" id="data">{_inside(data)}</script>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _inside(data: str) -> str:
    """Return JSON that cannot end the element that holds it."""
    return data.replace("<", "\\u003c")


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return what is known of the event."""
    items = "\n".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs
    )
    return f'<dl class="facts">\n{items}\n</dl>'


def _controls(sources: Sequence[tuple[str, str, bool]]) -> str:
    """Return the switches: by source, by class, colours and views."""
    shown = "\n".join(
        f'<label><input type="checkbox" data-source="{escape(name)}"{" checked" if on else ""}> '
        f"{escape(words)}</label>"
        for name, words, on in sources
    )
    classes = "\n".join(
        f'<label><input type="checkbox" data-species="{name}" checked> '
        f'<span class="swatch" style="background:{CLASS_COLOURS[name]}"></span>'
        f"{'no particle' if name == 'none' else name.replace('_', ' ')}</label>"
        for name in (*CLASSES[1:], CLASSES[0])
    )
    colours = "\n".join(
        f'<label><input type="radio" name="colour" value="{name}"{on}> {name}</label>'
        for name, on in (("particle", " checked"), ("class", ""))
    )
    views = "\n".join(
        f'<button type="button" data-view="{name}">{words}</button>'
        for name, words in (("corner", "corner"), ("beam", "along the beam"), ("side", "side"))
    )
    groups = (
        ("Show", shown), ("Classes", classes), ("Colour by", colours), ("View from", views)
    )  # fmt: skip
    return (
        '<form class="controls" aria-label="What is shown">\n'
        + "\n".join(
            f"<fieldset><legend>{name}</legend>\n{body}\n</fieldset>" for name, body in groups
        )
        + "\n</form>"
    )


def _scene(name: str, caption: str) -> str:
    """Return the room for a figure."""
    return (
        f'<figure>\n<div class="scene" id="{name}" role="img" aria-label="{escape(caption)}">'
        f"</div>\n<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def _table(page: Page) -> str:
    """Return the table for those who read rather than look."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in page.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in page.rows
    )
    return (
        "<details><summary>The most energetic targets in words</summary>\n"
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div></details>"
    )

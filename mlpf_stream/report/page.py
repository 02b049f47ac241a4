"""The page: one HTML file with everything inside, for desks and phones, with or without network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlpf_stream import __version__
from mlpf_stream.report.canvas import Drawing
from mlpf_stream.report.commands import commands
from mlpf_stream.report.comparison import Comparison
from mlpf_stream.report.curves import training_figures
from mlpf_stream.report.datacard import data_card_tables, data_cards, multiplicity_figure
from mlpf_stream.report.markup import element, items, paragraph, text
from mlpf_stream.report.overview import overview_figures
from mlpf_stream.report.responses import MEASURES, response_figures
from mlpf_stream.report.results import explanation, results_table, sentences
from mlpf_stream.report.runs import recipe_table, run_table
from mlpf_stream.report.speed import speed_figures, speed_table
from mlpf_stream.report.stylesheet import STYLE


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that the table of contents names."""

    anchor: str
    title: str
    body: str


def render(comparison: Comparison) -> str:
    """Return the page."""
    title = _title(comparison)
    sections = list(_sections(comparison))
    body = "\n".join(
        f'<section>\n<h2 id="{part.anchor}">{text(part.title)}</h2>\n{part.body}\n</section>'
        for part in sections
    )
    notices = "\n".join(paragraph(notice, "warning") for notice in _notices(comparison))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{text(title)}</h1>\n{_label(comparison)}</header>\n"
        f"{_contents(sections)}\n<main>\n{items(sentences(comparison), 'summary')}\n{notices}\n"
        f"{body}\n</main>\n"
        f"<footer>{text(f'Made by mlpf report of mlpf_stream {__version__}.')} "
        "This file holds everything it shows.</footer>\n</body>\n</html>\n"
    )


def _title(comparison: Comparison) -> str:
    """Name what is reported."""
    names = list(dict.fromkeys(comparison.names))
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"Particle flow: {shown}"


def _label(comparison: Comparison) -> str:
    """Name data at first sight, fast simulation above all."""
    labels = [card.title for _, card in data_cards(comparison)]
    if comparison.fast_simulation:
        labels.insert(0, "fast simulation")
    return "".join(f'<span class="label">{text(label)}</span>\n' for label in labels)


def _contents(sections: Sequence[Section]) -> str:
    """Return the table of contents."""
    links = "\n".join(
        f'<li><a href="#{part.anchor}">{text(part.title)}</a></li>' for part in sections
    )
    return f'<nav aria-label="Contents"><ul>\n{links}\n</ul></nav>'


def _sections(comparison: Comparison) -> Iterator[Section]:
    """Return the sections from top to bottom."""
    if comparison.processes:
        yield Section("results", "Results", _results(comparison))
    yield from _responses(comparison)
    if drawings := training_figures(comparison):
        yield Section("training", "Training", _figures(drawings, "figures small"))
    if comparison.runs:
        yield Section("speed", "Speed and padding", _speed(comparison))
    yield Section("networks", "Networks", _networks(comparison))
    cards = list(data_cards(comparison))
    for place, (digest, card) in enumerate(cards):
        drawing = multiplicity_figure(comparison, card, f"multiplicity-{place}")
        body = f"{data_card_tables(digest, card)}\n{_figures([drawing])}"
        yield Section(f"data-{place}", "Data" if len(cards) == 1 else f"Data: {card.title}", body)
    yield Section("made", "How it was made", _made(comparison))


def _results(comparison: Comparison) -> str:
    return "\n".join(
        (
            results_table(comparison),
            paragraph(explanation(comparison), "note"),
            _figures(list(overview_figures(comparison))),
        )
    )


def _responses(comparison: Comparison) -> Iterator[Section]:
    """Return a section of figures for every measure."""
    note = paragraph(
        "Heights are parts of all values, shown or not. Perfect targets are so narrow that their "
        "peaks leave the figures at the top.", "note",
    )  # fmt: skip
    for measure in MEASURES:
        if drawings := list(response_figures(comparison, measure)):
            yield Section(measure.name, measure.title, f"{note}{_figures(drawings)}")
            note = ""  # said once


def _speed(comparison: Comparison) -> str:
    """Return table and figures of speed; older runs have no figures."""
    drawings = speed_figures(comparison)
    shown = (
        _figures(drawings, "figures small")
        if drawings
        else paragraph("No timing.jsonl in these runs: no curves of speed and padding.", "note")
    )
    return f"{speed_table(comparison)}\n{shown}"


def _networks(comparison: Comparison) -> str:
    recipes = recipe_table(comparison)
    if recipes is None:
        return run_table(comparison)
    return (
        f"{run_table(comparison)}\n<details><summary>All settings of the recipes</summary>\n"
        f"{recipes}\n</details>"
    )


def _made(comparison: Comparison) -> str:
    lines = "\n".join(commands(comparison))
    note = paragraph("Words in capitals stand for what the files do not tell.", "note")
    return f"{element('pre', element('code', text(lines)))}\n{note}"


def _notices(comparison: Comparison) -> Iterator[str]:
    """Say what is missing and what must not be compared."""
    for name, folder in zip(comparison.names, comparison.folders, strict=True):
        if folder.evaluation is None:
            yield f"{name}: no evaluation in {folder.path}; make one with 'mlpf evaluate'."
        elif folder.evaluation.histograms is None:
            yield f"{name}: an older evaluation without histograms; run 'mlpf evaluate' again."
        if folder.training is None and folder.kind is not None:
            yield f"{name}: no training in {folder.path}, so no training curves."
        if folder.training is not None and folder.training.cut:
            cut = folder.training.cut
            yield f"{name}: {cut} line(s) of its journals were cut short and are left out."
    if not comparison.comparable:
        yield (
            "These evaluations are of different events or settings; their numbers must not be "
            "compared: " + "; ".join(dict.fromkeys(e.judged_on for e in comparison.evaluations))
        )


def _figures(drawings: Sequence[Drawing], css: str = "figures") -> str:
    """Return figures side by side where there is room."""
    parts = []
    for drawing in drawings:
        svg = drawing.svg.replace("<svg ", f'<svg aria-label="{text(drawing.caption)}" ', 1)
        caption = element("figcaption", text(drawing.caption))
        parts.append(f"<figure>\n{svg}\n{caption}\n</figure>")
    return element("div", "\n".join(parts), css)

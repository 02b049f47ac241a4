"""The page: one HTML file with everything inside, for desks and phones, with or without network."""

from collections.abc import Iterator, Sequence

from mlpf_stream import __version__
from mlpf_stream.report.canvas import Drawing
from mlpf_stream.report.comparison import Comparison
from mlpf_stream.report.figures import (
    MEASURES,
    multiplicity_figure,
    response_figures,
    training_figure,
)
from mlpf_stream.report.markup import element, paragraph, text
from mlpf_stream.report.provenance import (
    commands,
    data_card_tables,
    data_cards,
    recipe_table,
    run_table,
)
from mlpf_stream.report.results import explanation, results_table, sentences

STYLE = """
:root { color-scheme: light; --ink: #1a1c20; --soft: #5c6170; --line: #d9dce3; --tint: #f4f6fa; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; color: var(--ink); background: #fff;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
.note { color: var(--soft); font-size: .88rem; }
.warning { background: #fff4d6; border-left: 4px solid #ffa90e; padding: .5rem .8rem; }
.label { display: inline-block; background: var(--tint); border: 1px solid var(--line);
  border-radius: 1rem; padding: 0 .7rem; font-size: .88rem; font-style: italic; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tbody th { font-weight: normal; }
td.number { text-align: right; }
.facts th, .facts td { white-space: normal; overflow-wrap: anywhere; }
.facts th { color: var(--soft); min-width: 8rem; overflow-wrap: normal; }
.results td, .results thead th { text-align: right; white-space: nowrap; }
.results thead th { vertical-align: bottom; line-height: 1.25; }
.results thead th:first-child, .results tbody th { text-align: left; white-space: nowrap;
  position: sticky; left: 0; background: #fff; }
.results .process th { font-weight: 600; background: var(--tint); padding-top: .5rem; }
.results .target, .results .target th { color: var(--soft); }
.results small { color: var(--soft); }
td.best { font-weight: 700; }
.differs td { background: var(--tint); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1rem 1.6rem; align-items: start; }
.pair { display: flex; flex-wrap: wrap; gap: 0 2.5rem; }
.pair .scroll { flex: 0 1 auto; max-width: 100%; }
figure { margin: 0; max-width: 40rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figcaption { color: var(--soft); font-size: .85rem; line-height: 1.4; }
.bar { display: inline-block; height: .7em; margin-right: .4em; background: #3f90da; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .85rem; }
code { overflow-wrap: anywhere; }
pre { overflow-x: auto; background: var(--tint); border: 1px solid var(--line); padding: .7rem; }
summary { cursor: pointer; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { body { padding: .8rem; } h1 { font-size: 1.35rem; }
  table { font-size: .85rem; } th, td { padding: .25rem .45rem; } }
@media print { .scroll { overflow: visible; } figure { break-inside: avoid; } }
"""


def render(comparison: Comparison) -> str:
    """Return the page."""
    title = _title(comparison)
    body = "\n".join(_sections(comparison))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{text(title)}</h1>\n{_label(comparison)}</header>\n<main>\n{body}\n</main>\n"
        f"<footer>{text(f'Made by mlpf report of mlpf_stream {__version__}.')} "
        "This file holds everything it shows.</footer>\n</body>\n</html>\n"
    )


def _title(comparison: Comparison) -> str:
    """Name what is reported."""
    names = list(dict.fromkeys(comparison.names))
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"Particle flow: {shown}"


def _label(comparison: Comparison) -> str:
    return '<span class="label">fast simulation</span>\n' if comparison.fast_simulation else ""


def _sections(comparison: Comparison) -> Iterator[str]:
    """Return the sections from top to bottom."""
    yield paragraph(" ".join(sentences(comparison)), "summary")
    yield from (paragraph(notice, "warning") for notice in _notices(comparison))
    if comparison.processes:
        yield element("h2", "Results")
        yield results_table(comparison)
        yield paragraph(explanation(comparison), "note")
        yield from _responses(comparison)
    training = training_figure(comparison)
    if training is not None:
        yield element("h2", "Training")
        yield _figures([training])
    yield element("h2", "Networks")
    yield run_table(comparison)
    recipes = recipe_table(comparison)
    if recipes is not None:
        yield f"<details><summary>All settings of the recipes</summary>\n{recipes}\n</details>"
    yield from _data(comparison)
    yield element("h2", "How it was made")
    yield element("pre", element("code", text("\n".join(commands(comparison)))))
    yield paragraph("Words in capitals stand for what the files do not tell.", "note")


def _notices(comparison: Comparison) -> Iterator[str]:
    """Say what is missing and what must not be compared."""
    for name, folder in zip(comparison.names, comparison.folders, strict=True):
        if folder.evaluation is None:
            yield f"{name}: no evaluation in {folder.path}; make one with 'mlpf evaluate'."
        elif folder.evaluation.histograms is None:
            yield f"{name}: an older evaluation without histograms; run 'mlpf evaluate' again."
        if folder.training is None and folder.kind is not None:
            yield f"{name}: no training in {folder.path}, so no training curves."
    if not comparison.comparable:
        yield (
            "These evaluations are of different events or settings; their numbers must not be "
            "compared: " + "; ".join(dict.fromkeys(e.judged_on for e in comparison.evaluations))
        )


def _responses(comparison: Comparison) -> Iterator[str]:
    """Return the figures of every measure."""
    if any(evaluation.histograms for evaluation in comparison.evaluations):
        yield paragraph(
            "In the figures, heights are parts of all values, shown or not; perfect targets are so "
            "narrow that their peaks leave the figures at the top.", "note",
        )  # fmt: skip
    for measure in MEASURES:
        drawings = list(response_figures(comparison, measure))
        if drawings:
            yield element("h3", text(measure.title))
            yield _figures(drawings)


def _data(comparison: Comparison) -> Iterator[str]:
    """Return the card of every dataset."""
    for place, (digest, card) in enumerate(data_cards(comparison)):
        yield element("h2", f"Data: {text(card.title)}")
        yield data_card_tables(digest, card)
        yield _figures([multiplicity_figure(comparison, card, f"multiplicity-{place}")])


def _figures(drawings: Sequence[Drawing]) -> str:
    """Return figures side by side where there is room."""
    parts = []
    for drawing in drawings:
        svg = drawing.svg.replace("<svg ", f'<svg aria-label="{text(drawing.caption)}" ', 1)
        caption = element("figcaption", text(drawing.caption))
        parts.append(f"<figure>\n{svg}\n{caption}\n</figure>")
    return element("div", "\n".join(parts), "figures")

"""The data card: what a dataset holds, how it was made, and what its events look like."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from mlpf_stream.report.canvas import Drawing, draw, make_room, put_labels
from mlpf_stream.report.comparison import Comparison
from mlpf_stream.report.digits import NOTHING, percent
from mlpf_stream.report.legend import Entry, put_legend
from mlpf_stream.report.markup import Cell, element, facts, row, table, text
from mlpf_stream.report.palette import MODEL_COLOURS, Line
from mlpf_stream.report.records import DataCard, Scalar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROLES: Final = {"train": "trained on", "ood": "never trained on"}


def data_cards(comparison: Comparison) -> Iterator[tuple[str, DataCard]]:
    """Return every dataset once, with its digest."""
    seen = set()
    for evaluation in comparison.evaluations:
        if evaluation.dataset is not None and evaluation.dataset_digest not in seen:
            seen.add(evaluation.dataset_digest)
            yield evaluation.dataset_digest, evaluation.dataset


def data_card_tables(digest: str, card: DataCard) -> str:
    """Return what a dataset holds: facts, processes, splits, kinds, classes, generators."""
    parts = [
        _facts(digest, card),
        '<div class="tables">',
        _processes(card),
        _shares("split", "events", card.splits),
        _shares("element kind", "elements", card.elements_by_kind),
        _classes(card),
        "</div>",
    ]
    if card.generators:
        parts += [element("h3", "Generator settings"), _generators(card)]
    return "\n".join(parts)


def _facts(digest: str, card: DataCard) -> str:
    known = [
        ("detector", f"{text(card.detector)}, {card.field:g} T ({text(card.field_source)})"),
        ("simulation", text(_said(card, "simulation"))),
        ("generator", text(_said(card, "generator"))),
        ("events", f"{card.events:,}"),
        ("elements", f"{card.elements:,} ({text(card.mode)})"),
        ("padding", text(_padding(card))),
        ("skipped events", text(_counts(card.skipped))),
        ("truth", text(_truth(card))),
        ("missing features", text(", ".join(card.missing_features) or "none")),
        ("licence", text(card.licence)),
        ("sources", text(", ".join(card.sources_doi) or "no DOI given")),
        ("digest", f"<code>{text(digest)}</code>"),
    ]
    return facts(known)


def _processes(card: DataCard) -> str:
    """Return the events of every process, per split where the file tells."""
    splits = [name for name in card.splits if any(name in p.splits for p in card.processes)]
    head = ("process", "role", "events", *map(text, splits))
    rows = []
    for process in card.processes:
        cells: list[Cell] = [
            (text(process.name), "name"),
            (ROLES[process.role], ""),
            (f"{process.events:,}", "number"),
            *((f"{process.splits.get(name, 0):,}", "number") for name in splits),
        ]
        rows.append(row(cells))
    return table(head, rows)


def _shares(what: str, unit: str, counts: dict[str, int]) -> str:
    """Return counts, each with a bar as long as its part."""
    total = max(sum(counts.values()), 1)
    rows = [
        row([(text(name), "name"), (f"{count:,}", "number"), (_bar(count / total), "")])
        for name, count in counts.items()
    ]
    return table((what, unit, "part"), rows)


def _classes(card: DataCard) -> str:
    """Return the target elements of every class, per element kind where the file tells."""
    kinds = list(card.classes_by_kind)
    if not kinds:
        return _shares("target class", "elements", card.classes)
    total = max(sum(card.classes.values()), 1)
    rows = []
    for name, count in card.classes.items():
        cells: list[Cell] = [
            (text(name), "name"),
            *((f"{card.classes_by_kind[kind].get(name, 0):,}", "number") for kind in kinds),
            (f"{count:,}", "number"),
            (_bar(count / total), ""),
        ]
        rows.append(row(cells))
    return table(("target class", *(f"{text(kind)}s" for kind in kinds), "all", "part"), rows)


def _generators(card: DataCard) -> str:
    """Return the settings of every simulation; those said above are left out."""
    said = ("process", "generator", "simulation")
    keys = list(dict.fromkeys(key for part in card.generators for key in part if key not in said))
    rows = []
    for part in card.generators:
        cells: list[Cell] = [(text(part.get("process", NOTHING)), "name")]
        cells += [(_setting(part.get(key)), "number") for key in keys]
        rows.append(row(cells))
    return table(("process", *map(text, keys)), rows)


def _setting(value: Scalar) -> str:
    return text(NOTHING if value is None else f"{value:g}" if isinstance(value, float) else value)


def _bar(part: float) -> str:
    return f'<span class="bar" style="width:{part * 6:.2f}em"></span>{percent(part)}'


def _said(card: DataCard, key: str) -> str:
    """Return what the source files say of how they were made."""
    said = sorted({str(part[key]) for part in card.generators if key in part})
    return "; ".join(said) or "the source files do not say"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _padding(card: DataCard) -> str:
    """Say what filling every event up to the longest would cost."""
    longest = len(card.lengths.counts) * card.lengths.width
    part = card.elements / max(card.events * longest, 1)
    return (
        f"filled up to the longest event (up to {longest} rows), {percent(part, 0)} would be "
        "elements"
    )


def _truth(card: DataCard) -> str:
    """Say how the targets came about and how much confusion there is."""
    clusters = card.truth.get("clusters", 0.0)
    parts = [f"from {card.truth_source}"]
    if clusters:
        for key, words in (
            ("clusters_shared", "of the clusters hold two particles"),
            ("clusters_without_target", "are without target"),
        ):
            parts.append(f"{percent(card.truth.get(key, 0.0) / clusters)} {words}")
    tracks = int(card.truth.get("unlinked_tracks", 0.0))
    return ", ".join([*parts, f"{tracks:,} tracks unlinked"])


def multiplicity_figure(comparison: Comparison, card: DataCard, name: str) -> Drawing:
    """Draw how many events have how many elements."""
    caption = f"Elements per event in bins of {card.lengths.width}, all splits and processes."
    return draw(name, caption, partial(_paint, comparison=comparison, card=card))


def _paint(axes: "Axes", comparison: Comparison, card: DataCard) -> None:
    line = Line(MODEL_COLOURS[0], 2.0, "-", "o", 2, area=True)
    counts_N = np.array(card.lengths.counts, np.float64)
    edges_E = np.arange(len(counts_N) + 1) * float(card.lengths.width)
    axes.stairs(counts_N, edges_E, fill=True, color=line.colour, alpha=0.3)
    axes.stairs(counts_N, edges_E, color=line.colour, linewidth=line.width)
    kinds = " and ".join(f"{kind}s" for kind in card.elements_by_kind)
    axes.set(xlabel=f"Elements per event ({kinds})", ylabel="Events", xlim=(0, edges_E[-1]))
    axes.set_ylim(0, max(float(counts_N.max(initial=0)), 1.0) * 1.06)
    mean = f"{card.elements / max(card.events, 1):.0f}"
    entry = Entry(f"{card.events:,} events", (mean, f"{_below(card, 0.95)}"), line)
    make_room(axes, put_legend(axes, ("mean", "95% below"), [entry]))
    put_labels(axes, comparison.labels("all splits"))


def _below(card: DataCard, part: float) -> int:
    """Return the upper edge of the bin that this part of the events reaches."""
    below_N = np.cumsum(card.lengths.counts)
    total = int(below_N[-1]) if len(below_N) else 0
    return (int(np.searchsorted(below_N, part * total)) + 1) * card.lengths.width

"""The results in numbers: a table per process and sentences that sum them up."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from mlpf_stream.report.comparison import Comparison, Source
from mlpf_stream.report.markup import Cell, element, measured, row, table, text
from mlpf_stream.report.records import MeasuresRecord

Pair = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Column:
    """One number of the table: with its error, and how far from ideal a value is.

    `places` are the decimals of a number without error.
    """

    head: str
    places: int
    value: Callable[[MeasuresRecord], Pair]
    distance: Callable[[float], float]


def _from_one(value: float) -> float:
    return abs(value - 1)


COLUMNS: Final = (
    Column("jet<br>median", 3, lambda m: (m.jet.median, m.jet.median_error), _from_one),
    Column("jet<br>IQR/median", 4, lambda m: (m.jet.resolution, m.jet.resolution_error), abs),
    Column(
        "jets<br>matched", 3,
        lambda m: (m.jet.matched_fraction, m.jet.matched_fraction_error), _from_one,
    ),
    Column("MET<br>median", 3, lambda m: (m.met.median, m.met.median_error), _from_one),
    Column(
        "MET x, y<br>IQR [GeV]", 2, lambda m: (m.met.resolution_gev, m.met.resolution_gev_error),
        abs,
    ),
    Column(
        "sum |p|<br>median", 3, lambda m: (m.momentum.median, m.momentum.median_error), _from_one,
    ),
    Column(
        "sum |p|<br>IQR/median", 4,
        lambda m: (m.momentum.resolution, m.momentum.resolution_error), abs,
    ),
)  # fmt: skip


def results_table(comparison: Comparison) -> str:
    """Return the numbers of every process and origin of particles."""
    head = ["particles", *(column.head for column in COLUMNS)]
    rows: list[str] = []
    for process in comparison.processes:
        words = text(_titled(comparison, process))
        title = f'<th scope="rowgroup" colspan="{len(head)}">{words}</th>'
        rows.append(element("tr", title, "process"))
        rows.extend(_rows(comparison, process))
    return table(head, rows, "results")


def explanation(comparison: Comparison) -> str:
    """Say what the columns mean."""
    least = [e.least_missing_gev for e in comparison.evaluations if e.least_missing_gev]
    where = f" where the generator has more than {least[0]:g} GeV" if least else ""
    return (
        "Response is reconstructed / generated, its width the distance of the quartiles (IQR). "
        "Jets are matched one to one. MET is the missing transverse momentum: its median response"
        f"{where}, and the width of the differences of both components over all events. Errors "
        "are bootstrap errors over events. Perfect targets are what training aims at: the "
        "ceiling. Bold: nearest to ideal of models and rules, whatever the errors."
    )


def _titled(comparison: Comparison, process: str) -> str:
    """Name a process, its role and how many events were judged."""
    found = [m.momentum.count for s in comparison.sources if (m := s.measures(process))]
    role = ", never trained on" if comparison.unseen(process) else ""
    return f"{process}{role}: {max(found, default=0):,} events"


def _rows(comparison: Comparison, process: str) -> Iterator[str]:
    """Return the rows of one process, the best of models and baseline in bold."""
    shown = [(s, m) for s in comparison.sources if (m := s.measures(process)) is not None]
    best = {
        column.head: _best(column, shown) if comparison.comparable else None for column in COLUMNS
    }
    for source, measures in shown:
        cells: list[Cell] = [(text(source.name), "name")]
        for column in COLUMNS:
            value, error = column.value(measures)
            chosen = source.role != "target" and value is not None and value == best[column.head]
            cells.append((measured(value, error, column.places), "best" if chosen else ""))
        yield row(cells, source.role)


def _best(column: Column, shown: list[tuple[Source, MeasuresRecord]]) -> float | None:
    """Return the value nearest to ideal of models and baseline, None with nothing to compare."""
    found = [column.value(m)[0] for source, m in shown if source.role != "target"]
    values = [value for value in found if value is not None and math.isfinite(value)]
    return min(values, key=column.distance) if len(values) > 1 else None


def sentences(comparison: Comparison) -> Iterator[str]:
    """Sum up what was judged, on what, and how it came out."""
    yield from _judged(comparison)
    if not comparison.evaluations:
        return
    spans = [
        f"{source.name} {span}"
        for source in comparison.sources
        if source.role != "target" and (span := _span(source, comparison))
    ]
    if spans:
        where = _processes(comparison)
        yield f"Width of the jet response (IQR/median) in {where}: {', '.join(spans)}."
    yield from _verdict(comparison)
    if comparison.fast_simulation:
        yield "The data are fast simulation: no statement about a real detector."


def _judged(comparison: Comparison) -> Iterator[str]:
    """Say which networks were trained how long, and what they were judged on."""
    for name, folder in zip(comparison.names, comparison.folders, strict=True):
        summary = folder.training.summary if folder.training else None
        if summary is not None:
            size = f" ({summary.parameters:,} parameters)" if summary.parameters else ""
            seen = f"{summary.steps:,} steps on {summary.events:,} events"
            yield f"{name}{size} was trained for {seen}."
    for events, split, title in dict.fromkeys(
        (e.events, e.split, e.dataset.title if e.dataset else e.data)
        for e in comparison.evaluations
    ):
        yield f"Judged on {events:,} events of split {split} of {title!r}."


def _processes(comparison: Comparison) -> str:
    names = comparison.processes
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _span(source: Source, comparison: Comparison) -> str | None:
    """Return smallest and largest jet resolution of a source."""
    found = [m.jet.resolution for p in comparison.processes if (m := source.measures(p))]
    values = sorted(value for value in found if value is not None and math.isfinite(value))
    if not values:
        return None
    low, high = values[0], values[-1]
    return f"{low:.3f}" if len(values) == 1 else f"{low:.3f} to {high:.3f}"


def _verdict(comparison: Comparison) -> Iterator[str]:
    """Say of two models which has the narrower jets, and where by more than the errors."""
    models = [source for source in comparison.sources if source.role == "mlpf"]
    if len(models) != 2 or not comparison.comparable:
        return
    first, second = models
    ahead: dict[str, list[str]] = {first.name: [], second.name: []}
    judged = 0
    for process in comparison.processes:
        gain = _gain(first.measures(process), second.measures(process))
        if gain is None:
            continue
        judged += 1
        difference, error = gain
        if abs(difference) > error:
            ahead[first.name if difference > 0 else second.name].append(process)
    for (name, processes), other in zip(ahead.items(), (second.name, first.name), strict=True):
        if processes:
            yield (
                f"{name} has narrower jets than {other}, by more than both errors together, in "
                f"{', '.join(processes)} ({len(processes)} of {judged} processes)."
            )
    if judged and not any(ahead.values()):
        yield f"{first.name} and {second.name} agree in jet width within their errors."


def _gain(
    first: MeasuresRecord | None, second: MeasuresRecord | None
) -> tuple[float, float] | None:
    """Return by how much the first jets are narrower, and the sum of both errors."""
    if first is None or second is None:
        return None
    values = (first.jet.resolution, second.jet.resolution)
    errors = (first.jet.resolution_error, second.jet.resolution_error)
    if None in values or None in errors:
        return None
    return (values[1] or 0.0) - (values[0] or 0.0), (errors[0] or 0.0) + (errors[1] or 0.0)

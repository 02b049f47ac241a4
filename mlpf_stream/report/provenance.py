"""Where everything came from: the data card, the settings of runs, and the commands."""

import shlex
from collections.abc import Iterator, Sequence

from mlpf_stream.report.comparison import Comparison
from mlpf_stream.report.folder import Folder
from mlpf_stream.report.markup import NOTHING, Cell, facts, number, row, table, text
from mlpf_stream.report.records import DataCard, EvaluationRecord

ROLES = {"train": "trained on", "ood": "never trained on"}


def data_cards(comparison: Comparison) -> Iterator[tuple[str, DataCard]]:
    """Return every dataset once, with its digest."""
    seen = set()
    for evaluation in comparison.evaluations:
        if evaluation.dataset is not None and evaluation.dataset_digest not in seen:
            seen.add(evaluation.dataset_digest)
            yield evaluation.dataset_digest, evaluation.dataset


def data_card_tables(digest: str, card: DataCard) -> str:
    """Return what a dataset holds: facts, processes and classes."""
    kinds = ", ".join(f"{count:,} {kind}s" for kind, count in card.elements_by_kind.items())
    known = [
        ("detector", f"{text(card.detector)}, {card.field:g} T ({text(card.field_source)})"),
        ("simulation", text(_said(card, "simulation"))),
        ("generator", text(_said(card, "generator"))),
        ("events", f"{card.events:,}"),
        ("elements", f"{card.elements:,} ({text(kinds)})"),
        ("splits", text(", ".join(f"{n} {count:,}" for n, count in card.splits.items()))),
        ("skipped events", text(_counts(card.skipped))),
        ("truth", text(_truth(card))),
        ("missing features", text(", ".join(card.missing_features) or "none")),
        ("licence", text(card.licence)),
        ("sources", text(", ".join(card.sources_doi) or "no DOI given")),
        ("digest", f"<code>{text(digest)}</code>"),
    ]
    processes = [
        row([(text(p.name), "name"), (ROLES[p.role], ""), (f"{p.events:,}", "number")])
        for p in card.processes
    ]
    return "\n".join(
        (
            facts(known),
            '<div class="pair">',
            table(("process", "role", "events"), processes),
            table(("class", "target elements", "part"), _classes(card)),
            "</div>",
        )
    )


def _said(card: DataCard, key: str) -> str:
    """Return what the source files say of how they were made."""
    said = sorted({str(facts[key]) for facts in card.generators if key in facts})
    return "; ".join(said) or "the source files do not say"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _truth(card: DataCard) -> str:
    """Say how the targets came about and how much confusion there is."""
    clusters = card.truth.get("clusters", 0.0)
    parts = [f"from {card.truth_source}"]
    if clusters:
        for key, words in (
            ("clusters_shared", "of the clusters hold two particles"),
            ("clusters_without_target", "are without target"),
        ):
            parts.append(f"{card.truth.get(key, 0.0) / clusters:.1%} {words}")
    tracks = int(card.truth.get("unlinked_tracks", 0.0))
    return ", ".join([*parts, f"{tracks:,} tracks unlinked"])


def _classes(card: DataCard) -> Iterator[str]:
    """Return the rows of the classes, each with a bar as long as its part."""
    total = max(sum(card.classes.values()), 1)
    for name, count in card.classes.items():
        part = count / total
        bar = f'<span class="bar" style="width:{part * 6:.2f}em"></span>{part:.1%}'
        yield row([(text(name), "name"), (f"{count:,}", "number"), (bar, "")])


def run_table(comparison: Comparison) -> str:
    """Return how the networks were made, a column per folder."""
    columns = [_run_facts(folder) for folder in comparison.folders]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return table(("", *map(text, comparison.names)), _aligned(names, columns))


def recipe_table(comparison: Comparison) -> str | None:
    """Return all settings of all runs, those that differ marked; None if there is no recipe."""
    columns = [_recipe_facts(folder) for folder in comparison.folders]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return table(("", *map(text, comparison.names)), _aligned(names, columns)) if names else None


def _aligned(names: Sequence[str], columns: Sequence[dict[str, str]]) -> Iterator[str]:
    """Return a row per name; rows whose values differ are marked."""
    for name in names:
        values = [column.get(name, NOTHING) for column in columns]
        cells: list[Cell] = [(text(name), "name"), *((value, "") for value in values)]
        yield row(cells, "differs" if len(set(values)) > 1 else "")


def _run_facts(folder: Folder) -> dict[str, str]:
    """Return names and markup of what is known of a network."""
    known = {"folder": f"<code>{text(folder.path)}</code>"}
    model = folder.evaluation.model if folder.evaluation else None
    if folder.kind is not None:
        known["network"] = text(folder.kind)
    if model is not None:
        known["parameters"] = f"{model.parameters:,}"
        known["parameter digest"] = f"<code>{text(model.digest)}</code>"
    if folder.training is None:
        return known
    summary, outcome = folder.training.summary, folder.training.outcome
    if summary is not None:
        if summary.parameters:
            known["parameters"] = f"{summary.parameters:,}"
        known |= {
            "steps": f"{summary.steps:,}",
            "events seen": f"{summary.events:,}",
            "train loss, first tenth": number(summary.first_loss, 4),
            "train loss, last tenth": number(summary.last_loss, 4),
            "validation loss": number(summary.valid_loss, 4),
            "events per second": number(summary.events_per_second, 0),
            "waited for data": number(summary.data_wait_fraction, 3),
        }
    ended = f"{outcome.message} (code {outcome.code})" if outcome else "not ended"
    return known | {"outcome": text(ended)}


def _recipe_facts(folder: Folder) -> dict[str, str]:
    """Return every setting of a recipe by its dotted name."""
    if folder.training is None:
        return {}
    return {
        f"{section}.{key}": text(value)
        for section, part in folder.training.recipe.items()
        for key, value in part.items()
    }


def commands(comparison: Comparison) -> list[str]:
    """Return the commands that make this page again, as far as the files tell."""
    lines: list[str] = []
    for _, card in data_cards(comparison):
        lines += [_simulate(settings) for settings in card.generators if "process" in settings]
    for evaluation in comparison.evaluations:
        if evaluation.dataset is not None:
            lines.append(_convert(evaluation, evaluation.dataset))
    for folder in comparison.folders:
        lines += _train(folder)
        lines += _evaluate(folder)
    lines.append(_command("report", *(folder.path for folder in comparison.folders)))
    return list(dict.fromkeys(lines))


def _simulate(settings: dict[str, str | int | float | bool | None]) -> str:
    named = ("process", "events", "seed", "detector", "pileup", "files", "multiplicity")
    options = [part for name in named if name in settings for part in (f"--{name}", settings[name])]
    return _command("simulate", *options, "--out", "SOURCES")


def _convert(evaluation: EvaluationRecord, card: DataCard) -> str:
    return _command(
        "convert", "SOURCES", "--out", evaluation.data, "--mode", card.mode,
        "--detector", card.detector, "--title", card.title,
    )  # fmt: skip


def _train(folder: Folder) -> list[str]:
    if folder.training is None or not folder.training.recipe:
        return []
    return [_command("train", f"{folder.path.rstrip('/')}/recipe.yaml", "run.dir=RUN")]


def _evaluate(folder: Folder) -> list[str]:
    evaluation = folder.evaluation
    if evaluation is None or folder.evaluation_path is None:
        return []
    return [
        _command(
            "evaluate", evaluation.checkpoint, "--data", evaluation.data, "--split",
            evaluation.split, "--jet-radius", evaluation.physics.get("jet_radius", 0.7),
            "--out", folder.evaluation_path.rpartition("/")[0],
        )
    ]  # fmt: skip


def _command(*words: object) -> str:
    """Return a command that a shell reads as meant."""
    return shlex.join(["mlpf", *map(str, words)])

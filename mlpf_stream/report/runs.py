"""What the networks are and how they were trained: facts and settings, a column per folder."""

from mlpf_stream.report.comparison import Comparison
from mlpf_stream.report.digits import fixed
from mlpf_stream.report.folder import Folder
from mlpf_stream.report.markup import aligned, text


def run_table(comparison: Comparison) -> str:
    """Return how the networks were made."""
    return aligned(comparison.names, [_run_facts(folder) for folder in comparison.folders])


def recipe_table(comparison: Comparison) -> str | None:
    """Return all settings of all runs, those that differ marked; None if there is no recipe."""
    columns = [_recipe_facts(folder) for folder in comparison.folders]
    return aligned(comparison.names, columns) if any(columns) else None


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
            "train loss, first tenth": text(fixed(summary.first_loss, 4)),
            "train loss, last tenth": text(fixed(summary.last_loss, 4)),
            "validation loss": text(fixed(summary.valid_loss, 4)),
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

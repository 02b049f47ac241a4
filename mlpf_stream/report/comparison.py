"""What is shown beside what: every model, baseline and perfect targets, each once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mlpf_stream.report.folder import Folder
from mlpf_stream.report.records import EvaluationRecord, MeasuresRecord, Spectra

Role = Literal["mlpf", "baseline", "target"]

MODEL_NAMES: Final = {"lsh_gnn": "LSH GNN", "mlp": "MLP", "performer": "Performer"}
SHARED_NAMES: Final[dict[Role, str]] = {"baseline": "rule-based", "target": "perfect targets"}


@dataclass(frozen=True, slots=True)
class Source:
    """Particles of one origin: a line in the figures, a row in the table."""

    name: str
    role: Role
    place: int
    evaluation: EvaluationRecord

    def measures(self, process: str) -> MeasuresRecord | None:
        """Return the numbers of a process, None if it was not judged."""
        return self.evaluation.processes.get(process, {}).get(self.role)

    def spectra(self, process: str) -> Spectra | None:
        """Return the histograms of a process, None if the file has none."""
        return (self.evaluation.histograms or {}).get(process, {}).get(self.role)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The folders of a report, their names, and the particles to show."""

    folders: tuple[Folder, ...]
    names: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def evaluations(self) -> tuple[EvaluationRecord, ...]:
        """Return the evaluations of all folders that have one."""
        return tuple(f.evaluation for f in self.folders if f.evaluation is not None)

    @property
    def comparable(self) -> bool:
        """Return whether all numbers are of the same events with the same settings."""
        return len({evaluation.judged_on for evaluation in self.evaluations}) <= 1

    @property
    def processes(self) -> tuple[str, ...]:
        """Return the judged processes: those trained on first, then those never trained on."""
        judged = sorted({name for part in self.evaluations for name in part.processes})
        return tuple(sorted(judged, key=self.unseen))

    def unseen(self, process: str) -> bool:
        """Return whether a process was never trained on."""
        cards = [part.dataset for part in self.evaluations if part.dataset is not None]
        return any(p.name == process and p.role == "ood" for card in cards for p in card.processes)

    @property
    def fast_simulation(self) -> bool:
        """Return whether any of the data is from a fast simulation."""
        return any(e.dataset is not None and e.dataset.fast_simulation for e in self.evaluations)


def compare_folders(folders: Sequence[Folder]) -> Comparison:
    """Name every folder and line up the particles that were judged in them.

    Baseline and perfect targets are shown once for all evaluations of the same events.
    """
    names = _names(folders)
    judged = [(n, f.evaluation) for n, f in zip(names, folders, strict=True) if f.evaluation]
    models = [
        Source(name, "mlpf", place, evaluation)
        for place, (name, evaluation) in enumerate(judged)
        if any("mlpf" in parts for parts in evaluation.processes.values())
    ]
    first_of = {evaluation.judged_on: (name, evaluation) for name, evaluation in reversed(judged)}
    groups = list(reversed(first_of.values()))
    shared = [
        Source(f"{text} ({name})" if len(groups) > 1 else text, role, place, evaluation)
        for role, text in SHARED_NAMES.items()
        for place, (name, evaluation) in enumerate(groups)
    ]
    return Comparison(tuple(folders), names, (*models, *shared))


def _names(folders: Sequence[Folder]) -> tuple[str, ...]:
    """Name folders by their kind of network, and by their folder where that says too little."""
    kinds = [MODEL_NAMES.get(f.kind, f.kind) if f.kind else "evaluation" for f in folders]
    often = Counter(kinds)
    tails = _tails([f.path for f in folders])
    return tuple(
        f"{kind} ({tail})" if often[kind] > 1 else kind
        for kind, tail in zip(kinds, tails, strict=True)
    )


def _tails(paths: Sequence[str]) -> list[str]:
    """Return the ends of paths, just long enough to tell them apart."""
    parts = [Path(path).absolute().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]

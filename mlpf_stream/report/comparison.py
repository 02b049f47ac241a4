"""What is shown beside what: every run, every model, baseline and perfect targets, each once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mlpf_stream.report.canvas import Labels
from mlpf_stream.report.folder import Folder, Training
from mlpf_stream.report.palette import Line, baseline_line, model_line, target_line
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

    @property
    def line(self) -> Line:
        """Return how it looks in every figure."""
        if self.role == "mlpf":
            return model_line(self.place)
        return (baseline_line if self.role == "baseline" else target_line)(self.place)

    def measures(self, process: str) -> MeasuresRecord | None:
        """Return the numbers of a process, None if it was not judged."""
        return self.evaluation.processes.get(process, {}).get(self.role)

    def spectra(self, process: str) -> Spectra | None:
        """Return the histograms of a process, None if the file has none."""
        return (self.evaluation.histograms or {}).get(process, {}).get(self.role)


@dataclass(frozen=True, slots=True)
class Run:
    """A training with its name and look."""

    name: str
    line: Line
    training: Training


@dataclass(frozen=True, slots=True)
class Comparison:
    """The folders of a report, their names, and the particles to show."""

    folders: tuple[Folder, ...]
    names: tuple[str, ...]
    sources: tuple[Source, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Return the trainings of all folders that have one."""
        named = enumerate(zip(self.names, self.folders, strict=True))
        return tuple(
            Run(name, model_line(place), folder.training)
            for place, (name, folder) in named
            if folder.training is not None
        )

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

    def labels(self, right: str) -> Labels:
        """Return what stands above a figure, `right` naming what it shows."""
        detectors = {e.dataset.detector.upper() for e in self.evaluations if e.dataset}
        detector = ", ".join(sorted(detectors)) or "mlpf_stream"
        if self.fast_simulation:
            return Labels(f"{detector}-like", "Fast simulation", right)
        return Labels(detector, "", right)


def compare_folders(folders: Sequence[Folder]) -> Comparison:
    """Name every folder and line up the particles that were judged in them.

    Baseline and perfect targets are shown once for all evaluations of the same events.
    """
    names = _names(folders)
    judged = [
        (place, name, folder.evaluation)
        for place, (name, folder) in enumerate(zip(names, folders, strict=True))
        if folder.evaluation is not None
    ]
    models = [
        Source(name, "mlpf", place, evaluation)
        for place, name, evaluation in judged
        if any("mlpf" in parts for parts in evaluation.processes.values())
    ]
    first_of = {evaluation.judged_on: (name, evaluation) for _, name, evaluation in judged[::-1]}
    groups = list(first_of.values())[::-1]
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


def _tails(urls: Sequence[str]) -> list[str]:
    """Return the ends of paths, just long enough to tell them apart."""
    parts = [parts_of(url) for url in urls]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def parts_of(url: str) -> tuple[str, ...]:
    """Return the folders of a path or URL from the root on: what tells places apart."""
    if "://" not in url:
        return Path(url).absolute().parts
    return tuple(part for part in url.split("/") if part)

"""What evaluations and trainings wrote, as far as the page shows it.

The files are the interface: nothing of the code that wrote them is imported. Keys that the page
does not show are ignored, so that files may grow; parts that older files lack are optional.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Scalar = str | int | float | bool | None


class Record(BaseModel):
    """A part of a file: immutable, other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=True)


class Spread(Record):
    """Median and width of one measure with errors, None where there were too few values."""

    count: int
    median: float | None
    iqr: float | None
    resolution: float | None
    matched_fraction: float | None
    median_error: float | None = None
    iqr_error: float | None = None
    resolution_error: float | None = None
    matched_fraction_error: float | None = None
    resolution_gev: float | None = None
    resolution_gev_error: float | None = None


class MeasuresRecord(Record):
    """One reconstruction of one process."""

    jet: Spread
    met: Spread
    momentum: Spread


class Edges(Record):
    """Bins of equal width."""

    first: float
    last: float
    bins: int = Field(ge=1, le=10_000)


class HistogramRecord(Record):
    """Counts per bin, and below and above all bins."""

    edges: Edges
    counts: tuple[int, ...]
    underflow: int = 0
    overflow: int = 0


class Spectra(Record):
    """How the measured values of one reconstruction are spread."""

    jet: HistogramRecord
    met: HistogramRecord
    momentum: HistogramRecord


class ProcessRecord(Record):
    """One physics process of a dataset."""

    name: str
    role: Literal["train", "ood"]
    events: int
    splits: dict[str, int] = {}


class Lengths(Record):
    """How many events have how many elements, in bins of `width`."""

    width: int = Field(ge=1)
    counts: tuple[int, ...]


class DataCard(Record):
    """What a dataset holds and how it was made."""

    title: str
    licence: str
    detector: str
    mode: str
    field: float
    field_source: str
    events: int
    elements: int
    elements_by_kind: dict[str, int]
    processes: tuple[ProcessRecord, ...]
    splits: dict[str, int]
    classes: dict[str, int]
    classes_by_kind: dict[str, dict[str, int]] = {}
    lengths: Lengths
    truth_source: str
    truth: dict[str, float]
    missing_features: tuple[str, ...] = ()
    skipped: dict[str, int] = {}
    sources_doi: tuple[str, ...] = ()
    generators: tuple[dict[str, Scalar], ...] = ()

    @property
    def fast_simulation(self) -> bool:
        """Return whether any source file says that no full detector simulation made it."""
        return any(str(facts.get("simulation", "")).startswith("fast") for facts in self.generators)


class ModelRecord(Record):
    """The network that was judged."""

    kind: str
    parameters: int
    digest: str
    provenance: dict[str, str] = {}


class EvaluationRecord(Record):
    """evaluation.json."""

    checkpoint: str
    data: str
    dataset_digest: str
    split: str
    events: int
    physics: dict[str, Scalar]
    least_missing_gev: float | None = None
    processes: dict[str, dict[str, MeasuresRecord]]
    model: ModelRecord | None = None
    dataset: DataCard | None = None
    histograms: dict[str, dict[str, Spectra]] | None = None

    @property
    def judged_on(self) -> str:
        """Return what two evaluations must share for their numbers to be comparable."""
        settings = ", ".join(f"{key}={self.physics[key]}" for key in sorted(self.physics))
        return f"dataset {self.dataset_digest}, split {self.split}, {settings}"


class SummaryRecord(Record):
    """summary.json of a training."""

    steps: int
    events: int
    first_loss: float | None = None
    last_loss: float | None = None
    valid_loss: float | None = None
    events_per_second: float | None = None
    data_wait_fraction: float | None = None
    parameters: int | None = None
    ranks: int | None = None
    launcher: str | None = None
    engine: str | None = None


class OutcomeRecord(Record):
    """outcome.json of a training."""

    code: int
    message: str


class StepRecord(Record):
    """One line of metrics.jsonl."""

    step: int
    loss: float | None = None
    classification: float | None = None
    charge: float | None = None
    regression: float | None = None
    gradient_norm: float | None = None
    learning_rate: float | None = None
    valid_loss: float | None = None


class TimingRecord(Record):
    """One line of timing.jsonl: sums over the steps since the line before.

    Events and rows are those of all ranks, `computed_rows` count filled-up ones too; seconds are
    of the clock of rank 0.
    """

    step: int
    events: int = Field(ge=0)
    rows: int = Field(ge=0)
    computed_rows: int = Field(ge=0)
    seconds: float = Field(ge=0)
    wait_seconds: float = Field(ge=0)

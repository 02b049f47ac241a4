"""The one recipe of a run: frozen sections, checked at the door, overridden by dotted paths.

Inside, a function takes the section it needs, never the whole recipe.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mlpf_stream.errors import ConfigError


class Section(BaseModel):
    """A part of the recipe: immutable, and a misspelt key or a NaN is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RunConfig(Section):
    """Where a run writes and how it is seeded."""

    dir: str = Field("runs/default", description="folder that the run writes")
    seed: int = Field(1, ge=0, description="seed of the weights and of the event order")


class DataConfig(Section):
    """What a run reads."""

    url: str = Field(description="dataset prefix that 'mlpf convert' wrote")
    version: int | None = Field(
        None, ge=1, description="version of the dataset; null: the newest when the run begins"
    )
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="times that an event of a process is seen in an epoch, for the dataset's"
    )


class StreamConfig(Section):
    """How events become batches."""

    engine: Literal["auto", "ray", "direct"] = Field(
        "auto",
        description="who reads: Ray Data, or a thread of the rank; auto: ray under launcher ray",
    )
    layout: Literal["packed", "bucketed"] = Field(
        "packed", description="packed rows, or buckets of like length padded to (B, L)"
    )
    buckets: int = Field(8, ge=1, description="padded lengths L of layout bucketed")
    row_budget: int = Field(4096, ge=64, description="rows of one micro-batch: T, or at most B * L")
    micro_batches: int = Field(1, ge=1, description="micro-batches G of one global step")
    window_mb: float = Field(32.0, gt=0, description="packs read together [MB]")
    read_ahead: int = Field(2, ge=0, description="windows read ahead by a thread")


class LshGnnConfig(Section):
    """The LSH graph network: learned blocks in an event, a learned graph in a block."""

    kind: Literal["lsh_gnn"] = "lsh_gnn"
    width: int = Field(128, ge=8, description="embedding width D")
    layers: int = Field(4, ge=1, description="graph layers L")
    heads: int = Field(4, ge=1, description="heads per layer; divides width")
    expansion: int = Field(4, ge=1, description="hidden width of the feed-forward part, in D")
    block: int = Field(64, ge=2, description="largest number of elements in a block")

    @model_validator(mode="after")
    def _check_heads(self) -> "LshGnnConfig":
        _heads_divide_width(self.width, self.heads)
        return self


class PerformerConfig(Section):
    """The Performer: every element attends to its whole event through random features."""

    kind: Literal["performer"] = "performer"
    width: int = Field(128, ge=8, description="embedding width D")
    layers: int = Field(4, ge=1, description="attention layers L")
    heads: int = Field(4, ge=1, description="heads per layer; divides width")
    expansion: int = Field(4, ge=1, description="hidden width of the feed-forward part, in D")
    features: int = Field(64, ge=1, description="random features m that estimate the softmax")
    block: int = Field(64, ge=2, description="largest number of elements in a block of sums")

    @model_validator(mode="after")
    def _check_heads(self) -> "PerformerConfig":
        _heads_divide_width(self.width, self.heads)
        return self


def _heads_divide_width(width: int, heads: int) -> None:
    """Refuse heads of a broken width."""
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}")


class MlpConfig(Section):
    """The per-element network: sees each element alone; the floor that a graph must beat."""

    kind: Literal["mlp"] = "mlp"
    width: int = Field(128, ge=8, description="embedding width D")
    layers: int = Field(6, ge=1, description="residual layers L")
    expansion: int = Field(4, ge=1, description="hidden width of a layer, in D")
    block: int = Field(64, ge=2, description="unused by the network; the layout needs it")


ModelConfig = Annotated[LshGnnConfig | PerformerConfig | MlpConfig, Field(discriminator="kind")]


class LossConfig(Section):
    """Weights of the training objective."""

    focal_gamma: float = Field(2.0, ge=0, description="focusing exponent of the class loss")
    huber_delta: float = Field(0.3, gt=0, description="where Huber turns linear, in target units")
    classification: float = Field(1.0, ge=0, description="weight of the class loss")
    charge: float = Field(0.2, ge=0, description="weight of the charge loss")
    regression: float = Field(1.0, ge=0, description="weight of the momentum loss")


class TrainConfig(Section):
    """The optimisation."""

    steps: int = Field(1000, ge=1, description="global steps")
    learning_rate: float = Field(2e-3, gt=0, description="peak of the one-cycle schedule")
    warmup_fraction: float = Field(0.1, gt=0, lt=1, description="rising part of the one-cycle")
    weight_decay: float = Field(0.01, ge=0, description="AdamW decay of matrices")
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm")
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints that stay")
    valid_every: int = Field(200, ge=1, description="steps between validations")
    valid_events: int = Field(2000, ge=1, description="at most so many events per validation")
    valid_cache_mb: float = Field(
        256, ge=0, description="a rank keeps its validation batches if they are smaller [MB]"
    )
    log_every: int = Field(1, ge=1, description="steps between lines of metrics.jsonl")
    log_keys: bool = Field(True, description="write all event keys of a step, not only a digest")
    threads: int = Field(
        0, ge=0, description="CPU threads of a rank; 0: all cores, or its CPUs under launcher ray"
    )
    launcher: Literal["local", "ray"] = Field(
        "local", description="who starts the ranks: this process is the one rank, or Ray Train"
    )
    ranks: int = Field(1, ge=1, description="ranks that share each global step")
    deterministic: bool = Field(
        False, description="sum gradients in rank order: the same bits after a restart, W > 2 too"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: autocast; weights, sums and losses stay float32"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where tensors live")


class RayConfig(Section):
    """The Ray cluster that launcher and engine `ray` use."""

    address: str = Field(
        "local", description="local: a Ray of its own on this host; auto: $RAY_ADDRESS; HOST:PORT"
    )
    cpus: float = Field(0, ge=0, description="CPUs that a local Ray offers; 0: all cores")
    object_store_mb: float = Field(
        1024, ge=80, description="shared memory of a local Ray's object store [MB]"
    )
    cpus_per_rank: float = Field(1, gt=0, description="CPUs that each rank reserves")
    readers: int = Field(2, ge=1, description="reading tasks at work for each rank")
    reader_cpus: float = Field(0, ge=0, description="CPUs that each reading task reserves")
    segment_windows: int = Field(
        2, ge=1, description="windows that Ray Data reads in one go, while the ones before train"
    )
    max_failures: int = Field(3, ge=0, description="lost ranks after which the run gives up")
    startup_seconds: float = Field(
        60, ge=0, description="longest wait for a cluster that is still growing [s]"
    )


class PhysicsConfig(Section):
    """How candidates are judged."""

    jet_radius: float = Field(0.7, gt=0, description="R of the generalised-kt e+e- algorithm [rad]")
    jet_power: float = Field(-1.0, description="p of the generalised-kt e+e- algorithm")
    jet_min_pt: float = Field(5.0, ge=0, description="smallest jet pt [GeV]")
    match_radius: float = Field(0.1, gt=0, description="largest Delta R of a matched jet")
    max_abs_eta: float = Field(
        3.0, gt=0, description="acceptance of all particles; beyond it lies the beam pipe"
    )
    bootstrap: int = Field(200, ge=10, description="resamplings of events for the errors")


class Recipe(Section):
    """Everything that defines a run."""

    run: RunConfig = RunConfig()
    data: DataConfig
    stream: StreamConfig = StreamConfig()
    model: ModelConfig = LshGnnConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    ray: RayConfig = RayConfig()

    @property
    def engine(self) -> Literal["ray", "direct"]:
        """Who reads, with `auto` decided."""
        if self.stream.engine == "auto":
            return "ray" if self.train.launcher == "ray" else "direct"
        return self.stream.engine

    def changed(self, section: str, **values: str | int) -> "Recipe":
        """Return the recipe with other values in one section; they are not checked again."""
        part: Section = getattr(self, section)
        return self.model_copy(update={section: part.model_copy(update=values)})

    @model_validator(mode="after")
    def _ranks_have_work(self) -> "Recipe":
        if self.train.ranks > self.stream.micro_batches:
            msg = (
                f"train.ranks = {self.train.ranks} needs at least as many micro-batches in a step, "
                f"found stream.micro_batches = {self.stream.micro_batches}"
            )
            raise ValueError(msg)
        if self.train.launcher == "local" and self.train.ranks > 1:
            msg = f"launcher local is one rank, found train.ranks = {self.train.ranks}; use ray"
            raise ValueError(msg)
        if self.train.launcher == "local" and self.stream.engine == "ray":
            raise ValueError("stream.engine ray needs train.launcher ray")
        return self


def load_recipe(path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe and apply dotted overrides such as `train.steps=200`.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, or a value out of range.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
    except OSError as error:
        msg = f"expected a recipe file, found none at {path!r} ({error.strerror}); see recipes/"
        raise ConfigError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected YAML in {path!r}: {error}") from error
    if not isinstance(tree, dict):
        found = type(tree).__name__
        raise ConfigError(f"expected sections such as 'train:' in {path!r}, found {found}")
    for override in overrides:
        _apply(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from error


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML with every value spelt out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def recipe_schema() -> str:
    """Return the JSON schema of a recipe."""
    return json.dumps(Recipe.model_json_schema(), indent=2, sort_keys=True)


def _apply(tree: dict[str, object], override: str) -> None:
    """Set one dotted path in the raw tree."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise ConfigError(f"expected an override like train.steps=200, found {override!r}")
    *parents, leaf = path.split(".")
    node = tree
    for name in parents:
        child = node.setdefault(name, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {name!r} is a value, not a section")
        node = child
    try:
        node[leaf] = yaml.safe_load(text) if text else ""
    except yaml.YAMLError as error:
        raise ConfigError(
            f"override {override!r}: expected a YAML value, found {text!r}"
        ) from error


def _explain(error: ValidationError, path: str) -> str:
    """Turn pydantic's report into one line per wrong key."""
    lines = [f"recipe {path!r} is not valid:"]
    for item in error.errors():
        tags = {"lsh_gnn", "performer", "mlp"}
        where = ".".join(str(part) for part in item["loc"] if part not in tags)
        what = "no such key" if item["type"] == "extra_forbidden" else item["msg"]
        lines.append(f"  {where}: {what}, found {item['input']!r}")
    lines.append("'mlpf schema' lists every key with its unit and default")
    return "\n".join(lines)

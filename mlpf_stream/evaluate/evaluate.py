"""Reconstruct every event of a split and compare model, baseline and perfect targets."""

import json
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mlpf_stream.columns import FIELD_TOLERANCE, Split
from mlpf_stream.config import PhysicsConfig
from mlpf_stream.device import open_device, set_threads
from mlpf_stream.errors import AccessError, ConfigError, MlpfError
from mlpf_stream.evaluate.data_card import data_card
from mlpf_stream.event import Events, Particles, concatenate_particles
from mlpf_stream.infer.candidates import reconstruct
from mlpf_stream.infer.checkpoint import load_model, read_newest
from mlpf_stream.infer.metrics import measure_processes
from mlpf_stream.models.artifact import ModelCard
from mlpf_stream.models.network import Network
from mlpf_stream.physics.evaluation import LEAST_MISSING, Measures
from mlpf_stream.progress import progress
from mlpf_stream.shards.index import DatasetIndex, open_dataset
from mlpf_stream.shards.reader import read_pack
from mlpf_stream.storage import Store, open_store
from mlpf_stream.stream.collate import BatchShape, collate_all

BASELINE = "baseline"
EVALUATION_FILE = "evaluation.json"
MARKER_FILE = ".evaluation.begun"
"""Written and removed before any event is looked at: to a place that takes no file, none goes."""
ROWS = 1024

Tree = dict[str, dict[str, dict[str, dict[str, float | int | None]]]]


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """One evaluation, as the command line asks for it."""

    checkpoint: str
    data: str
    out: str
    split: Split | Literal["all"] = "test"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    physics: PhysicsConfig = field(default_factory=PhysicsConfig)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measures per process and reconstruction, and the file that holds them."""

    path: str
    processes: dict[str, dict[str, Measures]]
    events: int
    events_per_second: float


def evaluate(request: EvaluateRequest) -> Evaluation:
    """Judge a checkpoint (or the stored baseline) on one split of a dataset.

    Raises:
        MissingDataError: no checkpoint or no dataset there.
        ConfigError: the split is empty, the model was made for other elements or another detector,
            or nothing can be written at `out`.
    """
    started = time.perf_counter()
    index = open_dataset(open_store(request.data))
    network, card = None, None
    if request.checkpoint != BASELINE:
        network, card = _open_network(request, index)
    chosen = index.in_split(None if request.split == "all" else request.split)
    if not chosen.any():
        msg = (
            f"expected events in split {request.split!r} of {request.data!r}, found none; "
            "choose another with --split, or all of them with --split all"
        )
        raise ConfigError(msg)
    out = _open_out(request.out)
    keys, generator, reconstructions = _reconstruct_all(index, chosen, network)
    seconds = time.perf_counter() - started
    processes = measure_processes(keys, generator, reconstructions, request.physics)
    evaluation = Evaluation(
        f"{out.url.rstrip('/')}/{EVALUATION_FILE}", processes, len(keys), len(keys) / seconds
    )
    tree = _tree(request, index, evaluation, card)
    out.write(EVALUATION_FILE, json.dumps(tree, indent=1).encode() + b"\n")
    return evaluation


def _open_network(request: EvaluateRequest, index: DatasetIndex) -> tuple[Network, ModelCard]:
    network, card = read_newest(request.checkpoint, load_model)
    expected = {kind.name: kind.names for kind in index.kinds}
    if dict(card.kinds) != expected:
        msg = (
            f"expected a model for {', '.join(expected)} of {request.data!r}, found one for "
            f"{', '.join(card.kinds)}; train on this dataset's mode"
        )
        raise ConfigError(msg)
    _check_detector(request, index, card)
    set_threads(0)
    return network.to(open_device(request.device)), card


def _check_detector(request: EvaluateRequest, index: DatasetIndex, card: ModelCard) -> None:
    """Refuse a model of another detector.

    Raises:
        ConfigError: names both.
    """
    manifest, own = index.manifest, card.detector
    near = math.isclose(own.field, manifest.field, rel_tol=FIELD_TOLERANCE)
    if own.name != manifest.detector or not near:
        msg = (
            f"expected a model for detector {manifest.detector} ({manifest.field:g} T) of "
            f"{request.data!r}, found one for {own.name} ({own.field:g} T) at "
            f"{request.checkpoint!r}; train on data of this detector"
        )
        raise ConfigError(msg)


def _open_out(url: str) -> Store:
    """Return the store that the evaluation goes to, after a trial.

    Raises:
        ConfigError: no file can be written there.
    """
    out = open_store(url)
    try:
        out.write(MARKER_FILE, b"")
        with suppress(AccessError):  # who may write may not be allowed to remove
            out.delete(MARKER_FILE)
    except MlpfError:
        raise
    except OSError as error:
        msg = f"expected a folder that can be written to at {url!r}, found {error}; change --out"
        raise ConfigError(msg) from error
    return out


def _reconstruct_all(
    index: DatasetIndex, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], network: Network | None
) -> tuple[list[str], Particles, dict[str, Particles]]:
    """Return keys, generator particles and every reconstruction of the chosen events."""
    rows = max(ROWS, int(index.length.max()))
    keys: list[str] = []
    generator: list[Particles] = []
    found: dict[str, list[Particles]] = {"mlpf": [], "baseline": [], "target": []}
    with progress(int(chosen.sum()), "event", "evaluate") as bar:
        for pack in np.unique(index.pack[chosen]):
            events = _chosen_events(index, int(pack), chosen)
            keys.extend(events.keys)
            generator.append(events.generator)
            found["baseline"].append(events.candidates)
            found["target"].append(events.targets)
            if network is not None:
                shape = BatchShape(rows, network.config.block)
                found["mlpf"].append(reconstruct(network, collate_all(events, shape)))
            bar.update(len(events))
    joined = {name: concatenate_particles(parts) for name, parts in found.items() if parts}
    return keys, concatenate_particles(generator), joined


def _chosen_events(
    index: DatasetIndex, pack: int, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> Events:
    first, last = index.pack_offsets[pack], index.pack_offsets[pack + 1]
    return read_pack(index, pack).select(np.flatnonzero(chosen[first:last]).astype(np.int64))


def _tree(
    request: EvaluateRequest, index: DatasetIndex, evaluation: Evaluation, card: ModelCard | None
) -> dict[str, object]:
    """Return what evaluation.json holds: what was measured, on what, with which settings."""
    return {
        "checkpoint": request.checkpoint,
        "data": request.data,
        "dataset_digest": index.digest,
        "split": request.split,
        "events": evaluation.events,
        "physics": request.physics.model_dump(),
        "least_missing_gev": LEAST_MISSING,
        "processes": measures_tree(evaluation.processes),
        "model": _model_facts(card),
        "dataset": data_card(index),
        "histograms": {
            process: {name: measures.spectra.as_json() for name, measures in parts.items()}
            for process, parts in evaluation.processes.items()
        },
    }


def _model_facts(card: ModelCard | None) -> dict[str, object] | None:
    """Return what was judged beside the baseline, None for nothing."""
    if card is None:
        return None
    return {
        "kind": card.model.kind,
        "detector": {"name": card.detector.name, "field": card.detector.field},
        "parameters": card.parameters,
        "digest": card.digest,
        "provenance": dict(card.provenance),
    }


def measures_tree(processes: dict[str, dict[str, Measures]]) -> Tree:
    """Return measures as plain dictionaries, for JSON."""
    return {
        process: {name: measures.as_json() for name, measures in parts.items()}
        for process, parts in processes.items()
    }


def table(processes: dict[str, dict[str, Measures]]) -> Sequence[str]:
    """Return the measures as lines of a table for people."""
    head = (
        f"{'process':10} {'particles':10} {'jet median':>15} {'jet IQR/median':>17} "
        f"{'matched':>9} {'MET median':>12} {'MET IQR':>9} {'p median':>10} {'p IQR':>8}"
    )
    lines = [head, "-" * len(head)]
    for process, parts in processes.items():
        for name, m in parts.items():
            jet = m.jet
            lines.append(
                f"{process:10} {name:10} {jet.median:7.3f} +-{jet.median_error:5.3f} "
                f"{jet.resolution:8.4f} +-{jet.resolution_error:6.4f} {jet.matched_fraction:9.3f} "
                f"{m.met.median:12.3f} {m.met.iqr:9.3f} {m.momentum.median:10.3f} "
                f"{m.momentum.iqr:8.4f}"
            )
    return lines

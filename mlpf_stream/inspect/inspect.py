"""`mlpf inspect`: what is in a dataset, a ROOT file or a checkpoint."""

from typing import TYPE_CHECKING, Final

import numpy as np

from mlpf_stream.errors import ConfigError, MissingDataError, ShardError
from mlpf_stream.inspect.sample import DatasetSample, FileSample, Sample, SampleRequest
from mlpf_stream.manifest import MANIFEST_NAME
from mlpf_stream.shards.index import DatasetIndex, open_dataset
from mlpf_stream.shards.reader import verify_shard
from mlpf_stream.storage import Store, open_store

if TYPE_CHECKING:
    from mlpf_stream.inspect.judgement import Judgements

Tree = dict[str, object]

KEYS: Final = (
    "kind",
    "events",
    "shards",
    "bytes",
    "elements",
    "schema_version",
    "detector",
    "mode",
    "length_quantiles",
    "classes",
    "verified",
)
"""What is said of everything, None where a thing has no such property."""


def inspect(url: str, *, verify: bool = False) -> Tree:
    """Return what is at `url`; `verify` reads every byte of a dataset or checkpoint.

    Raises:
        MissingDataError: nothing there. ConfigError: a ROOT file that is not on a local disk.
        ShardError, SchemaError: verification found damage.
    """
    return {**dict.fromkeys(KEYS), **_inspect(url, verify=verify)}


def _inspect(url: str, *, verify: bool) -> Tree:
    if url.endswith(".root"):
        return _inspect_root(_local(url))
    store = open_store(url)
    if store.exists(MANIFEST_NAME):
        return _inspect_dataset(open_dataset(store), verify=verify)
    if any(map(store.exists, ("model.json", "recipe.yaml"))) or store.list("checkpoints"):
        return _inspect_checkpoint(url, verify=verify)
    msg = (
        f"expected a dataset ({MANIFEST_NAME}), a ROOT file (*.root), a checkpoint (model.json) or "
        f"a run folder, found none at {url!r}; check the path, or make one with 'mlpf convert', "
        "'mlpf simulate' or 'mlpf train'"
    )
    raise MissingDataError(msg)


def judge_physics(url: str, request: SampleRequest) -> "Judgements":
    """Judge the physics gates of a dataset or a ROOT file.

    Raises:
        ConfigError: a checkpoint, or a ROOT file that is not on a local disk.
        MissingDataError: nothing there. MissingExtraError: jets need fastjet.
        DataError: it cannot be read.
    """
    from mlpf_stream.inspect.judgement import judge  # noqa: PLC0415 - only gates need fastjet

    return judge(_sample(url, request), request.events)


def _sample(url: str, request: SampleRequest) -> Sample:
    """Return the events to judge."""
    if url.endswith(".root"):
        return FileSample(_local(url), request)
    return DatasetSample(open_dataset(open_store(url)), request.events)


def _inspect_dataset(index: DatasetIndex, *, verify: bool) -> Tree:
    manifest = index.manifest
    if verify:
        _verify(index)
    truth = manifest.truth
    return {
        "kind": "dataset",
        "events": manifest.events,
        "shards": len(manifest.shards),
        "packs": len(index.packs),
        "bytes": sum(shard.bytes + shard.index_bytes for shard in manifest.shards),
        "elements": manifest.elements,
        "schema_version": manifest.schema_version,
        "detector": manifest.detector,
        "mode": manifest.mode,
        "field": manifest.field,
        "field_source": manifest.field_source,
        "length_quantiles": _quantiles(index),
        "classes": manifest.class_counts,
        "elements_by_kind": {kind.name: kind.elements for kind in manifest.kinds},
        "processes": {p.name: {"role": p.role, "events": p.events} for p in manifest.processes},
        "splits": dict(manifest.splits),
        "skipped": dict(manifest.skipped),
        "truth_source": manifest.truth_source,
        "truth": truth.model_dump(),
        "shared_cluster_fraction": truth.shared_fraction,
        "untargeted_cluster_fraction": truth.untargeted_fraction,
        "missing_features": list(manifest.missing_features),
        "digest": manifest.digest,
        "verified": verify,
    }


def _verify(index: DatasetIndex) -> None:
    """Check every byte of every shard, and the number of events.

    Raises:
        ShardError: something differs from what the manifest promises.
    """
    seen = sum(verify_shard(index, shard) for shard in index.manifest.shards)
    if seen != index.manifest.events:
        raise ShardError(MANIFEST_NAME, f"{index.manifest.events} events", f"{seen}")


def _quantiles(index: DatasetIndex) -> dict[str, int]:
    p5, p50, p95 = np.quantile(index.length, [0.05, 0.5, 0.95])
    return {"p5": int(p5), "p50": int(p50), "p95": int(p95), "max": int(index.length.max())}


def _local(url: str) -> str:
    """Return the path of a ROOT file.

    Raises:
        ConfigError: it is not on a local disk.
    """
    path = url.removeprefix("file://")
    if "://" in path:
        msg = (
            f"expected a ROOT file on a local disk, found {url!r}; ROOT files are read from local "
            "disks only: copy it, or inspect the dataset that 'mlpf convert' made of it"
        )
        raise ConfigError(msg)
    return path


def _inspect_root(path: str) -> Tree:
    from mlpf_stream.edm4hep.reader import probe  # noqa: PLC0415 - only files need uproot

    facts = probe(path)
    return {
        "kind": "file",
        "events": facts.entries,
        "bytes": facts.bytes,
        "schema": facts.schema,
        "calorimeter_hits": list(facts.hits),
        "truth_links": list(facts.links),
        "candidates": facts.has_candidates,
        "verified": False,
    }


def _inspect_checkpoint(url: str, *, verify: bool) -> Tree:
    from mlpf_stream.infer.checkpoint import read_newest  # noqa: PLC0415 - only models need torch

    return read_newest(url, lambda folder: _checkpoint_tree(folder, verify=verify))


def _checkpoint_tree(folder: Store, *, verify: bool) -> Tree:
    from mlpf_stream.infer.checkpoint import (  # noqa: PLC0415 - as above
        STATE_FILE,
        load_model,
        read_verified,
    )

    if verify and folder.exists(STATE_FILE):  # a model alone has the digest in its card
        read_verified(folder)
    _, card = load_model(folder)
    return {
        "kind": "checkpoint",
        "folder": folder.url,
        "schema_version": card.schema_version,
        "detector": card.detector.name,
        "model": card.model.model_dump(),
        "parameters": card.parameters,
        "digest": card.digest,
        "provenance": dict(card.provenance),
        "classes": dict.fromkeys(card.classes),
        "bytes": sum(folder.size(name) for name in folder.list()),
        "verified": verify,
    }

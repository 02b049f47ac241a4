"""The data card: what a reader of an evaluation must know of the events it was made on."""

import json
from itertools import zip_longest

from mlpf_stream.columns import SPLITS
from mlpf_stream.manifest import HISTOGRAM_BIN, Manifest
from mlpf_stream.shards.index import DatasetIndex

OF_ONE_FILE = "file"
"""What distinguishes the files of one simulation: its number of a file."""


def data_card(index: DatasetIndex) -> dict[str, object]:
    """Return title, detector, processes, multiplicities and truth of a dataset, for JSON."""
    manifest = index.manifest
    shards = [shard.length_histogram for shard in manifest.shards]
    return {
        "title": manifest.title,
        "licence": manifest.licence,
        "sources_doi": list(manifest.sources_doi),
        "detector": manifest.detector,
        "mode": manifest.mode,
        "field": manifest.field,
        "field_source": manifest.field_source,
        "events": manifest.events,
        "elements": manifest.elements,
        "elements_by_kind": {kind.name: kind.elements for kind in manifest.kinds},
        "processes": [
            {
                "name": part.name,
                "role": part.role,
                "events": part.events,
                "splits": _splits(index, number),
            }
            for number, part in enumerate(manifest.processes)
        ],
        "splits": dict(manifest.splits),
        "classes": manifest.class_counts,
        "classes_by_kind": {kind.name: dict(kind.targets) for kind in manifest.kinds},
        "lengths": {
            "width": HISTOGRAM_BIN,
            "counts": [sum(column) for column in zip_longest(*shards, fillvalue=0)],
        },
        "truth_source": manifest.truth_source,
        "truth": manifest.truth.model_dump(),
        "missing_features": list(manifest.missing_features),
        "skipped": dict(manifest.skipped),
        "generators": _generators(manifest),
    }


def _splits(index: DatasetIndex, process: int) -> dict[str, int]:
    """Return the events of one process in each split that has any."""
    counts = {
        split: int((index.in_split(split) & (index.process == process)).sum()) for split in SPLITS
    }
    return {split: count for split, count in counts.items() if count}


def _generators(manifest: Manifest) -> list[dict[str, str | int | float]]:
    """Return the settings of every simulation that made the source files, each once."""
    seen: dict[str, dict[str, str | int | float]] = {}
    for source in manifest.files:
        facts = {key: value for key, value in source.generator.items() if key != OF_ONE_FILE}
        if facts:
            seen[json.dumps(facts, sort_keys=True)] = facts
    return [seen[text] for text in sorted(seen)]

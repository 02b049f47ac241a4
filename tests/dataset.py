"""A small dataset written through the public writer, for tests of everything that reads one."""

import numpy as np
from synthetic import make_events

from mlpf_stream.columns import MODE_KINDS, SPLITS
from mlpf_stream.manifest import MANIFEST_NAME, KindEntry, Manifest, ProcessEntry, TruthEntry
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.statistics import FeatureStatistics
from mlpf_stream.shards.writer import ShardLimits, ShardWriter, split_of
from mlpf_stream.storage import open_store

KINDS = MODE_KINDS["clusters"]


def write_dataset(url, counts, *, pack_events=8, shard_bytes=1 << 20, weights=None, scale=20):
    """Write `counts` events of each process, {name: (events, role)}; return the opened dataset."""
    store = open_store(url)
    writer = ShardWriter(store, KINDS, ShardLimits(pack_events, shard_bytes))
    rng = np.random.default_rng(5)
    parts, splits = [], dict.fromkeys(SPLITS, 0)
    for number, (name, (events, role)) in enumerate(counts.items()):
        part = make_events(
            number, rng.integers(1, scale, events), rng.integers(1, scale, events), name
        )
        writer.add(part, role)
        parts.append(part)
        for key in part.keys:
            splits[split_of(key, role)] += 1
    shards = writer.close()
    manifest = Manifest(
        title="test",
        licence="none",
        detector="clic",
        mode="clusters",
        field=4.0,
        field_source="option",
        kinds=tuple(kind_entry(kind, parts) for kind in KINDS),
        processes=tuple(
            ProcessEntry(name=name, role=role, events=events, weight=(weights or {}).get(name, 1.0))
            for name, (events, role) in counts.items()
        ),
        splits=splits,
        events=sum(map(len, parts)),
        elements=int(sum(part.lengths.sum() for part in parts)),
        skipped={},
        truth=TruthEntry(),
        truth_source="clusters",
        missing_features=(),
        shards=shards,
        files=(),
    )
    store.write(MANIFEST_NAME, manifest.to_json().encode())
    return open_dataset(open_store(url))


def kind_entry(kind, parts):
    statistics = FeatureStatistics(kind)
    classes = np.concatenate([part.elements[kind.name].class_R for part in parts])
    for part in parts:
        statistics.add(part.elements[kind.name].x_RF)
    names = ("none", "charged_hadron", "neutral_hadron", "photon", "electron", "muon")
    return KindEntry(
        name=kind.name,
        features=tuple(statistics.entries()),
        elements=len(classes),
        targets={name: int((classes == i).sum()) for i, name in enumerate(names)},
    )

"""What is counted while a group of files is converted: its part of the manifest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlpf_stream.columns import CLASSES, SPLITS, UNLINKED, Detector, ElementKind, Mode, Role
from mlpf_stream.convert.plan import Source
from mlpf_stream.edm4hep.events import ReadCounts
from mlpf_stream.event import Events, process_of, take_rows
from mlpf_stream.manifest import (
    KindEntry,
    Manifest,
    ProcessEntry,
    ShardEntry,
    SourceEntry,
    TruthEntry,
)
from mlpf_stream.shards.statistics import FeatureStatistics
from mlpf_stream.shards.writer import split_of


@dataclass(slots=True)
class Tally:
    """Running totals of some files of one detector and mode."""

    detector: Detector
    mode: Mode
    kinds: Sequence[ElementKind]
    roles: dict[str, Role] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    truth: Counter[str] = field(default_factory=Counter)
    dropped_energy: float = 0.0
    truth_sources: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    fields: list[tuple[float, str]] = field(default_factory=list)
    files: list[SourceEntry] = field(default_factory=list)
    elements: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[int]] = field(default_factory=dict)
    statistics: dict[str, FeatureStatistics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            self.statistics[kind.name] = FeatureStatistics(kind)
            self.classes[kind.name] = Counter()

    def add_events(self, events: Events, role: Role) -> None:
        """Count events and their elements; only split train enters the feature statistics."""
        splits = [split_of(key, role) for key in events.keys]
        self.splits.update(splits)
        self.events.update(process_of(key) for key in events.keys)
        train = np.flatnonzero(np.array(splits) == "train").astype(np.int64)
        for name, part in events.elements.items():
            self.elements[name] += len(part.x_RF)
            counts = np.bincount(part.class_R - UNLINKED, minlength=len(CLASSES) + 1)
            self.classes[name].update({i + UNLINKED: int(n) for i, n in enumerate(counts)})
            (x_RF,), _ = take_rows((part.x_RF,), part.offsets, train)
            self.statistics[name].add(x_RF)

    def add_source(self, source: Source, counts: ReadCounts) -> None:
        """Count one file in."""
        self.roles[source.look.process] = source.role
        skipped: dict[str, int] = {
            reason: count for reason, count in counts.skipped.items() if count
        }
        self.skipped.update(skipped)
        self.truth_sources.add(counts.truth_source)
        self.missing.update(counts.missing_features)
        self.fields.append((counts.field, counts.field_source))
        self.dropped_energy += counts.dropped_energy
        for name, counted in TRUTH_COUNTS.items():
            self.truth[name] += getattr(counts, counted)
        entry = SourceEntry(
            name=source.path.rsplit("/", 1)[-1],
            file_id=source.file_id,
            bytes=source.bytes,
            process=source.look.process,
            events=counts.events,
            skipped=skipped,
            candidates="stored" if counts.has_candidates else "rule_based",
            generator=source.look.generator,
        )
        self.files.append(entry)

    def part(self, shards: tuple[ShardEntry, ...]) -> Manifest | None:
        """Return a manifest of everything counted; None if no file was."""
        if not self.files:
            return None
        value, value_source = self.fields[0]
        return Manifest(
            title="",
            licence="",
            detector=self.detector.name,
            mode=self.mode,
            field=value,
            field_source=value_source,  # type: ignore[arg-type]  # validated by pydantic
            kinds=tuple(self._kind(kind) for kind in self.kinds),
            processes=tuple(
                ProcessEntry(name=name, role=self.roles[name], events=self.events[name])
                for name in sorted(self.roles)
            ),
            splits={split: self.splits[split] for split in SPLITS},
            events=self.events.total(),
            elements=self.elements.total(),
            skipped=dict(sorted(self.skipped.items())),
            truth=TruthEntry(dropped_energy=round(self.dropped_energy, 6), **self.truth),
            truth_source="hits" if self.truth_sources == {"hits"} else "clusters",
            missing_features=tuple(sorted(self.missing)),
            shards=shards,
            files=tuple(self.files),
        )

    def _kind(self, kind: ElementKind) -> KindEntry:
        counts = self.classes[kind.name]
        return KindEntry(
            name=kind.name,
            features=tuple(self.statistics[kind.name].entries()),
            elements=self.elements[kind.name],
            targets={name: counts[i] for i, name in enumerate(CLASSES)},
            unlinked=counts[UNLINKED],
        )


TRUTH_COUNTS = {
    "unlinked_tracks": "unlinked_tracks",
    "unlinked_clusters": "unlinked_clusters",
    "clusters": "clusters",
    "clusters_shared": "clusters_shared",
    "clusters_without_target": "clusters_without_target",
    "merged_particles": "merged",
    "dropped_particles": "dropped",
    "dangling_hits": "dangling_hits",
}
"""Manifest name of each count, and its name in `ReadCounts`."""

"""Everything a conversion counts on its way: what becomes the manifest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlpf_stream.columns import CLASSES, SPLITS, UNLINKED, Detector, ElementKind, Mode, Role
from mlpf_stream.convert.sources import Source
from mlpf_stream.edm4hep.events import ReadCounts
from mlpf_stream.errors import DataError
from mlpf_stream.event import Events, process_of
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

LICENCE = "see the licence of the source files"


@dataclass(slots=True)
class Tally:
    """Running totals of one conversion."""

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
    fields: dict[float, str] = field(default_factory=dict)
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
            values, counts = np.unique(part.class_R, return_counts=True)
            self.classes[name].update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            self.statistics[name].add(part.select(train).x_RF)

    def add_source(self, source: Source, counts: ReadCounts) -> None:
        """Count one file in.

        Raises:
            DataError: its field or truth differ from those of the files before it.
        """
        known = self.roles.setdefault(source.process, source.role)
        if known != source.role:
            msg = (
                f"process {source.process!r} has role {known!r} and {source.role!r} in one dataset"
            )
            raise DataError(msg)
        skipped: dict[str, int] = {
            reason: count for reason, count in counts.skipped.items() if count
        }
        self.skipped.update(skipped)
        self.truth_sources.add(counts.truth_source)
        self.missing.update(counts.missing_features)
        self.fields.setdefault(round(counts.field, 2), counts.field_source)
        if len(self.fields) > 1:
            msg = (
                f"expected one magnetic field, found {sorted(self.fields)} T at {source.path!r}; "
                "convert files of different fields into different datasets"
            )
            raise DataError(msg)
        self.dropped_energy += counts.dropped_energy
        for name, counted in TRUTH_COUNTS.items():
            self.truth[name] += getattr(counts, counted)
        entry = SourceEntry(
            name=source.path.rsplit("/", 1)[-1],
            file_id=source.file_id,
            bytes=source.bytes,
            process=source.process,
            events=counts.events,
            skipped=skipped,
            candidates="stored" if counts.has_candidates else "rule_based",
            generator=source.generator,
        )
        self.files.append(entry)

    def manifest(self, title: str, shards: tuple[ShardEntry, ...]) -> Manifest:
        """Return the manifest of everything counted."""
        value, value_source = next(iter(self.fields.items()))
        return Manifest(
            title=title,
            licence=LICENCE,
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

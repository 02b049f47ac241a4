"""Which events are judged, and what is known of all of them: from a dataset or a ROOT file."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Protocol, cast

import numpy as np

from mlpf_stream.columns import CLASSES, DETECTORS, Detector, Mode
from mlpf_stream.errors import ConfigError
from mlpf_stream.event import I64, Events
from mlpf_stream.manifest import TruthEntry
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.shards.reader import read_pack

MOST_PACKS: Final = 64
"""Packs that are read of one process: they are spread over its shards."""
UNKNOWN: Final = "unknown"
"""Process of a file that does not tell."""
DEFAULT_DETECTOR: Final = "clic"


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """How many events to judge; the rest is asked for ROOT files only, as in `ReadRequest`."""

    events: int = 2000
    detector: str = DEFAULT_DETECTOR
    mode: Mode = "clusters"
    field: float | None = None
    process: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some events of one process, their detector and field [T]."""

    process: str
    events: Events
    detector: Detector
    field: float


@dataclass(frozen=True, slots=True)
class Books:
    """How the `targets` of `events` events came about: maybe of more than are looked at."""

    truth: TruthEntry
    truth_source: str
    events: int
    targets: int


class Sample(Protocol):
    """Events to judge, once; the books are complete after the last of them."""

    @property
    def books(self) -> Books:
        """Return how the truth came about."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Yield the events, one process after the other."""
        ...


def known_detector(name: str) -> Detector:
    """Return a detector by name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in DETECTORS:
        known = ", ".join(DETECTORS)
        raise ConfigError(f"expected --detector of {known}, found {name!r}")
    return DETECTORS[name]


class DatasetSample:
    """About as many events of every process, evenly from few packs of each."""

    def __init__(self, index: DatasetIndex, events: int) -> None:
        manifest = index.manifest
        self._index = index
        self._events = events
        self._detector = known_detector(manifest.detector)
        targets = sum(manifest.class_counts[name] for name in CLASSES[1:])
        self.books = Books(manifest.truth, manifest.truth_source, manifest.events, targets)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the events of one pack after the other.

        Raises:
            ShardError: the bytes of a pack differ from their checksum.
        """
        index = self._index
        present = np.unique(index.process)
        for process in present:
            numbers = np.flatnonzero(index.process == process).astype(np.int64)
            for pack, rows in self._spread(numbers, max(1, self._events // len(present))):
                events = read_pack(index, pack).select(rows)
                name = index.process_names[process]
                yield Chunk(name, events, self._detector, index.manifest.field)

    def _spread(self, numbers: I64, events: int) -> Iterator[tuple[int, I64]]:
        """Yield packs and rows in them: at most `events` of the event `numbers`, evenly."""
        index = self._index
        packs = np.unique(index.pack[numbers])
        packs = packs[_evenly(len(packs), MOST_PACKS)]
        numbers = numbers[np.isin(index.pack[numbers], packs)]
        chosen = numbers[_evenly(len(numbers), events)]
        for pack in np.unique(index.pack[chosen]):
            yield int(pack), chosen[index.pack[chosen] == pack] - index.pack_offsets[pack]


def _evenly(count: int, wanted: int) -> I64:
    """Return up to `wanted` different places out of `count`, evenly spaced."""
    wanted = min(count, wanted)
    return (np.arange(wanted, dtype=np.int64) * count) // max(wanted, 1)


class FileSample:
    """The first events of a ROOT file, with the rule-based baseline where it stores none."""

    def __init__(self, path: str, request: SampleRequest) -> None:
        self._path = path
        self._request = request
        self._detector = known_detector(request.detector)
        self._books = Books(TruthEntry(), "none", 0, 0)

    @property
    def books(self) -> Books:
        """Return how the truth of the events read so far came about."""
        return self._books

    def chunks(self) -> Iterator[Chunk]:
        """Yield the events of one step of reading after the other.

        Raises:
            DataError: as of `edm4hep.events.read_events`.
        """
        from mlpf_stream.edm4hep.events import (  # noqa: PLC0415 - only files need uproot
            ReadCounts,
            ReadRequest,
            read_events,
            sum_counts,
        )
        from mlpf_stream.edm4hep.source import process_of_path, source_file_id  # noqa: PLC0415
        from mlpf_stream.physics.baseline import reconstruct  # noqa: PLC0415

        request, detector = self._request, self._detector
        asked = ReadRequest(
            detector=detector,
            field=request.field,
            process=request.process or process_of_path(self._path) or UNKNOWN,
            mode=request.mode,
            file_id=source_file_id(self._path),
            baseline=lambda events: reconstruct(events, detector).particles,
        )
        steps = cast(
            "Generator[tuple[Events, ReadCounts]]", read_events(self._path, asked)
        )  # closed early, so that the file is
        counted: list[ReadCounts] = []
        left = request.events
        with closing(steps):
            for events, counts in steps:
                counted.append(counts)
                total = sum_counts(counted)
                self._books = Books(_truth(total), total.truth_source, total.events, total.targets)
                kept = np.arange(min(len(events), left), dtype=np.int64)
                left -= len(kept)
                yield Chunk(asked.process, events.select(kept), detector, counts.field)
                if not left:
                    break


def _truth(counts: "object") -> TruthEntry:
    """Return what reading counted, as a manifest holds it."""
    names = {"merged_particles": "merged", "dropped_particles": "dropped"}
    fields = {name: getattr(counts, names.get(name, name)) for name in TruthEntry.model_fields}
    return TruthEntry(**fields)

"""Which event is shown, out of a dataset or a ROOT file, and what is known of it."""

import difflib
import heapq
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from mlpf_stream.columns import DETECTORS, SPLITS, Detector, Mode
from mlpf_stream.errors import ConfigError, MissingDataError
from mlpf_stream.event import Events, process_of
from mlpf_stream.shards.index import DatasetIndex, open_dataset
from mlpf_stream.shards.reader import read_pack
from mlpf_stream.storage import open_store

if TYPE_CHECKING:
    from mlpf_stream.edm4hep.events import ReadCounts

UNKNOWN: Final = "unknown"
"""Process of a file that does not tell."""
NEAR: Final = 3
"""Keys that are named where one is not found."""


@dataclass(frozen=True, slots=True)
class EventRequest:
    """Which event, by key or number; the rest is asked for ROOT files only, as in `ReadRequest`."""

    url: str
    event: str | None = None
    detector: str = "clic"
    mode: Mode = "clusters"
    field: float | None = None
    process: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One event, its place and what made it; `field` in T, `split` "" in a file."""

    events: Events
    url: str
    number: int
    split: str
    detector: Detector
    field: float
    mode: Mode
    generator: Mapping[str, str | int | float]

    @property
    def key(self) -> str:
        """The event's key."""
        return self.events.keys[0]

    @property
    def process(self) -> str:
        """The event's physics process."""
        return process_of(self.key)

    @property
    def simulation(self) -> str:
        """How the detector was simulated, "" where the source does not tell."""
        return str(self.generator.get("simulation", ""))


def choose_event(request: EventRequest) -> Choice:
    """Read the event that is asked for; without a wish the first of split test, or of a file.

    Raises:
        ConfigError: no such event or detector, or a ROOT file that is not on a local disk.
        MissingDataError: nothing there. DataError: it cannot be read.
    """
    if request.url.endswith(".root"):
        return _from_file(request)
    return _from_dataset(request, open_dataset(open_store(request.url)))


def _from_dataset(request: EventRequest, index: DatasetIndex) -> Choice:
    number = _number(request.event, index)
    manifest = index.manifest
    pack = int(index.pack[number])
    row = np.array([number - index.pack_offsets[pack]], np.int64)
    events = read_pack(index, pack).select(row)
    file_id = events.keys[0].rsplit("-", 2)[1]
    sources = [source.generator for source in manifest.files if source.file_id == file_id]
    return Choice(
        events,
        request.url,
        number,
        SPLITS[index.split[number]],
        _detector(manifest.detector),
        manifest.field,
        manifest.mode,
        sources[0] if sources else {},
    )


def _number(wish: str | None, index: DatasetIndex) -> int:
    """Return the number of an event in its dataset."""
    if wish is None:
        test = np.flatnonzero(index.in_split("test"))
        return int(test[0]) if len(test) else 0
    if wish.isdecimal():
        if int(wish) < len(index):
            return int(wish)
        raise ConfigError(
            f"expected --event from 0 to {len(index) - 1}, or a key, found {wish} for "
            f"{index.store.url!r}"
        )
    if wish in index.keys:
        return index.keys.index(wish)
    raise _unknown(wish, index.keys, index.store.url)


def _unknown(wish: str, keys: Sequence[str], where: str) -> ConfigError:
    """Return the error about a key that is not there, with those that look most like it."""
    alike = heapq.nlargest(200, keys, key=lambda key: _common(key, wish))
    near = difflib.get_close_matches(wish, alike, NEAR, cutoff=0.0)
    return ConfigError(
        f"expected --event of {where!r}, found none with key {wish!r}; keys are "
        f"PROCESS-FILEID-ENTRY, the nearest here: {', '.join(near)}; a number from 0 to "
        f"{len(keys) - 1} will do too"
    )


def _common(key: str, wish: str) -> int:
    """Return with how many equal letters two keys begin."""
    length = min(len(key), len(wish))
    return next((place for place in range(length) if key[place] != wish[place]), length)


def _detector(name: str) -> Detector:
    """Return a detector by name.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in DETECTORS:
        raise ConfigError(f"expected --detector of {', '.join(DETECTORS)}, found {name!r}")
    return DETECTORS[name]


def _from_file(request: EventRequest) -> Choice:
    """Return an event of a ROOT file, with the rule-based baseline where it stores none."""
    from mlpf_stream.edm4hep.events import (  # noqa: PLC0415 - only files need uproot
        ReadRequest,
        read_events,
    )
    from mlpf_stream.edm4hep.source import (  # noqa: PLC0415
        generator_of_path,
        process_of_path,
        source_file_id,
    )
    from mlpf_stream.physics.baseline import reconstruct  # noqa: PLC0415

    path, detector = _local(request.url), _detector(request.detector)
    asked = ReadRequest(
        detector=detector,
        field=request.field,
        process=request.process or process_of_path(path) or UNKNOWN,
        mode=request.mode,
        file_id=source_file_id(path),
        baseline=lambda events: reconstruct(events, detector).particles,
    )
    steps = cast("Generator[tuple[Events, ReadCounts]]", read_events(path, asked))
    seen: list[str] = []
    with closing(steps):  # an early event is found without reading the rest
        for events, counts in steps:
            place = _place(request.event, events, len(seen))
            if place is not None:
                return Choice(
                    events.select(np.array([place], np.int64)),
                    request.url,
                    len(seen) + place,
                    "",
                    detector,
                    counts.field,
                    request.mode,
                    generator_of_path(path),
                )
            seen.extend(events.keys)
    if not seen:
        raise MissingDataError(f"expected events in {path!r}, found none that can be used")
    raise _unknown(request.event or "", seen, path)


def _place(wish: str | None, events: Events, before: int) -> int | None:
    """Return where in some events the wanted one is, `before` events after the first of a file."""
    number = 0 if wish is None else int(wish) if wish.isdecimal() else None
    if number is not None:
        return number - before if before <= number < before + len(events) else None
    return events.keys.index(wish) if wish in events.keys else None


def _local(url: str) -> str:
    """Return the path of a ROOT file.

    Raises:
        ConfigError: it is not on a local disk.
    """
    path = url.removeprefix("file://")
    if "://" in path:
        raise ConfigError(
            f"expected a ROOT file on a local disk, found {url!r}; copy it, or display an event of "
            "the dataset that 'mlpf convert' made of it"
        )
    return path

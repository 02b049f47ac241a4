"""The verb `simulate`: events of a process or gun, through the detector, into EDM4HEP files.

Every file is a pure function of the request and its own index: same request, same bytes.
"""

import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from mlpf_stream.columns import DETECTORS, GUNS, PROCESSES
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.errors import ConfigError
from mlpf_stream.event import Jagged, offsets_of
from mlpf_stream.progress import progress
from mlpf_stream.simulate.calibration import averaged, calibration
from mlpf_stream.simulate.calorimeter import shower
from mlpf_stream.simulate.clustering import cluster
from mlpf_stream.simulate.event_data import COLLECTION_IDS, Simulated, collect
from mlpf_stream.simulate.guns import shoot
from mlpf_stream.simulate.interactions import interact
from mlpf_stream.simulate.record import Record
from mlpf_stream.simulate.tracker import track
from mlpf_stream.workers import in_order

ENERGY: Final = 380
"""Centre-of-mass energy of the processes [GeV]."""
MAX_EVENTS_PER_FILE: Final = 10_000
_CHUNK: Final = 250
"""Events that are simulated at a time: bounds memory."""
_DETECTOR: Final = "clic"
_PYTHIA_SEEDS: Final = 900_000_000


@dataclass(frozen=True, slots=True)
class SimulateRequest:
    """What to simulate: process or gun, number of events, seed, and the folder to write to.

    `multiplicity` particles per event of a gun; `files` files share the events; `workers`
    processes work on them at a time, without any influence on the result.
    """

    process: str
    events: int
    seed: int
    out: str
    detector: str = _DETECTOR
    files: int = 4
    multiplicity: int = 1
    pileup: float = 0.0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class SimulateSummary:
    """Files written, events in all of them, wall time, and the numbers of `calibration`."""

    files: tuple[str, ...]
    events: int
    seconds: float
    calibration: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _File:
    """One finished file: its path, its number of events and its calibration."""

    path: str
    events: int
    calibration: Mapping[str, float]


def simulate(request: SimulateRequest) -> SimulateSummary:
    """Simulate all files of the request.

    Raises:
        ConfigError: the request asks for something that does not exist.
        MissingExtraError: Pythia is needed and not installed.
        DataError: Pythia fails.
    """
    _check(request)
    start = time.perf_counter()
    Path(request.out).mkdir(parents=True, exist_ok=True)
    files: list[_File] = []
    indices = range(min(request.files, request.events))
    with progress(request.events, "event", request.process) as bar:
        for file in in_order(partial(_simulate_file, request), indices, request.workers):
            files.append(file)
            bar.update(file.events)
    numbers = averaged([file.calibration for file in files], [file.events for file in files])
    seconds = time.perf_counter() - start
    return SimulateSummary(tuple(file.path for file in files), request.events, seconds, numbers)


def _check(request: SimulateRequest) -> None:
    """Refuse what does not exist, before any work."""
    known = (*PROCESSES, *GUNS)
    if request.process not in known:
        raise ConfigError(f"expected --process of {', '.join(known)}, found {request.process!r}")
    if request.detector != _DETECTOR:
        others = ", ".join(name for name in DETECTORS if name != _DETECTOR)
        raise ConfigError(
            f"expected --detector {_DETECTOR}, found {request.detector!r}; files of {others} "
            "can be converted, not simulated"
        )
    if request.pileup:
        raise ConfigError(
            f"expected --pileup 0, found {request.pileup:g}; "
            "pile-up overlay comes with a later version"
        )
    if request.multiplicity != 1 and request.process not in GUNS:
        raise ConfigError(
            f"expected --multiplicity 1 for {request.process}, found {request.multiplicity}; "
            "only guns shoot several particles"
        )
    for name in ("events", "files", "multiplicity", "workers"):
        if getattr(request, name) < 1:
            raise ConfigError(f"expected --{name} of at least 1, found {getattr(request, name)}")
    if "://" in request.out:
        raise ConfigError(
            f"expected a local folder as --out, found {request.out!r}; "
            "simulate to a folder, then 'mlpf convert' it to object storage"
        )
    if request.seed < 0:
        raise ConfigError(f"expected --seed of at least 0, found {request.seed}")
    most = request.files * MAX_EVENTS_PER_FILE
    if request.events > most:
        needed = -(-request.events // MAX_EVENTS_PER_FILE)
        raise ConfigError(
            f"expected at most {most} events in {request.files} files, found {request.events}; "
            f"use --files {needed}"
        )


def _simulate_file(request: SimulateRequest, index: int) -> _File:
    """Simulate and write one file."""
    files = min(request.files, request.events)
    events = request.events // files + (index < request.events % files)
    gun = request.process in GUNS
    stem = request.process if gun else f"p8_ee_{request.process}_ecm{ENERGY}"
    path = Path(request.out) / f"{stem}_{request.seed}_{index}.root"
    detector = DETECTORS[request.detector]
    source = np.random.SeedSequence([request.seed, zlib.crc32(request.process.encode()), index])
    random = np.random.default_rng(source)
    parts, numbers, sizes = [], [], _sizes(events)
    for record in _records(request, sizes, source, random):
        simulated = _through_detector(record, request, random)
        parts.append(collect(simulated, detector, str(path)))
        numbers.append(calibration(simulated, parts[-1], detector))
    settings = {
        "simulation": "fast: parametrised CLIC-like detector without calorimeter cells",
        "generator": "particle gun" if gun else f"Pythia 8, e+e- at {ENERGY} GeV",
        "file": index,
        **{
            name: value for name, value in asdict(request).items() if name not in ("out", "workers")
        },
    }
    write_collections(str(path), _joined(parts), process=request.process, generator=settings)
    return _File(str(path), events, averaged(numbers, sizes))


def _sizes(events: int) -> list[int]:
    """Cut a number of events into chunks."""
    whole, rest = divmod(events, _CHUNK)
    return [_CHUNK] * whole + [rest] * (rest > 0)


def _records(
    request: SimulateRequest,
    sizes: Sequence[int],
    source: np.random.SeedSequence,
    random: np.random.Generator,
) -> Iterator[Record]:
    """Yield the generated events; Pythia is imported only for what needs it."""
    if request.process in GUNS and request.process != "gun-tau":
        for size in sizes:
            yield shoot(request.process, size, request.multiplicity, random)
        return
    from mlpf_stream.simulate.generator import decay_taus, generate  # noqa: PLC0415

    seed = 1 + int(source.generate_state(1)[0]) % (_PYTHIA_SEEDS - 1)
    if request.process == "gun-tau":
        yield from decay_taus(request.multiplicity, seed, sizes, random)
    else:
        yield from generate(request.process, seed, sizes)


def _through_detector(
    record: Record, request: SimulateRequest, random: np.random.Generator
) -> Simulated:
    """Send generated events through the detector."""
    detector = DETECTORS[request.detector]
    record = interact(record, detector, random)
    tracks = track(record, detector, random)
    showers = shower(record, detector, random)
    return Simulated(record, tracks, cluster(showers, record.events, detector, random))


def _joined(parts: Sequence[Collections]) -> Collections:
    """Join the events of collections that hold the same leaves."""
    leaves = {}
    for name in parts[0].leaves:
        pieces = [part[name] for part in parts]
        counts = np.concatenate([piece.counts for piece in pieces])
        values = np.concatenate([piece.values for piece in pieces])
        leaves[name] = Jagged(values, offsets_of(counts))
    events = sum(part.events for part in parts)
    return Collections(parts[0].source, events, leaves, COLLECTION_IDS)

"""The verb `simulate`: events of a process or gun, through the detector, into EDM4HEP files.

Every file is a pure function of the request and its own index: same request, same bytes.
"""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from mlpf_stream.columns import DETECTORS, GUNS, PILEUP, PROCESSES, Detector
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.writer import write_steps
from mlpf_stream.errors import ConfigError
from mlpf_stream.progress import progress
from mlpf_stream.simulate.cells import deposit
from mlpf_stream.simulate.clustering import cluster
from mlpf_stream.simulate.event_data import Simulated, collect
from mlpf_stream.simulate.guns import ENERGY as GUN_ENERGY
from mlpf_stream.simulate.guns import shoot
from mlpf_stream.simulate.interactions import interact
from mlpf_stream.simulate.record import Record
from mlpf_stream.simulate.showers import shower
from mlpf_stream.simulate.tracker import track
from mlpf_stream.workers import in_order

ENERGY: Final = 380
"""Centre-of-mass energy of the processes [GeV]."""
MAX_EVENTS_PER_FILE: Final = 10_000
MAX_PILEUP: Final = 200.0
"""Largest mean number of overlaid events."""
MAX_MULTIPLICITY: Final = 1000
"""Most particles of a gun in one event."""
_CHUNK: Final = 200
_CHUNK_ENERGY: Final = 80_000.0
"""Events that are simulated at a time, and their energy [GeV]: they bound memory."""
_SOFT_ENERGY: Final = 22.0
"""Mean energy of an overlaid event [GeV]."""
_DETECTOR: Final = "clic"
_PYTHIA_SEEDS: Final = 900_000_000


@dataclass(frozen=True, slots=True)
class SimulateRequest:
    """What to simulate: process or gun, number of events, seed, and the folder to write to.

    `multiplicity` particles per event of a gun; `pileup` soft events overlaid on each, on average;
    `files` files share the events; `workers` processes work on them at a time, without any
    influence on the result.
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
    """Files written, events in all of them, and wall time [s]."""

    files: tuple[str, ...]
    events: int
    seconds: float


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
    files: list[str] = []
    indices = range(min(request.files, request.events))
    with progress(request.events, "event", request.process) as bar:
        # Other processes cannot reach the bar: it moves with their files, ours with its events.
        tell = bar.update if min(request.workers, len(indices)) == 1 else None
        work = partial(_simulate_file, request, tell)
        done = 0
        for path, events in in_order(work, indices, request.workers):
            files.append(path)
            done += events
            bar.update(done - bar.n)
    return SimulateSummary(tuple(files), request.events, time.perf_counter() - start)


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
    if request.multiplicity != 1 and request.process not in GUNS:
        raise ConfigError(
            f"expected --multiplicity 1 for {request.process}, found {request.multiplicity}; "
            "only guns shoot several particles"
        )
    if "://" in request.out:
        raise ConfigError(
            f"expected a local folder as --out, found {request.out!r}; "
            "simulate to a folder, then 'mlpf convert' it to object storage"
        )
    _check_numbers(request)


def _check_numbers(request: SimulateRequest) -> None:
    """Refuse numbers out of range."""
    for name in ("events", "files", "multiplicity", "workers"):
        if getattr(request, name) < 1:
            raise ConfigError(f"expected --{name} of at least 1, found {getattr(request, name)}")
    if not 0 <= request.pileup <= MAX_PILEUP:
        raise ConfigError(
            f"expected --pileup from 0 to {MAX_PILEUP:g} overlaid events on average, "
            f"found {request.pileup:g}"
        )
    if request.multiplicity > MAX_MULTIPLICITY:
        raise ConfigError(
            f"expected --multiplicity of at most {MAX_MULTIPLICITY}, found {request.multiplicity}; "
            "shoot more events instead"
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


def _simulate_file(
    request: SimulateRequest, tell: Callable[[int], object] | None, index: int
) -> tuple[str, int]:
    """Simulate and write one file, telling of events as they are made; return path and number."""
    files = min(request.files, request.events)
    events = request.events // files + (index < request.events % files)
    gun = request.process in GUNS
    process = _process(request)
    stem = process if gun else f"p8_ee_{process}_ecm{ENERGY}"
    path = str(Path(request.out) / f"{stem}_{request.seed}_{index}.root")
    settings = {
        "simulation": "fast: parametrised showers in the calorimeter cells of CLIC_o3_v14",
        "generator": "particle gun" if gun else f"Pythia 8, e+e- at {ENERGY} GeV",
        "file": index,
        **{
            name: value for name, value in asdict(request).items() if name not in ("out", "workers")
        },
    }
    steps = _told(_steps(request, index, events, path), tell)
    write_steps(path, steps, process=process, generator=settings)
    return path, events


def _told(
    steps: Iterable[Collections], tell: Callable[[int], object] | None
) -> Iterator[Collections]:
    """Pass steps on; tell of the events of each once it is taken up."""
    for step in steps:
        yield step
        if tell:
            tell(step.events)


def _process(request: SimulateRequest) -> str:
    """Return the process as keys name it: pile-up is a process of its own."""
    if not request.pileup:
        return request.process
    # Keys hold no dots: 2.5 overlaid events are PU2p5.
    return f"{request.process}{PILEUP}{request.pileup:g}".replace(".", "p")


def _steps(request: SimulateRequest, index: int, events: int, path: str) -> Iterator[Collections]:
    """Yield the events of one file, a chunk at a time."""
    source = np.random.SeedSequence([request.seed, zlib.crc32(request.process.encode()), index])
    random = np.random.default_rng(source)
    detector = DETECTORS[request.detector]
    for record in _records(request, _sizes(request, events), source, random):
        yield collect(_through_detector(record, detector, random), detector, path)


def _sizes(request: SimulateRequest, events: int) -> list[int]:
    """Cut a number of events into chunks, smaller ones where events hold more energy."""
    hard = request.multiplicity * sum(GUN_ENERGY) / 2.0 if request.process in GUNS else ENERGY
    energy = hard + request.pileup * _SOFT_ENERGY
    size = max(1, min(_CHUNK, int(_CHUNK_ENERGY / energy)))
    whole, rest = divmod(events, size)
    return [size] * whole + [rest] * (rest > 0)


def _records(
    request: SimulateRequest,
    sizes: Sequence[int],
    source: np.random.SeedSequence,
    random: np.random.Generator,
) -> Iterator[Record]:
    """Yield the generated events, pile-up included."""
    seed = 1 + int(source.generate_state(1)[0]) % (_PYTHIA_SEEDS - 1)
    generated = _generated(request, sizes, seed, random)
    if not request.pileup:
        yield from generated
        return
    from mlpf_stream.simulate.pileup import make_pool, overlay  # noqa: PLC0415 - needs Pythia

    pool = make_pool(seed)
    for record in generated:
        yield overlay(record, pool, request.pileup, random)


def _generated(
    request: SimulateRequest, sizes: Sequence[int], seed: int, random: np.random.Generator
) -> Iterator[Record]:
    """Yield the events of the process; Pythia is imported only for what needs it."""
    if request.process in GUNS and request.process != "gun-tau":
        for size in sizes:
            yield shoot(request.process, size, request.multiplicity, random)
        return
    from mlpf_stream.simulate.generator import decay_taus, generate  # noqa: PLC0415

    if request.process == "gun-tau":
        yield from decay_taus(request.multiplicity, seed, sizes, random)
    else:
        yield from generate(request.process, seed, sizes)


def _through_detector(record: Record, detector: Detector, random: np.random.Generator) -> Simulated:
    """Send generated events through the detector."""
    record = interact(record, detector, random)
    tracks = track(record, detector, random)
    cells = deposit(shower(record, detector, random), record.events, random)
    return Simulated(record, tracks, cells, cluster(cells))

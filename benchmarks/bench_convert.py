"""How fast files become a dataset, beside the time that uproot itself needs to read them.

The floor reads the same branches of the same file with uproot, whole branches into awkward arrays,
page cache warm, in the same process, and does nothing with them. `floor_ratio` is our time over the
floor's, medians of interleaved repeats. Our time is that of `convert` with one worker: look, read,
truth, statistics, packs, checksums, flush to disk, manifest. `stages_ms` says where the time of an
event goes, in one instrumented pass more.

Simulated ttbar events with hits are written once and repeated, so that the file is large enough.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import uproot

from mlpf_stream.columns import DETECTORS, MODE_KINDS, Mode
from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.convert.tally import Tally
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import all_leaves, names_of
from mlpf_stream.edm4hep.reader import open_events
from mlpf_stream.edm4hep.selection import needed_leaves
from mlpf_stream.edm4hep.step import StepRequest, convert_step
from mlpf_stream.edm4hep.writer import write_steps
from mlpf_stream.physics.baseline import reconstruct
from mlpf_stream.shards.writer import ShardLimits, ShardWriter
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.storage import open_store

DETECTOR = DETECTORS["clic"]


def main() -> int:
    """Print events per second, the ratio to the floor, and where the time goes, per mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--events", type=int, default=100, help="events to simulate")
    parser.add_argument("--copies", type=int, default=8, help="times they are in the file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--file", help="a file that exists already, instead of simulated events")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or make_file(Path(folder), options.events, options.copies)
        result: dict[str, object] = {"file_mb": round(Path(path).stat().st_size / 1e6, 1)}
        for mode in ("clusters", "hits"):
            result[mode] = measure(path, mode, Path(folder), options.repeats)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))
    return 0


def make_file(folder: Path, events: int, copies: int) -> str:
    """Simulate ttbar events; return a file that holds them several times."""
    made = simulate(SimulateRequest("ttbar", events, seed=7, out=str(folder / "sim"), files=1))
    path = str(folder / "p8_ee_ttbar_ecm380_1.root")

    def steps() -> Iterator[Collections]:
        for _ in range(copies):
            with open_events(made.files[0]) as file:
                yield from file.steps(all_leaves())

    write_steps(path, steps(), process="ttbar", generator={"copies": copies})
    return path


def measure(path: str, mode: Mode, folder: Path, repeats: int) -> dict[str, object]:
    """Time our conversion and the floor by turns."""
    with open_events(path) as file:
        baseline = not file.facts.has_candidates
        asked = StepRequest(DETECTOR, mode, DETECTOR.field, baseline)
        names = branches_of(path, [leaf.name for leaf in needed_leaves(file, asked)])
        events = file.entries
    ours, floor = [], []
    for number in range(repeats + 1):
        out = str(folder / f"{mode}-{number}")
        floor.append(seconds(partial(read_branches, path, names)))
        ours.append(seconds(partial(convert, ConvertRequest([path], out, mode=mode))))
    # The first turn warms caches and imports.
    own, least = statistics.median(ours[1:]), statistics.median(floor[1:])
    return {
        "events_per_second": round(events / own, 1),
        "floor_ratio": round(own / least, 3),
        "floor_events_per_second": round(events / least, 1),
        "events": events,
        "branches": len(names),
        "repeats": repeats,
        "stages_ms": stages(path, asked, folder / f"{mode}-stages"),
    }


def branches_of(path: str, leaves: Iterable[str]) -> list[str]:
    """Return the names of the branches that hold some leaves in this file."""
    wanted = set(leaves)
    with uproot.open(path) as file:
        stored = set(file["events"].keys(recursive=True, full_paths=False))
    names = (
        next((name for name in names_of(leaf) if name in stored), None)
        for leaf in all_leaves()
        if leaf.name in wanted
    )
    return [name for name in names if name is not None]


def read_branches(path: str, names: list[str]) -> None:
    """Read branches with uproot alone."""
    with uproot.open(path, array_cache=None) as file:
        tree = file["events"]
        for name in names:
            tree[name].array(library="ak")


def seconds(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def stages(path: str, asked: StepRequest, out: Path) -> dict[str, float]:
    """Return the milliseconds per event of each stage of one pass."""
    spent = dict.fromkeys(("read", "truth", "baseline", "statistics", "encode_and_write"), 0.0)
    kinds = MODE_KINDS[asked.mode]
    tally = Tally(asked.detector, asked.mode, kinds)
    writer = ShardWriter(open_store(str(out)), kinds, ShardLimits())
    with open_events(path) as file:
        entries, last = file.entries, time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal last
            now = time.perf_counter()
            spent[stage] += now - last
            last = now

        for collections in file.steps(needed_leaves(file, asked)):
            lap("read")
            step = convert_step(collections, asked)
            keys = [f"ttbar-0-{entry}" for entry in range(collections.events)]
            events = step.events(keys, None)
            lap("truth")
            if asked.with_baseline:
                reconstruct(step.bare(keys), asked.detector)
            lap("baseline")
            tally.add_events(events, "train")
            lap("statistics")
            writer.add(events, "train")
            lap("encode_and_write")
        writer.close()
        lap("encode_and_write")
    return {name: round(1000 * value / entries, 4) for name, value in spent.items()}


if __name__ == "__main__":
    sys.exit(main())

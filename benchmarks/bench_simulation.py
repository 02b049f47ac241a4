"""How the fast simulation compares with full simulation, and how fast it is.

Every row is measured on simulated files, read back as any file is, beside the published or measured
number of a real detector. Rates are CPU seconds of one process, the program's start left out.

Sources of the references: CLIC samples of Pata et al. 2023; hits per event and their energy from
the physics checks of jpata/particleflow on CLIC ttbar (100 events); hits, clusters and Pandora of
real ILD (mumuH at 240 GeV) and CLD events in EDM4HEP; resolutions from the Delphes card of CLICdet
(arXiv:1909.12728).
"""

import argparse
import itertools
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlpf_stream.columns import CLUSTER, DETECTORS, HIT, TRACK, ElementKind, Mode
from mlpf_stream.edm4hep.events import ReadCounts, ReadRequest, read_events, sum_counts
from mlpf_stream.event import F64, Bool, Events, Particles, concatenate_events
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.simulate.tracker import pt_resolution

CLIC = DETECTORS["clic"]
ACCEPTANCE = 3.0
ETA_EDGES = (0.0, 0.18, 0.45, 0.88, 1.32, 1.74, 2.5)
SUBDETECTORS = {"ECAL": 0, "HCAL": 1}
QUANTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Sample:
    """Events of one simulated file in both modes, and what was counted in cluster mode."""

    clusters: Events
    hits: Events
    counts: ReadCounts


@dataclass(frozen=True)
class Row:
    """One number of the simulation beside that of a real detector."""

    name: str
    simulated: float
    reference: float

    def tree(self) -> dict[str, str | float]:
        """Return the row as plain values."""
        return {
            "name": self.name,
            "simulated": round(self.simulated, 5),
            "reference": self.reference,
            "ratio": round(self.simulated / self.reference, 3),
        }


def main() -> int:
    """Print rates and the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=400, help="ttbar events")
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shoot(folder, "gun-pi", 2, 100)  # loads the compiled code
        shoot(folder, "ttbar", 2, 1)
        began, wall = time.process_time(), time.perf_counter()
        path = shoot(folder, "ttbar", options.events, 1)
        spent, passed = time.process_time() - began, time.perf_counter() - wall
        size = Path(path).stat().st_size
        ttbar = read(path)
        pions = read(shoot(folder, "gun-pi", 20, 100))
        spread = read(shoot(folder, "gun-pi", 400, 10))
    rows = [*multiplicities(ttbar), *shapes(ttbar), *energies(ttbar)]
    rows += [*hundred_pions(pions), *resolutions(spread)]
    result = {
        "events_per_second": round(options.events / spent, 1),
        "wall_events_per_second": round(options.events / passed, 1),
        "events": options.events,
        "kilobytes_per_event": round(size / options.events / 1000, 1),
        "rows": [row.tree() for row in rows],
    }
    if options.json:
        print(json.dumps(result))
    else:
        show(result, rows)
    return 0


def show(result: dict[str, object], rows: list[Row]) -> None:
    """Print the table for a person."""
    print(f"{result['events']} ttbar events with hits: {result['events_per_second']}/s per core")
    print(f"{'':52} {'simulated':>10} {'real':>8} {'ratio':>6}")
    for row in rows:
        tree = row.tree()
        mark = "" if 0.75 <= float(tree["ratio"]) <= 1.25 else "  see docs/physics.md"
        numbers = f"{row.simulated:10.4g} {row.reference:8.4g} {tree['ratio']:6.2f}"
        print(f"{row.name:52} {numbers}{mark}")


def shoot(folder: str, process: str, events: int, multiplicity: int) -> str:
    """Simulate one file and return its path."""
    request = SimulateRequest(process, events, 7, folder, files=1, multiplicity=multiplicity)
    return simulate(request).files[0]


def read(path: str) -> Sample:
    """Read a file in both modes."""
    modes: tuple[Mode, Mode] = ("clusters", "hits")
    parts = {
        mode: list(read_events(path, ReadRequest(CLIC, None, "bench", mode, "0"))) for mode in modes
    }
    both = [concatenate_events([events for events, _ in parts[mode]]) for mode in modes]
    return Sample(both[0], both[1], sum_counts([counts for _, counts in parts["clusters"]]))


def column(events: Events, kind: ElementKind, name: str) -> F64:
    """Return one feature of all elements of a kind."""
    return events.elements[kind.name].x_RF[:, kind.index(name)].astype(np.float64)


def multiplicities(sample: Sample) -> list[Row]:
    """Compare what is counted per event and per GeV."""
    counts, events = sample.counts, len(sample.clusters)
    hits_E = sample.hits.elements[HIT.name].counts
    energy = column(sample.clusters, CLUSTER, "energy").sum()
    members = column(sample.clusters, CLUSTER, "num_hits").sum()
    return [
        Row(
            "tracks and clusters per event (50 to 150)",
            (counts.tracks + counts.clusters) / events,
            100.0,
        ),
        Row("calorimeter hits per event, median", float(np.median(hits_E)), 8484.0),
        Row("hits per GeV of cluster energy", members / energy, 29.0),
        Row("clusters without target", counts.clusters_without_target / counts.clusters, 0.45),
        Row(
            "clusters with two particles (ILD mumuH)",
            counts.clusters_shared / counts.clusters,
            0.10,
        ),
    ]


def shapes(sample: Sample) -> list[Row]:
    """Compare hits and clusters among themselves."""
    hits, energy = (
        column(sample.clusters, CLUSTER, "num_hits"),
        column(sample.clusters, CLUSTER, "energy"),
    )
    rows = [
        Row(f"hits per cluster, {q} % (mean of ILD and CLD)", float(np.percentile(hits, q)), real)
        for q, real in zip(QUANTILES, (10.0, 23.0, 50.5, 86.5, 216.0), strict=True)
    ]
    rows += [
        Row(f"cluster energy [GeV], {q} % (ILD)", float(np.percentile(energy, q)), real)
        for q, real in zip(QUANTILES, (0.18, 0.43, 1.2, 3.2, 7.9), strict=True)
    ]
    part, hit = column(sample.hits, HIT, "subdetector"), 1000 * column(sample.hits, HIT, "energy")
    real_hits = {"ECAL": (3.9, 11.6, 66.0), "HCAL": (16.0, 43.0, 414.0)}
    for name, real in real_hits.items():
        own = hit[part == SUBDETECTORS[name]]
        rows += [
            Row(f"{name} hit energy [MeV], {q} %", float(np.percentile(own, q)), value)
            for q, value in zip((5, 50, 95), real, strict=True)
        ]
    rows.append(Row("hits in the ECAL", float((part == SUBDETECTORS["ECAL"]).mean()), 0.90))
    return rows


def energies(sample: Sample) -> list[Row]:
    """Compare energy sums of every event with the energy of its visible particles."""
    true_E = summed(sample.clusters.generator)
    target_E, found_E = summed(sample.clusters.targets), summed(sample.clusters.candidates)
    offsets = sample.hits.elements[HIT.name].offsets
    hit_E = np.add.reduceat(column(sample.hits, HIT, "energy"), offsets[:-1])
    return [
        Row(
            "hit energy / energy of visible particles, median",
            float(np.median(hit_E / true_E)),
            0.917,
        ),
        Row(
            "E_reco / E_gen, rule-based (Pandora on ILD)", float(np.median(found_E / true_E)), 0.992
        ),
        Row("E_reco / E_gen, perfect targets", float(np.median(target_E / true_E)), 1.0),
    ]


def summed(particles: Particles) -> F64:
    """Return the energy of particles in acceptance of every event [GeV]."""
    inside: Bool = np.abs(particles.column("eta")) < ACCEPTANCE
    energy_P = particles.column("energy")[inside].astype(np.float64)
    return np.bincount(particles.event_P[inside], energy_P, particles.events).astype(np.float64)


def hundred_pions(sample: Sample) -> list[Row]:
    """Compare the published gun of a hundred charged pions."""
    events = len(sample.clusters)
    return [
        Row("tracks of 100 pions (96 +- 3)", sample.counts.tracks / events, 96.0),
        Row("clusters of 100 pions (170 +- 20)", sample.counts.clusters / events, 170.0),
    ]


def resolutions(sample: Sample) -> list[Row]:
    """Compare the relative pT resolution of pions of 5 to 50 GeV with the card, by |eta|."""
    tracks = sample.clusters.elements[TRACK.name]
    generator = sample.clusters.generator
    event_R = np.repeat(np.arange(len(sample.clusters)), tracks.counts)
    linked = np.flatnonzero(tracks.particle_R >= 0)
    true = generator.momentum_PM[generator.offsets[event_R[linked]] + tracks.particle_R[linked]]
    pt, eta = true[:, 0].astype(np.float64), np.abs(true[:, 1])
    residual = column(sample.clusters, TRACK, "pt")[linked] / pt - 1.0
    momentum = np.stack([pt, np.zeros_like(pt), pt * np.sinh(eta)], axis=1)
    card = pt_resolution(np.full(len(pt), 211, np.int32), momentum)
    rows = []
    for low, high in itertools.pairwise(ETA_EDGES):
        own = (eta >= low) & (eta < high) & (pt > 5) & (pt < 50)
        width = float(np.subtract(*np.percentile(residual[own], [84.13, 15.87]))) / 2.0
        expected = round(float(np.median(card[own])), 5)
        rows.append(Row(f"sigma(pT)/pT, {low} < |eta| < {high}", width, expected))
    return rows


if __name__ == "__main__":
    sys.exit(main())

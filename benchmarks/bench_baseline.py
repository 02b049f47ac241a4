"""How much of the visible energy the rule-based baseline finds on real events, beside Pandora.

E ratio of an event: energy of the candidates / energy of the visible target particles. Without a
file, the real ILD file below the folder named by MLPF_TEST_DATA is read.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from mlpf_stream.columns import DETECTORS
from mlpf_stream.edm4hep.events import ReadRequest, read_events
from mlpf_stream.edm4hep.source import source_file_id
from mlpf_stream.event import F64, Particles, concatenate_events
from mlpf_stream.physics.baseline import reconstruct

ILD = "edm4hep/edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"


def main() -> int:
    """Print the energy ratios of baseline and Pandora."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="EDM4HEP file after full reconstruction")
    parser.add_argument("--detector", default="ild", choices=sorted(DETECTORS))
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    options = parser.parse_args()
    path = options.file or str(Path(os.environ.get("MLPF_TEST_DATA", ".")) / ILD)
    detector = DETECTORS[options.detector]
    request = ReadRequest(detector, None, "bench", "clusters", source_file_id(path))
    events = concatenate_events([part for part, _ in read_events(path, request)])
    began = time.process_time()
    found = reconstruct(events, detector).particles
    spent = time.process_time() - began
    visible_E = energies(events.targets)
    result = {
        "events": len(events),
        "baseline": ratio(energies(found), visible_E),
        "stored_candidates": ratio(energies(events.candidates), visible_E),
        "cpu_ms_per_event": round(1000 * spent / len(events), 3),
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(f"E ratio on {len(events)} events (mean, spread over events, error of the mean)")
        for name in ("baseline", "stored_candidates"):
            print(f"  {name:18}", result[name])
    return 0


def energies(particles: Particles) -> F64:
    """Return the summed energy of every event [GeV]."""
    energy_P = particles.column("energy").astype(np.float64)
    return np.bincount(particles.event_P, energy_P, particles.events).astype(np.float64)


def ratio(
    found_E: F64,
    true_E: F64,
) -> dict[str, float]:
    """Return mean, spread and error of the mean of the ratio."""
    ratio_E = found_E / true_E
    spread = float(ratio_E.std(ddof=1))
    return {
        "mean": round(float(ratio_E.mean()), 4),
        "spread": round(spread, 4),
        "error": round(spread / len(ratio_E) ** 0.5, 4),
    }


if __name__ == "__main__":
    sys.exit(main())

"""Physics metrics per process: the same numbers in validation, evaluation and report."""

from collections.abc import Mapping, Sequence

import numpy as np

from mlpf_stream.config import PhysicsConfig
from mlpf_stream.event import Particles, process_of
from mlpf_stream.physics.evaluation import Measures, compare


def measure_processes(
    keys: Sequence[str],
    generator: Particles,
    reconstructions: Mapping[str, Particles],
    settings: PhysicsConfig,
) -> dict[str, dict[str, Measures]]:
    """Return, per process and reconstruction, jets, missing momentum and event momentum."""
    processes = np.array([process_of(key) for key in keys])
    measured = {}
    for process in sorted(set(processes.tolist())):
        order = np.flatnonzero(processes == process).astype(np.int64)
        selected = {name: part.select(order) for name, part in reconstructions.items()}
        measured[process] = compare(generator.select(order), selected, settings)
    return measured

"""How the fast simulation compares with full simulation: a handful of numbers per sample."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from mlpf_stream.columns import TRACK, Detector
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.elements import build_elements
from mlpf_stream.edm4hep.targets import build_targets
from mlpf_stream.simulate.event_data import Simulated
from mlpf_stream.simulate.record import DECAYED_IN_CALORIMETER, DECAYED_IN_TRACKER, FINAL

REFERENCE: Final[dict[str, float]] = {
    "tracks": 50.0,
    "clusters": 80.0,
    "without_target": 0.45,
    "hits_per_gev": 29.0,
    "cluster_energy_p5": 0.18,
    "cluster_energy_p25": 0.43,
    "cluster_energy_p50": 1.2,
    "cluster_energy_p75": 3.2,
    "cluster_energy_p95": 7.9,
}
"""The same numbers of ttbar events, or of any, in full simulation where they are known.

Source: CLIC samples of Pata et al. 2023; real ILD and CLD events in EDM4HEP.
"""
_QUANTILES: Final = (5, 25, 50, 75, 95)


def calibration(
    simulated: Simulated, collections: Collections, detector: Detector
) -> dict[str, float]:
    """Return per-event numbers, shares of clusters and cluster energies [GeV] of a sample.

    `shared` is the share of clusters with two or more particles of at least 10 % of its energy
    each, `without_target` of those that no particle has for its target; `energy_ratio` the cluster
    energy over the energy of the final particles that stop in the detector, 0 without any.
    """
    record, clusters = simulated.record, simulated.clusters
    energy_C = clusters.energy_C
    count = max(len(energy_C), 1)
    track_RF = build_elements(collections, detector, detector.field).arrays[TRACK.name].x_RF
    charge_R = np.sign(track_RF[:, TRACK.index("omega")]).astype(np.int8)
    truth = build_targets(collections, detector, charge_R).counts
    seen_P = (record.simulator_P & (DECAYED_IN_CALORIMETER | DECAYED_IN_TRACKER)) != 0
    visible = record.energy_P[seen_P & (record.status_P == FINAL)].sum()
    quantiles = np.percentile(energy_C, _QUANTILES) if len(energy_C) else np.zeros(len(_QUANTILES))
    return {
        "tracks": len(simulated.tracks.ndf_T) / record.events,
        "clusters": len(energy_C) / record.events,
        "targets": float(truth.targets.mean()),
        "shared": float(truth.clusters_shared.sum()) / count,
        "without_target": float(truth.clusters_without_target.sum()) / count,
        "links_per_cluster": len(clusters.energy_K) / count,
        "hits_per_gev": float(clusters.hits_C.sum() / max(energy_C.sum(), 1e-9)),
        "energy_ratio": float(energy_C.sum() / visible) if visible else 0.0,
        **{
            f"cluster_energy_p{percent}": float(value)
            for percent, value in zip(_QUANTILES, quantiles, strict=True)
        },
    }


def averaged(parts: Sequence[Mapping[str, float]], weights: Sequence[int]) -> dict[str, float]:
    """Return the mean of the numbers of several samples, weighted."""
    return {
        name: float(np.average([part[name] for part in parts], weights=weights))
        for name in parts[0]
    }

"""Simulated events as the EDM4HEP collections that a file after full reconstruction holds.

Shape letters: P particles, T tracks, C clusters, K contributions, Q candidates, all events end to
end; N rows of any collection.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mlpf_stream.columns import CLASSES, MODE_KINDS, MOMENTUM, Detector
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.elements import ElementArrays, build_elements
from mlpf_stream.edm4hep.leaves import (
    CLUSTER_LINKS,
    CLUSTERS,
    MC,
    PFOS,
    STATE_AT_CALORIMETER,
    STATE_AT_IP,
    STATES,
    TRACK_LINKS,
    TRACKS,
)
from mlpf_stream.event import (
    I64,
    Elements,
    Events,
    Jagged,
    Particles,
    Rows,
    offsets_of,
)
from mlpf_stream.physics.baseline import Reconstruction, reconstruct
from mlpf_stream.simulate.clustering import Clusters
from mlpf_stream.simulate.record import NO_PARENT, Record
from mlpf_stream.simulate.tracker import Tracks

COLLECTION_IDS: Final = {MC: 1, TRACKS: 2, CLUSTERS: 3, PFOS: 4}
_SUBDETECTORS_STORED: Final = 6
"""ecal, hcal, yoke and three forward calorimeters that are not simulated."""
# PDG id of a negative or neutral candidate of each class.
_PDG: Final = {
    "charged_hadron": -211,
    "neutral_hadron": 2112,
    "photon": 22,
    "electron": 11,
    "muon": 13,
}


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the simulation made of E events: the record, its tracks and its clusters."""

    record: Record
    tracks: Tracks
    clusters: Clusters


def collect(simulated: Simulated, detector: Detector, source: str) -> Collections:
    """Return all collections of the events, the rule-based baseline as `PandoraPFOs` included."""
    leaves = {
        **_particles(simulated.record),
        **_tracks(simulated.tracks, simulated.record),
        **_clusters(simulated.clusters, simulated.record),
    }
    bare = Collections(source, simulated.record.events, leaves, COLLECTION_IDS)
    found = reconstruct(_events(bare, detector), detector)
    return replace(bare, leaves={**leaves, **_candidates(found)})


def _particles(record: Record) -> dict[str, Jagged]:
    """Return the MC record and its daughters."""
    offsets = record.offsets
    children = np.flatnonzero(record.parent_P != NO_PARENT)
    parent = offsets[record.event_P[children]] + record.parent_P[children]
    order = np.argsort(parent, kind="stable")
    number_P = np.bincount(parent, minlength=len(record.pdg_P)).astype(np.int64)
    daughters = Jagged(record.row_P[children[order]], _per_event(number_P, offsets))
    columns: dict[str, Rows] = {
        "PDG": record.pdg_P,
        "charge": record.charge_P,
        "mass": record.mass_P,
        "generatorStatus": record.status_P,
        "simulatorStatus": record.simulator_P,
        **{f"momentum.{axis}": record.momentum_P3[:, i] for i, axis in enumerate("xyz")},
        **_begin_end("daughters", number_P, offsets),
    }
    leaves = _jagged(MC, columns, offsets)
    leaves["_MCParticles_daughters.index"] = daughters
    return leaves


def _tracks(tracks: Tracks, record: Record) -> dict[str, Jagged]:
    """Return tracks, their states and their links."""
    count = len(tracks.ndf_T)
    locations = np.arange(STATE_AT_IP, STATE_AT_CALORIMETER + 1)
    columns: dict[str, Rows] = {
        "chi2": tracks.chi2_T,
        "ndf": tracks.ndf_T,
        **_begin_end("trackStates", np.full(count, len(locations)), tracks.offsets),
    }
    states: dict[str, Rows] = {name: value.ravel() for name, value in tracks.state_TS.items()}
    states["location"] = np.tile(locations, count)
    linked = np.flatnonzero(tracks.particle_T >= 0)
    return {
        **_jagged(TRACKS, columns, tracks.offsets),
        **_jagged(STATES, states, tracks.offsets * len(locations)),
        **_links(
            TRACK_LINKS,
            _Ends(linked, tracks.offsets, tracks.particle_T[linked], record.offsets),
            np.ones(len(linked)),
        ),
    }


def _clusters(clusters: Clusters, record: Record) -> dict[str, Jagged]:
    """Return clusters, their energies by subdetector and their links."""
    offsets, energy_C = clusters.offsets, clusters.energy_C
    x, y, z = clusters.position_C3.T
    stored = np.zeros((len(energy_C), _SUBDETECTORS_STORED))
    stored[:, : clusters.energy_CS.shape[1]] = clusters.energy_CS
    number_C = np.full(len(energy_C), _SUBDETECTORS_STORED)
    columns: dict[str, Rows] = {
        "energy": energy_C,
        "position.x": x,
        "position.y": y,
        "position.z": z,
        "iTheta": np.arctan2(np.hypot(x, y), z),
        "iPhi": np.arctan2(y, x),
        **_begin_end("hits", clusters.hits_C, offsets),
        **_begin_end("subdetectorEnergies", number_C, offsets),
    }
    leaves = _jagged(CLUSTERS, columns, offsets)
    leaves["_PandoraClusters_subdetectorEnergies"] = Jagged(
        stored.ravel(), offsets * _SUBDETECTORS_STORED
    )
    ends = _Ends(clusters.cluster_K, offsets, clusters.particle_K, record.offsets)
    weight_K = clusters.energy_K / energy_C[clusters.cluster_K]
    return leaves | _links(CLUSTER_LINKS, ends, weight_K)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Links between rows of all events: both ends, and the offsets of their collections."""

    from_K: I64
    from_offsets: I64
    to_K: I64
    to_offsets: I64


def _links(name: str, ends: _Ends, weight_K: Rows) -> dict[str, Jagged]:
    """Return weighted links to MC particles; `ends.from_K` ascends."""
    event_K = np.searchsorted(ends.from_offsets, ends.from_K, side="right") - 1
    events = len(ends.from_offsets) - 1
    offsets = offsets_of(np.bincount(event_K, minlength=events).astype(np.int64))
    source = CLUSTERS if name == CLUSTER_LINKS else TRACKS
    ids = {
        side: np.full(len(event_K), COLLECTION_IDS[kind])
        for side, kind in (("from", source), ("to", MC))
    }
    return {
        f"{name}.weight": Jagged(weight_K, offsets),
        f"_{name}_from.index": Jagged(ends.from_K - ends.from_offsets[event_K], offsets),
        f"_{name}_from.collectionID": Jagged(ids["from"], offsets),
        f"_{name}_to.index": Jagged(ends.to_K - ends.to_offsets[event_K], offsets),
        f"_{name}_to.collectionID": Jagged(ids["to"], offsets),
    }


def _events(collections: Collections, detector: Detector) -> Events:
    """Return the elements of the events without targets: all that the baseline may see."""
    arrays = build_elements(collections, detector, detector.field).arrays
    elements = {kind.name: _bare(arrays[kind.name]) for kind in MODE_KINDS["clusters"]}
    nobody = Particles.empty(collections.events)
    return Events(("",) * collections.events, elements, nobody, nobody)


def _bare(arrays: ElementArrays) -> Elements:
    """Return elements without targets."""
    count = len(arrays.x_RF)
    zero = np.zeros(count, np.int8)
    momentum = np.zeros((count, len(MOMENTUM)), np.float32)
    return Elements(arrays.x_RF, zero, zero, momentum, np.zeros(count, np.int32), arrays.offsets)


def _candidates(found: Reconstruction) -> dict[str, Jagged]:
    """Return the candidates of the baseline and what they are made of."""
    particles = found.particles
    pt, eta, sine, cosine, energy = particles.momentum_PM.astype(np.float64).T
    pz = pt * np.sinh(eta)
    lone = np.array([_PDG.get(name, 0) for name in CLASSES])[particles.class_P]
    charge = particles.charge_P.astype(np.int64)
    # Negative electrons and muons, positive hadrons have positive ids.
    pdg = np.where(charge == 0, lone, -charge * lone)
    tracked = np.flatnonzero(found.track_P >= 0)
    number = {"tracks": (found.track_P >= 0).astype(np.int64), "clusters": found.clusters.counts}
    values = {"tracks": found.track_P[tracked], "clusters": found.clusters.values}
    columns: dict[str, Rows] = {
        "PDG": pdg,
        "charge": charge,
        "mass": np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0)),
        "energy": energy,
        "momentum.x": pt * cosine,
        "momentum.y": pt * sine,
        "momentum.z": pz,
    }
    leaves: dict[str, Jagged] = {}
    for name, count in number.items():
        columns |= _begin_end(name, count, particles.offsets)
        leaves[f"_PandoraPFOs_{name}.index"] = Jagged(
            values[name], _per_event(count, particles.offsets)
        )
    return leaves | _jagged(PFOS, columns, particles.offsets)


def _jagged(collection: str, columns: dict[str, Rows], offsets: I64) -> dict[str, Jagged]:
    """Return columns of one collection as leaves."""
    return {f"{collection}.{name}": Jagged(values, offsets) for name, values in columns.items()}


def _per_event(number_N: I64, offsets: I64) -> I64:
    """Return the offsets per event of children, given their number per row."""
    return offsets_of(number_N)[offsets]


def _begin_end(member: str, number_N: I64, offsets: I64) -> dict[str, Rows]:
    """Return where the children of every row begin and end within their event."""
    end_N = np.cumsum(number_N, dtype=np.int64)
    event_N = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    first_N = _per_event(number_N, offsets)[:-1][event_N]
    return {f"{member}_begin": end_N - number_N - first_N, f"{member}_end": end_N - first_N}

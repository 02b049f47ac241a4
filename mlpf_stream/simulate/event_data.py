"""Simulated events as the EDM4HEP collections that a file after full reconstruction holds.

Shape letters: P particles, T tracks, Q candidates, all events end to end.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import CLASSES, MODE_KINDS, MOMENTUM, Detector
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.elements import ElementArrays, build_elements
from mlpf_stream.edm4hep.leaves import (
    MC,
    PFOS,
    STATE_AT_CALORIMETER,
    STATE_AT_IP,
    STATES,
    TRACK_LINKS,
    TRACKS,
)
from mlpf_stream.event import Elements, Events, Jagged, Particles, Rows
from mlpf_stream.physics.baseline import Reconstruction, reconstruct
from mlpf_stream.simulate import hit_data
from mlpf_stream.simulate.cells import Cells
from mlpf_stream.simulate.clustering import Clusters
from mlpf_stream.simulate.columnar import (
    COLLECTION_IDS,
    begin_end,
    jagged,
    links_to_particles,
    per_event,
)
from mlpf_stream.simulate.hit_data import HIT_IDS
from mlpf_stream.simulate.record import NO_PARENT, Record
from mlpf_stream.simulate.tracker import Tracks

IDS: Final = COLLECTION_IDS | HIT_IDS
"""Collection ids of everything that is stored."""
_MEMBERS: Final = "_PandoraClusters_hits"
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
    """What the simulation made of E events: the record, its tracks, hits and clusters."""

    record: Record
    tracks: Tracks
    cells: Cells
    clusters: Clusters


def collect(simulated: Simulated, detector: Detector, source: str) -> Collections:
    """Return all collections of the events, the rule-based baseline as `PandoraPFOs` included."""
    record, cells = simulated.record, simulated.cells
    seen = {
        **_particles(record),
        **_tracks(simulated.tracks, record),
        **hit_data.clusters(simulated.clusters, cells, record),
    }
    # Without their hits: the energies of clusters by subdetector say as much, and faster.
    bare = {name: rows for name, rows in seen.items() if not name.startswith(_MEMBERS)}
    events = _events(Collections(source, record.events, bare, IDS), detector)
    found = _candidates(reconstruct(events, detector))
    leaves = {**seen, **hit_data.hits(cells, record), **found}
    return Collections(source, record.events, leaves, IDS)


def _particles(record: Record) -> dict[str, Jagged]:
    """Return the MC record and its daughters."""
    offsets = record.offsets
    children = np.flatnonzero(record.parent_P != NO_PARENT)
    parent = offsets[record.event_P[children]] + record.parent_P[children]
    order = np.argsort(parent, kind="stable")
    number_P = np.bincount(parent, minlength=len(record.pdg_P)).astype(np.int64)
    daughters = Jagged(record.row_P[children[order]], per_event(number_P, offsets))
    columns: dict[str, Rows] = {
        "PDG": record.pdg_P,
        "charge": record.charge_P,
        "mass": record.mass_P,
        "generatorStatus": record.status_P,
        "simulatorStatus": record.simulator_P,
        **{f"momentum.{axis}": record.momentum_P3[:, i] for i, axis in enumerate("xyz")},
        **begin_end("daughters", number_P, offsets),
    }
    leaves = jagged(MC, columns, offsets)
    leaves["_MCParticles_daughters.index"] = daughters
    return leaves


def _tracks(tracks: Tracks, record: Record) -> dict[str, Jagged]:
    """Return tracks, their states and their links."""
    count = len(tracks.ndf_T)
    locations = np.arange(STATE_AT_IP, STATE_AT_CALORIMETER + 1)
    columns: dict[str, Rows] = {
        "chi2": tracks.chi2_T,
        "ndf": tracks.ndf_T,
        **begin_end("trackStates", np.full(count, len(locations)), tracks.offsets),
    }
    states: dict[str, Rows] = {name: value.ravel() for name, value in tracks.state_TS.items()}
    states["location"] = np.tile(locations, count)
    row_T = np.arange(count) - np.repeat(tracks.offsets[:-1], np.diff(tracks.offsets))
    ionisation = {"dQdx.value": tracks.loss_T, "dQdx.error": tracks.loss_error_T}
    linked = np.flatnonzero(tracks.particle_T >= 0)
    event_T = np.repeat(np.arange(record.events), np.diff(tracks.offsets))
    return {
        **jagged(TRACKS, columns, tracks.offsets),
        **jagged(STATES, states, tracks.offsets * len(locations)),
        **jagged("SiTracks_Refitted_dQdx", ionisation, tracks.offsets),
        **jagged("_SiTracks_Refitted_dQdx_track", {"index": row_T}, tracks.offsets),
        **links_to_particles(
            TRACK_LINKS,
            (None, linked - tracks.offsets[event_T[linked]]),
            (tracks.particle_T[linked], record.offsets),
            event_T[linked],
            np.ones(len(linked)),
        ),
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
        columns |= begin_end(name, count, particles.offsets)
        leaves[f"_PandoraPFOs_{name}.index"] = Jagged(
            values[name], per_event(count, particles.offsets)
        )
    return leaves | jagged(PFOS, columns, particles.offsets)

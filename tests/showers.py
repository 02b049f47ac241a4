"""Toy events with calorimeter hits, written through the public writer: right shapes, no physics.

Every particle is a photon, a charged pion with a track, or a K_L; it leaves a cone of hits in the
barrel and one cluster that holds nine tenths of them.
Shape letters: E events, N particles, H hits, T tracks.
"""

import numpy as np

from mlpf_stream.columns import DETECTORS
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import all_leaves
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.event import Jagged, offsets_of

CLIC = DETECTORS["clic"]
IDS = {"MCParticles": 11, "SiTracks_Refitted": 12, "PandoraClusters": 13}
IDS |= {"ECALBarrel": 14, "HCALBarrel": 15, "MUON": 16}
SPECIES = ((22, 0.0), (211, 1.0), (-211, -1.0), (130, 0.0))
DTYPES = {leaf.name: leaf.dtype for leaf in all_leaves()}


class Rows:
    """Columns of one collection, given with the event of every row (ascending)."""

    def __init__(self, events, event_R):
        self.events, self.event_R = events, event_R
        self.offsets = offsets_of(np.bincount(event_R, minlength=events))

    @property
    def local_R(self):
        """Number of every row within its event."""
        return np.arange(len(self.event_R)) - self.offsets[self.event_R]

    def leaves(self, collection, **columns):
        names = {f"{collection}.{name}" if name else collection: x for name, x in columns.items()}
        return {
            name: Jagged(np.broadcast_to(x, self.event_R.shape).astype(DTYPES[name]), self.offsets)
            for name, x in names.items()
        }


def xyz(member, place_R3):
    return {f"{member}.{axis}": place_R3[:, i] for i, axis in enumerate("xyz")}


def links(rows, name, source, weight, ends):
    """Links of one collection; `ends` are the local rows on both sides."""
    found = rows.leaves(name, weight=weight)
    numbers = (source, IDS["MCParticles"])
    for side, index, number in zip(("from", "to"), ends, numbers, strict=True):
        found |= rows.leaves(f"_{name}_{side}", index=index, collectionID=number)
    return found


def shower_collections(events, particles, hits, seed=1):
    """Return `events` events of `particles` particles that leave `hits` hits each on average."""
    rng = np.random.default_rng(seed)
    part = Rows(events, np.repeat(np.arange(events), particles))
    count = len(part.event_R)
    species_N = rng.integers(0, len(SPECIES), count)
    pdg_N, charge_N = (np.array([x[i] for x in SPECIES])[species_N] for i in (0, 1))
    energy_N = rng.exponential(6.0, count) + 1.0
    phi_N, eta_N = rng.uniform(-np.pi, np.pi, count), rng.uniform(-1.0, 1.0, count)
    unit_N3 = np.stack([np.cos(phi_N), np.sin(phi_N), np.sinh(eta_N)], 1)
    unit_N3 /= np.cosh(eta_N)[:, None]
    stored = part.leaves(
        "MCParticles",
        PDG=pdg_N,
        generatorStatus=1,
        simulatorStatus=1 << 25,
        charge=charge_N,
        mass=0.0,
        daughters_begin=0,
        daughters_end=0,
        **xyz("momentum", energy_N[:, None] * unit_N3),
    )
    nobody = Rows(events, np.zeros(0, np.int64))
    stored |= nobody.leaves("_MCParticles_daughters", index=[])
    stored |= _tracks(part, np.flatnonzero(charge_N), (energy_N, charge_N, phi_N, eta_N))
    stored |= _hits(rng, part, (energy_N, unit_N3, pdg_N == 22), hits)
    return Collections("showers", events, stored, IDS)


def _tracks(part, of_T, particle):
    energy_N, charge_N, phi_N, eta_N = (x[of_T] for x in particle)
    rows = Rows(part.events, part.event_R[of_T])
    local = rows.local_R
    omega = charge_N * 2.99792458e-4 * CLIC.field * np.cosh(eta_N) / energy_N
    state = {"D0": 0.0, "phi": phi_N, "omega": omega, "Z0": 0.0, "tanLambda": np.sinh(eta_N)}
    state |= {"time": 0.0, "location": 1, **xyz("referencePoint", np.zeros((len(of_T), 3)))}
    span = {"trackStates_begin": local, "trackStates_end": local + 1}
    stored = rows.leaves("SiTracks_Refitted", chi2=10.0, ndf=9, **span)
    stored |= rows.leaves("_SiTracks_Refitted_trackStates", **state)
    ends = (local, part.local_R[of_T])
    return stored | links(rows, "SiTracksMCTruthLink", IDS["SiTracks_Refitted"], 1.0, ends)


def _hits(rng, part, particle, hits):
    """Hits in three collections, a link for each, and the cluster of every particle."""
    energy_N, unit_N3, photon_N = particle
    number_N = rng.poisson(hits, len(energy_N)) + 2
    of_H = np.repeat(np.arange(len(energy_N)), number_N)
    depth_H = rng.gamma(2.0, np.where(photon_N[of_H], 40.0, 250.0))
    place_H3 = (CLIC.barrel_radius + depth_H)[:, None] * unit_N3[of_H]
    place_H3 += rng.normal(0.0, 12.0, (len(of_H), 3))
    share_H = rng.exponential(1.0, len(of_H))
    share_H *= (energy_N / np.bincount(of_H, weights=share_H))[of_H]
    names = ("ECALBarrel", "HCALBarrel", "MUON")
    sort_H = np.digitize(depth_H, (200.0, 1800.0))
    stored, local_H = {}, np.zeros(len(of_H), np.int64)
    for number, name in enumerate(names):
        here = np.flatnonzero(sort_H == number)
        rows = Rows(part.events, part.event_R[of_H[here]])
        local_H[here] = rows.local_R
        layer = np.minimum(depth_H[here] / 5.0, 60).astype(int)
        members = {"energy": share_H[here], "time": depth_H[here] / 300.0, "type": layer * 10_000}
        stored |= rows.leaves(name, **members, **xyz("position", place_H3[here]))
    every = Rows(part.events, part.event_R[of_H])
    ids_H = np.array([IDS[name] for name in names])[sort_H]
    ends = (local_H, part.local_R[of_H])
    stored |= links(every, "CalohitMCTruthLink", ids_H, rng.uniform(0.01, 1, len(of_H)), ends)
    end_N = np.cumsum(number_N) - every.offsets[part.event_R]
    return stored | _clusters(part, (every, local_H, ids_H), (end_N - number_N, end_N), particle)


def _clusters(part, hits, span_N, particle):
    energy_N, unit_N3, _ = particle
    every, local_H, ids_H = hits
    begin_N, end_N = span_N
    stored = part.leaves(
        "PandoraClusters",
        energy=energy_N,
        iTheta=np.arccos(unit_N3[:, 2]),
        iPhi=np.arctan2(unit_N3[:, 1], unit_N3[:, 0]),
        hits_begin=begin_N,
        # One hit in ten belongs to no cluster.
        hits_end=end_N - (end_N - begin_N) // 10,
        **xyz("position", CLIC.barrel_radius * unit_N3),
    )
    return stored | every.leaves("_PandoraClusters_hits", index=local_H, collectionID=ids_H)


def write_showers(path, events, particles=6, hits=40, *, seed=1, process="qq"):
    """Write one file and return its path."""
    collections = shower_collections(events, particles, hits, seed)
    write_collections(str(path), collections, process=process, generator={"seed": seed})
    return str(path)

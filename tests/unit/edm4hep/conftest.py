"""Hand-built events whose truth is known."""

import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.edm4hep import leaves
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.events import ReadRequest, read_events, sum_counts
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.event import Jagged, concatenate_events

IDS = {"MCParticles": 11, "SiTracks_Refitted": 12, "PandoraClusters": 13, "ECALBarrel": 14}
IDS |= {"HCALBarrel": 15, "MUON": 16}
IN_CALORIMETER = 1 << 25
FIELD = 4.0


def _floor():
    """Return the leaves that every scene has."""
    return (
        *leaves.MC_LEAVES,
        *leaves.TRACK_LEAVES,
        *leaves.CLUSTER_LEAVES,
        *leaves.TRACK_LINK_LEAVES,
    )


class Scene:
    """A few events built row by row; columns hold one list per event."""

    def __init__(self, *, hits=False, candidates=False, tracker=()):
        known = [*_floor(), *(leaves.HIT_LINK_LEAVES if hits else leaves.CLUSTER_LINK_LEAVES)]
        if hits:
            known += [*leaves.CLUSTER_HIT_LEAVES, *leaves.hit_leaves("ECALBarrel")]
            known += leaves.hit_leaves("HCALBarrel")
        for name in tracker:
            known += leaves.tracker_leaves(name)
        if candidates:
            known += leaves.PFO_LEAVES
        self.dtypes = {leaf.name: leaf.dtype for leaf in known}
        self.rows = {name: [] for name in self.dtypes}

    def event(self):
        """Open a new event."""
        for column in self.rows.values():
            column.append([])
        return self

    def _add(self, collection, **members):
        count = 0
        for name, value in members.items():
            leaf = f"{collection}.{name}" if name else collection
            self.rows[leaf][-1].append(value)
            count = len(self.rows[leaf][-1])
        return count - 1

    def particle(self, pdg, energy, *, charge=0, status=1, mother=None, direction=(1, 0, 0)):
        """Add a massless MC particle and return its index; `mother` must be the last particle
        that got a daughter, or a new one."""
        unit = np.array(direction) / np.linalg.norm(direction)
        index = self._add(
            "MCParticles",
            PDG=pdg,
            generatorStatus=status,
            simulatorStatus=IN_CALORIMETER,
            charge=charge,
            mass=0.0,
            **{f"momentum.{axis}": energy * unit[i] for i, axis in enumerate("xyz")},
            daughters_begin=0,
            daughters_end=0,
        )
        if mother is not None:
            self.mothers([mother], index)
        return index

    def mothers(self, mothers, daughter):
        """Append a daughter to each mother; the relation is laid out anew."""
        begin = self.rows["MCParticles.daughters_begin"][-1]
        end = self.rows["MCParticles.daughters_end"][-1]
        flat = self.rows["_MCParticles_daughters.index"][-1]
        lists = [flat[b:e] for b, e in zip(begin, end, strict=True)]
        for mother in mothers:
            lists[mother] = [*lists[mother], daughter]
        flat[:] = [row for part in lists for row in part]
        edges = np.cumsum([0, *map(len, lists)])
        begin[:], end[:] = edges[:-1].tolist(), edges[1:].tolist()

    def _link(self, name, source, target, weight):
        self._add(name, weight=weight)
        ids = (IDS[source[0]], IDS["MCParticles"])
        for side, index, number in zip(("from", "to"), (source[1], target), ids, strict=True):
            self._add(f"_{name}_{side}", index=index, collectionID=number)

    def track(self, links=(), *, pt=5.0, charge=1, **changes):
        """Add a track with two states; `links` are (particle, weight)."""
        states = len(self.rows[f"{leaves.STATES}.omega"][-1])
        members = {"chi2": 10.0, "ndf": 9} | changes
        index = self._add(
            leaves.TRACKS, **members, trackStates_begin=states, trackStates_end=states + 2
        )
        omega = charge * 2.99792458e-4 * FIELD / pt
        for location, radius in ((1, 0.0), (2, 31.0)):
            place = {"referencePoint.x": radius, "referencePoint.y": 0.0, "referencePoint.z": 1.0}
            state = {"location": location, "D0": 0.0, "phi": 0.5, "omega": omega * location}
            state |= {"Z0": 0.0, "tanLambda": 0.3, "time": 0.0}
            self._add(leaves.STATES, **state, **place)
        for particle, weight in links:
            self._link(leaves.TRACK_LINKS, (leaves.TRACKS, index), particle, weight)
        return index

    def cluster(self, energy, links=(), *, hits=0):
        """Add a cluster; `links` are (particle, fraction); `hits` are counted, not stored."""
        index = self._add(
            leaves.CLUSTERS,
            energy=energy,
            iTheta=1.2,
            iPhi=0.4,
            hits_begin=0,
            hits_end=hits,
            **{"position.x": 1600.0, "position.y": 10.0, "position.z": 20.0},
        )
        for particle, fraction in links:
            self._link(leaves.CLUSTER_LINKS, (leaves.CLUSTERS, index), particle, fraction)
        return index

    def hit(self, collection, energy, links=(), *, place=(0.0, 0.0, 0.0), time=0.0, code=0):
        """Add a hit if its collection is stored; `links` are (particle, weight)."""
        position = {f"position.{axis}": place[i] for i, axis in enumerate("xyz")}
        members = {"energy": energy, "time": time, "type": code} | position
        stored = f"{collection}.energy" in self.rows
        row = self._add(collection, **members) if stored else 0
        for particle, weight in links:
            self._link(leaves.HIT_LINKS, (collection, row), particle, weight)
        return row

    def tracker_hit(self, collection, energy, particles=(), **members):
        """Add a tracker hit, by way of one simulated hit per particle."""
        position = {f"position.{axis}": float(i) for i, axis in enumerate("xyz", start=1)}
        row = self._add(collection, eDep=energy, **({"time": 0.0, "type": 0} | members | position))
        relation, simulated = leaves.TRACKER_HITS[collection]
        for particle in particles:
            reference = {"index": particle, "collectionID": IDS["MCParticles"]}
            sim = self._add(f"_{simulated}_particle", **reference)
            self._add(f"_{relation}_from", index=row)
            self._add(f"_{relation}_to", index=sim)
        return row

    def hit_cluster(self, energy, hits):
        """Add a cluster of hits (collection, energy, x, links); links are (particle, weight)."""
        begin = len(self.rows["_PandoraClusters_hits.index"][-1])
        for collection, value, x, links in hits:
            row = self.hit(collection, value, links, place=(x, 0.0, 0.0))
            self._add("_PandoraClusters_hits", index=row, collectionID=IDS[collection])
        index = self.cluster(energy)
        self.rows["PandoraClusters.hits_begin"][-1][-1] = begin
        self.rows["PandoraClusters.hits_end"][-1][-1] = begin + len(hits)
        return index

    def candidate(self, pdg, charge, momentum, *, tracks=()):
        """Add a massless particle-flow candidate on some tracks."""
        begin = len(self.rows["_PandoraPFOs_tracks.index"][-1])
        energy = float(np.linalg.norm(momentum))
        members = {f"momentum.{axis}": momentum[i] for i, axis in enumerate("xyz")}
        span = {"tracks_begin": begin, "tracks_end": begin + len(tracks)}
        span |= {"clusters_begin": 0, "clusters_end": 0}
        for track in tracks:
            self._add("_PandoraPFOs_tracks", index=track)
        return self._add(
            leaves.PFOS, PDG=pdg, charge=charge, mass=0.0, energy=energy, **members, **span
        )

    def build(self):
        """Return the collections."""
        stored = {
            name: Jagged.from_counts(
                np.array([x for event in column for x in event], self.dtypes[name]),
                [len(event) for event in column],
            )
            for name, column in self.rows.items()
        }
        events = len(self.rows["MCParticles.PDG"])
        return Collections("scene", events, stored, IDS)

    def read(self, folder, **changes):
        """Write the scene and read it back as events: the way of all files."""
        path = str(folder / "scene.root")
        write_collections(path, self.build(), process="qq", generator={})
        return read_file(path, **changes)


def read_file(path, **changes):
    """Return all events of a file and the sum of their counts."""
    settings = {"detector": DETECTORS["clic"], "field": None, "process": "qq", "mode": "clusters"}
    parts = list(read_events(path, ReadRequest(**(settings | {"file_id": "f00d"} | changes))))
    return concatenate_events([events for events, _ in parts]), sum_counts([c for _, c in parts])


@pytest.fixture
def scene_of():
    """Return the class that builds events by hand."""
    return Scene


@pytest.fixture
def read_root():
    """Return the function that reads all events of a file."""
    return read_file

"""The same events under the names of three schema generations give the same arrays.

Branch names, member names, what is a member and what a collection, and the width and sign of ids
are those of real files. What uproot cannot write is not imitated: parent branches (leaves are found
by name alone), and the table of ids in podio's own metadata (a list of strings per entry), in whose
place stands our own table; real files of the first and the last generation cover both.
"""

from dataclasses import fields, replace

import awkward
import numpy as np
import pytest
import uproot

from mlpf_stream.columns import TRACK
from mlpf_stream.edm4hep.reader import EVENTS_TREE, ID_TREE

IDS = {"MCParticles": 11, "SiTracks_Refitted": 12, "PandoraClusters": 13, "ECALBarrel": 14}
IDS |= {"HCALBarrel": 15}
LINKS = ("SiTracksMCTruthLink", "ClusterMCTruthLink", "CalohitMCTruthLink")
MEMBERS_2021 = {"PandoraClusters.iPhi": "PandoraClusters.phi"}
MEMBERS_2021 |= {"PandoraPFOs.PDG": "MergedRecoParticles.type"}
COLLECTIONS_2021 = {
    "_MCParticles_daughters": "MCParticles#1",
    "_SiTracks_Refitted_trackStates": "SiTracks_1",
    "_PandoraClusters_hits": "PandoraClusters#1",
    "PandoraPFOs": "MergedRecoParticles",
    "_PandoraPFOs_clusters": "MergedRecoParticles#0",
    "_PandoraPFOs_tracks": "MergedRecoParticles#1",
    **{f"_{link}_from": f"{link}#0" for link in LINKS},
    **{f"_{link}_to": f"{link}#1" for link in LINKS},
}
COLLECTIONS_2023 = {
    **{f"_{link}_from": f"_{link}_rec" for link in LINKS},
    **{f"_{link}_to": f"_{link}_sim" for link in LINKS},
}
MEMBERS_2023 = {"PandoraClusters.iPhi": "PandoraClusters.phi"}


@pytest.fixture
def stored(scene_of):
    """Three events that use every collection; track states are at two places, tracks have dE/dx."""
    scene = scene_of(hits=True, candidates=True)
    rng = np.random.default_rng(3)
    for number in range(3):
        scene.event()
        pion = scene.particle(211, 9.0 + number, charge=1)
        photon = scene.particle(22, 5.0, direction=(1, 1, 0.5))
        shower = scene.particle(2112, 2.0, status=0, mother=pion)
        track = scene.track([(pion, 1.0)], pt=4.0 + number)
        scene.track([(shower, 0.4)], pt=1.0, charge=-1)
        for owner, second in ((pion, shower), (photon, pion)):
            energies = rng.exponential(0.5, (2, 4)).tolist()
            hits = [("ECALBarrel", e, 1.0 + e, [(owner, 0.5), (second, 0.1)]) for e in energies[0]]
            hits += [("HCALBarrel", e, 5.0 + e, [(second, 2.0)]) for e in energies[1]]
            scene.hit_cluster(sum(map(sum, energies)), hits)
        scene.hit("ECALBarrel", 0.3, [(photon, 1.0)], place=(9.0, 8.0, 7.0), time=2.0, code=31010)
        scene.candidate(211, 1.0, (3.0, 1.0, number), tracks=[track])
    found = {name: (scene.dtypes[name], rows) for name, rows in scene.rows.items()}
    found["SiTracks_Refitted_dQdx.dQdx.value"] = ("float32", [[1.5, 2.5]] * 3)
    found["SiTracks_Refitted_dQdx.dQdx.error"] = ("float32", [[0.25, 0.5]] * 3)
    found["_SiTracks_Refitted_dQdx_track.index"] = ("int32", [[0, 1]] * 3)
    return found


def newest(stored):
    """podio >= 1.0: the names that are canonical here; ids are unsigned hashes."""
    return dict(stored), "uint32", 3_000_000_000


def of_2023(stored):
    """podio 0.17 to 0.99: links of record and simulation, signed ids of the same hashes."""
    return renamed(stored, MEMBERS_2023, COLLECTIONS_2023), "int32", 3_000_000_000


def of_2021(stored):
    """podio <= 0.16: relations by number, ionisation and first radius as members of tracks."""
    old = renamed(stored, MEMBERS_2021, COLLECTIONS_2021)
    for name, member in (("value", "dEdx"), ("error", "dEdxError")):
        old[f"SiTracks_Refitted.{member}"] = old.pop(f"SiTracks_Refitted_dQdx.dQdx.{name}")
    del old["_SiTracks_Refitted_dQdx_track.index"], old["SiTracks_1.time"]
    old["SiTracks_Refitted.radiusOfInnermostHit"] = ("float32", [[31.0, 31.0]] * 3)
    return old, "int32", 0


def renamed(stored, members, collections):
    """Return the leaves under other names of members, and of collections."""
    found = {}
    for name, leaf in stored.items():
        collection, dot, member = members.get(name, name).partition(".")
        found[f"{collections.get(collection, collection)}{dot}{member}"] = leaf
    return found


def write_under_names(path, generation):
    """Write branches as they are named, the members of each collection side by side."""
    found, id_type, first_id = generation
    groups = {}
    for name, (dtype, rows) in found.items():
        collection, _, member = name.partition(".")
        flat = np.array([x for row in rows for x in row], dtype)
        if member == "collectionID":
            flat = (flat.astype("int64") + first_id).astype("uint32").view(id_type)
        groups.setdefault(collection, {})[member] = awkward.unflatten(flat, list(map(len, rows)))
    arrays = {name: awkward.zip(members) for name, members in groups.items()}
    numbers = np.array(list(IDS.values())) + first_id
    with uproot.recreate(path) as file:
        tree = file.mktree(
            EVENTS_TREE,
            {name: array.type.content for name, array in arrays.items()},
            field_name=lambda outer, inner: f"{outer}.{inner}",
            counter_name=lambda outer: f"n{outer}",
        )
        tree.extend(arrays)
        names = awkward.Array(list(IDS))
        table = file.mktree(ID_TREE, {"name": names.type.content, "collectionID": "int64"})
        table.extend({"name": names, "collectionID": numbers})
    return str(path)


@pytest.mark.parametrize("mode", ["clusters", "hits"])
def test_three_generations_give_the_same_arrays(stored, read_root, tmp_path, mode):
    found = {}
    for generation in (newest, of_2023, of_2021):
        path = write_under_names(tmp_path / f"{generation.__name__}.root", generation(stored))
        found[generation] = read_root(path, mode=mode)
    events, counts = found[newest]
    assert len(events) == 3
    assert (counts.targets, counts.unlinked_tracks, counts.has_candidates) == (6, 0, True)
    assert events.elements["track"].x_RF[:, TRACK.index("dedx")].tolist() == [1.5, 2.5] * 3
    assert events.elements["track"].x_RF[:, TRACK.index("radius_of_innermost_hit")].all()
    for others, counted in (found[of_2023], found[of_2021]):
        assert replace(counted, missing_features=counts.missing_features) == counts
        assert others.keys == events.keys
        for name, part in events.elements.items():
            assert_equal(others.elements[name], part)
        for name in ("generator", "candidates"):
            assert_equal(getattr(others, name), getattr(events, name))
    assert found[of_2021][1].missing_features == ("track.time",)
    assert found[of_2023][1].missing_features == counts.missing_features == ()


def assert_equal(found, expected):
    for field in fields(expected):
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(expected, field.name), err_msg=field.name
        )


def test_no_old_name_is_a_new_one(stored):
    """The three files have no name in common where a generation renamed it."""
    for old in (MEMBERS_2021, MEMBERS_2023):
        assert not set(old.values()) & set(stored)
    for old in (COLLECTIONS_2021, COLLECTIONS_2023):
        assert not set(old.values()) & {name.partition(".")[0] for name in stored}

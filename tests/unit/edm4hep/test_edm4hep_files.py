"""ROOT files: round trip, identity, bad bytes, real files of three schema generations."""

import time
from pathlib import Path

import numpy as np
import pytest

from mlpf_stream.columns import CLUSTER, DETECTORS, HIT, TRACK
from mlpf_stream.edm4hep import leaves, reader
from mlpf_stream.edm4hep.reader import probe, read_collections
from mlpf_stream.edm4hep.rootfile import open_root
from mlpf_stream.edm4hep.source import generator_of_file, process_of_path, source_file_id
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.errors import DataError, MissingDataError, SchemaError
from mlpf_stream.event import Jagged

ILD = "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"
CLIC = "clic_gamma_10GeV.root"
DELPHES = "p8_ee_WW_ecm240_edm4hep.root"


@pytest.fixture
def small(scene_of):
    scene = scene_of(hits=True, candidates=True)
    for energy in (5.0, 6.0, 7.0):
        scene.event().particle(22, energy)
        scene.hit_cluster(energy, [("ECALBarrel", energy, 1.0, [(0, 1.0)])])
    scene.track([(0, 0.1)])
    return scene.build()


def write(path, collections, process="ttbar"):
    write_collections(str(path), collections, process=process, generator={"seed": 3, "s": 380.0})
    return str(path)


def assert_same(found, expected):
    assert dict(found.ids) == dict(expected.ids)
    assert set(found.leaves) == set(expected.leaves)
    for name, rows in expected.leaves.items():
        np.testing.assert_array_equal(found[name].values, rows.values, err_msg=name)
        np.testing.assert_array_equal(found[name].offsets, rows.offsets, err_msg=name)
        assert found[name].values.dtype == rows.values.dtype


def test_what_is_written_is_read(small, tmp_path):
    path = write(tmp_path / "a.root", small)
    (found,) = read_collections(path)
    assert_same(found, small)
    facts = probe(path)
    assert (facts.entries, facts.schema, facts.hits) == (3, "flat", ("ECALBarrel", "HCALBarrel"))
    assert facts.has_hits
    assert facts.has_links
    assert facts.has_candidates
    assert process_of_path(path) == "ttbar"
    with open_root(path) as file:
        assert generator_of_file(file) == {"seed": 3, "s": 380.0}


def test_steps_do_not_change_what_is_read(small, tmp_path, monkeypatch):
    path = write(tmp_path / "a.root", small)
    steps = list(read_collections(path, step_entries=2))
    assert [step.events for step in steps] == [2, 1]
    for name, rows in small.leaves.items():
        joined = np.concatenate([step[name].values for step in steps])
        np.testing.assert_array_equal(joined, rows.values, err_msg=name)
    monkeypatch.setattr(reader, "STEP_BYTES", 1)
    assert len(list(read_collections(path))) == 3


def test_same_collections_same_bytes(small, tmp_path):
    first = write(tmp_path / "a.root", small)
    time.sleep(1.1)
    second = write(tmp_path / "other-name.root", small)
    assert (tmp_path / "a.root").read_bytes() == (tmp_path / "other-name.root").read_bytes()
    assert source_file_id(first) == source_file_id(second)
    third = write(tmp_path / "b.root", small, process="qq")
    assert source_file_id(first) != source_file_id(third)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_file_without_events_is_one_empty_step(scene_of, tmp_path):
    events, counts = scene_of().read(tmp_path)
    assert len(events) == 0
    assert (counts.events_read, counts.tracks, counts.field_source) == (0, 0, "detector")
    assert counts.skipped == {"empty": 0, "non_finite": 0, "no_target": 0}


def test_rows_that_contradict_are_not_written(small, tmp_path):
    broken = dict(small.leaves)
    broken["PandoraClusters.energy"] = Jagged.from_counts(np.zeros(1, np.float32), [1, 0, 0])
    wrong = type(small)(small.source, small.events, broken, small.ids)
    with pytest.raises(DataError, match="as many rows"):
        write(tmp_path / "a.root", wrong)
    assert list(tmp_path.iterdir()) == []


def test_identity_sees_size_and_both_ends(tmp_path):
    data = bytearray(3 * 2**20)
    names = {}
    for name, place in (("same", None), ("first", 5), ("last", -5), ("middle", 3 * 2**19)):
        changed = bytearray(data)
        if place is not None:
            changed[place] = 1
        (tmp_path / name).write_bytes(changed)
        names[name] = source_file_id(str(tmp_path / name))
    assert len(names["same"]) == 12
    assert int(names["same"], 16) >= 0
    assert names["middle"] == names["same"]
    assert len({names["same"], names["first"], names["last"]}) == 3
    with pytest.raises(MissingDataError):
        source_file_id(str(tmp_path / "none"))


def test_missing_foreign_and_truncated_files_are_typed_errors(small, tmp_path):
    with pytest.raises(MissingDataError, match="found none"):
        next(read_collections(str(tmp_path / "none.root")))
    foreign = tmp_path / "foreign.root"
    foreign.write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(DataError, match=r"foreign\.root"):
        probe(str(foreign))
    foreign.write_bytes(b"root" + np.random.default_rng(1).bytes(5000))
    with pytest.raises(DataError, match=r"foreign\.root"):
        probe(str(foreign))
    whole = Path(write(tmp_path / "whole.root", small)).read_bytes()
    cut = tmp_path / "cut.root"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(DataError, match=r"truncated.*copy or produce it again"):
        probe(str(cut))
    (tmp_path / "empty.root").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        probe(str(tmp_path / "empty.root"))


def test_flipped_bytes_are_typed_errors_or_other_numbers(small, tmp_path):
    whole = Path(write(tmp_path / "whole.root", small)).read_bytes()
    rng = np.random.default_rng(7)
    place = tmp_path / "flipped.root"
    refused = 0
    for _ in range(25):
        broken = bytearray(whole)
        start = int(rng.integers(0, len(whole) - 64))
        broken[start : start + 64] = rng.bytes(64)
        place.write_bytes(broken)
        try:
            list(read_collections(str(place)))
        except DataError:
            refused += 1
    assert refused > 0


def test_names_of_older_schemas():
    by_name = {leaf.name: leaf for leaf in leaves.all_leaves()}
    old = {
        "PandoraClusters.iPhi": "PandoraClusters.phi",
        "PandoraPFOs.PDG": "PandoraPFOs.type",
        "_MCParticles_daughters.index": "MCParticles#1.index",
        "_SiTracks_Refitted_trackStates.omega": "SiTracks_Refitted_1.omega",
        "_PandoraClusters_hits.collectionID": "PandoraClusters#1.collectionID",
        "_PandoraClusters_subdetectorEnergies": "PandoraClusters_2",
        "_CalohitMCTruthLink_from.index": "CalohitMCTruthLink#0.index",
        "_SiTracksMCTruthLink_to.index": "_SiTracksMCTruthLink_sim.index",
    }
    for name, older in old.items():
        names = list(leaves.names_of(by_name[name]))
        assert names[0] == name
        assert older in names


@pytest.mark.realdata
def test_real_ild_file(edm4hep_files, read_root):
    path = str(edm4hep_files / ILD)
    events, counts = read_root(path, detector=DETECTORS["ild"], process="mumuH")
    assert len(events) == counts.events == 10
    assert (counts.field, counts.field_source) == (2.0, "file")
    assert counts.truth_source == "clusters"
    assert counts.missing_features == ("cluster.sigma_x", "cluster.sigma_y", "cluster.sigma_z")
    assert (counts.tracks, counts.clusters) == (238, 455)
    assert counts.dangling_hits > 30_000
    assert counts.unlinked_tracks == 0
    assert counts.dropped_energy < 0.01 * events.generator.column("energy").sum()
    energy = [part.column("energy") for part in (events.targets, events.candidates)]
    assert energy[0].sum() / energy[1].sum() == pytest.approx(1.0, abs=0.03)
    assert energy[0].sum() / events.generator.column("energy").sum() > 0.97
    for kind in (TRACK, CLUSTER):
        assert np.isfinite(events.elements[kind.name].x_RF).all()
    track = events.elements["track"]
    on = track.class_R > 0
    ratio = track.x_RF[on, TRACK.index("pt")] / track.momentum_RM[on, 0]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    cluster = events.elements["cluster"].x_RF
    parts = sum(cluster[:, CLUSTER.index(f"energy_{part}")] for part in ("ecal", "hcal", "other"))
    assert np.median(parts / cluster[:, CLUSTER.index("energy")]) == pytest.approx(1.0, abs=0.15)
    assert process_of_path(path) is None
    assert probe(path).schema == "podio-1"


@pytest.mark.realdata
def test_real_ild_file_survives_our_writer(edm4hep_files, tmp_path):
    (original,) = read_collections(str(edm4hep_files / ILD))
    (copy,) = read_collections(write(tmp_path / "copy.root", original))
    assert_same(copy, original)


@pytest.mark.realdata
def test_real_clic_file_of_2021(edm4hep_files, read_root):
    path = str(edm4hep_files / CLIC)
    events, counts = read_root(path)
    assert probe(path).schema == "podio-0.16"
    assert (counts.events, counts.tracks, counts.clusters) == (3, 0, 3)
    assert (counts.truth_source, counts.dangling_hits) == ("hits", 0)
    assert counts.missing_features == ("track.time",)
    cluster = events.elements["cluster"]
    assert cluster.class_R.tolist() == [3, 3, 3]
    np.testing.assert_allclose(
        cluster.momentum_RM[:, 4], cluster.x_RF[:, CLUSTER.index("energy")], rtol=0.05
    )
    assert (cluster.x_RF[:, CLUSTER.index("sigma_z")] > 5).all()
    # Hit sums and the stored energies by subdetector are the same thing.
    (stored,) = read_collections(path)
    ecal = stored["_PandoraClusters_subdetectorEnergies"].values.reshape(3, -1)[:, 0]
    np.testing.assert_allclose(cluster.x_RF[:, CLUSTER.index("energy_ecal")], ecal, rtol=1e-5)


@pytest.mark.realdata
def test_real_clic_file_of_2021_as_hits(edm4hep_files, read_root):
    path = str(edm4hep_files / CLIC)
    events, counts = read_root(path, mode="hits")
    (stored,) = read_collections(path)
    hit = events.elements["hit"]
    assert (counts.events, counts.tracks, counts.clusters) == (3, 0, 147 + 347 + 183)
    assert counts.missing_features == ("track.time",)
    assert (counts.truth_source, counts.unlinked_clusters, counts.dropped) == ("hits", 0, 0)
    # The detector's collections in their order; each of these events is in barrel or endcap alone.
    assert hit.counts.tolist() == [147, 347, 183]
    for event, name in enumerate(("ECALEndcap", "ECALBarrel", "ECALEndcap")):
        here = slice(*hit.offsets[event : event + 2])
        for member in ("energy", "time", "type"):
            own = stored[f"{name}.{member}"][event]
            np.testing.assert_array_equal(hit.x_RF[here, HIT.index(member)], own.astype("float32"))
    # Times in ns after the light of the collision passed: showers are prompt.
    time = hit.x_RF[:, HIT.index("time")]
    assert 0 < time.min() < time.max() < 1
    # One photon an event, on its hardest hit; every other hit knows it.
    assert hit.class_R[hit.class_R > 0].tolist() == [3, 3, 3]
    assert hit.particle_R.tolist() == [0] * len(hit.particle_R)
    energy = hit.x_RF[:, HIT.index("energy")]
    event_R = np.repeat(np.arange(3), hit.counts)
    for event, row in enumerate(np.flatnonzero(hit.class_R).tolist()):
        assert energy[row] == energy[event_R == event].max()
    clusters, _ = read_root(path)
    np.testing.assert_allclose(
        np.bincount(event_R, weights=energy),
        clusters.elements["cluster"].x_RF[:, CLUSTER.index("energy")],
        rtol=0.03,
    )
    np.testing.assert_array_equal(events.targets.momentum_PM, clusters.targets.momentum_PM)


@pytest.mark.realdata
def test_real_ild_file_kept_no_hits(edm4hep_files, read_root):
    with pytest.raises(SchemaError, match="expected calorimeter hit collections for mode 'hits'"):
        read_root(str(edm4hep_files / ILD), detector=DETECTORS["ild"], mode="hits")


@pytest.mark.realdata
def test_fast_simulation_and_example_files_are_refused(edm4hep_files):
    path = str(edm4hep_files / DELPHES)
    with pytest.raises(SchemaError, match=r"found a Delphes .*EFlowTrack.*mlpf simulate"):
        next(read_collections(path))
    assert process_of_path(path) == "WW"
    for name in edm4hep_files.glob("edm4hep_example_*.root"):
        with pytest.raises(SchemaError, match="expected the collections of full reconstruction"):
            probe(str(name))


@pytest.mark.realdata
def test_truncated_real_file(edm4hep_files, tmp_path):
    data = (edm4hep_files / ILD).read_bytes()
    cut = tmp_path / ILD
    cut.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(DataError, match="truncated"):
        next(read_collections(str(cut)))

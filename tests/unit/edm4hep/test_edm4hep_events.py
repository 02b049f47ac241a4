"""Features, skips, keys, candidates and the field of hand-built files."""

import numpy as np
import pytest

from mlpf_stream.columns import CLUSTER, DETECTORS, MOMENTUM, TRACK
from mlpf_stream.edm4hep.events import ReadRequest, read_events
from mlpf_stream.errors import ConfigError, DataError, SchemaError
from mlpf_stream.event import Particles


def feature(events, kind, name):
    return events.elements[kind.name].x_RF[:, kind.index(name)]


def photon_event(scene, energy=5.0):
    scene.event()
    photon = scene.particle(22, energy)
    scene.cluster(energy, [(photon, 1.0)], hits=7)
    return scene


def test_track_features(scene_of, tmp_path):
    scene = photon_event(scene_of())
    scene.track([(0, 0.1)], pt=5.0, charge=-1)
    events, counts = scene.read(tmp_path)
    for name, value in {
        "elemtype": TRACK.code,
        "pt": 5.0,
        "eta": np.arcsinh(0.3),
        "sin_phi": np.sin(0.5),
        "cos_phi": np.cos(0.5),
        "p": 5.0 * np.hypot(1, 0.3),
        "chi2": 10.0,
        "ndf": 9,
        "radius_of_innermost_hit": 31.0,
        "tan_lambda": 0.3,
        "omega": -2.99792458e-4 * 4.0 / 5.0,
    }.items():
        np.testing.assert_allclose(feature(events, TRACK, name), [value], rtol=1e-5, err_msg=name)
    assert counts.missing_features[:2] == ("track.dedx", "track.dedx_error")


def test_cluster_features_without_and_with_hits(scene_of, tmp_path):
    events, counts = photon_event(scene_of()).read(tmp_path)
    assert feature(events, CLUSTER, "num_hits").tolist() == [7]
    np.testing.assert_allclose(feature(events, CLUSTER, "et"), [5.0 * np.sin(1.2)], rtol=1e-6)
    assert "cluster.sigma_x" in counts.missing_features
    assert "cluster.energy_ecal" in counts.missing_features

    scene = scene_of(hits=True).event()
    photon = scene.particle(22, 5.0)
    hits = [("ECALBarrel", 3.0, 10.0, [(photon, 1.0)]), ("HCALBarrel", 1.0, 14.0, [])]
    scene.hit_cluster(4.5, hits)
    events, counts = scene.read(tmp_path)
    assert feature(events, CLUSTER, "energy_ecal").tolist() == [3.0]
    assert feature(events, CLUSTER, "energy_hcal").tolist() == [1.0]
    np.testing.assert_allclose(feature(events, CLUSTER, "sigma_x"), [np.sqrt(3.0)], rtol=1e-6)
    assert not [name for name in counts.missing_features if name.startswith("cluster.")]
    assert counts.dangling_hits == 0


def test_hits_of_a_collection_that_was_not_kept_are_counted(scene_of, tmp_path):
    scene = scene_of(hits=True).event()
    photon = scene.particle(22, 5.0)
    scene.hit_cluster(4.5, [("ECALBarrel", 3.0, 10.0, [(photon, 1.0)]), ("MUON", 1.0, 0.0, [])])
    scene.rows["_PandoraClusters_hits.index"][-1].append(5)
    scene.rows["_PandoraClusters_hits.collectionID"][-1].append(14)
    scene.rows["PandoraClusters.hits_end"][-1][-1] = 3
    events, counts = scene.read(tmp_path)
    assert counts.dangling_hits == 2
    assert feature(events, CLUSTER, "num_hits").tolist() == [3]
    assert feature(events, CLUSTER, "energy_ecal").tolist() == [3.0]


def test_unusable_events_are_skipped_and_counted_and_keys_keep_their_entry(scene_of, tmp_path):
    scene = photon_event(scene_of())
    scene.event().particle(22, 3.0)
    photon_event(scene, energy=float("nan"))
    photon_event(scene).track([], chi2=float("inf"))
    scene.event().particle(22, 50.0)
    scene.cluster(0.1, [(0, 1.0)])
    photon_event(scene, energy=7.0)
    events, counts = scene.read(tmp_path)
    assert events.keys == ("qq-f00d-0", "qq-f00d-5")
    assert counts.skipped == {"empty": 1, "non_finite": 2, "no_target": 1}
    assert (counts.events_read, counts.events, counts.clusters) == (6, 2, 2)
    np.testing.assert_allclose(events.targets.column("energy"), [5.0, 7.0], rtol=1e-6)


def test_not_a_number_in_the_mc_record_skips_its_event_only(scene_of, tmp_path):
    scene = photon_event(photon_event(scene_of()))
    scene.rows["MCParticles.momentum.y"][0][0] = float("nan")
    events, counts = scene.read(tmp_path)
    assert events.keys == ("qq-f00d-1",)
    assert counts.skipped["non_finite"] == 1


def test_momentum_too_large_to_store_skips_its_event_only(scene_of, tmp_path):
    scene = photon_event(photon_event(scene_of()))
    # Finite in the double precision of the file, infinite in a dataset.
    scene.rows["MCParticles.momentum.y"][0][0] = 1e39
    scene.particle(22, 1.0)
    events, counts = scene.read(tmp_path)
    assert events.keys == ("qq-f00d-1",)
    assert counts.skipped["non_finite"] == 1
    assert np.isfinite(events.generator.momentum_PM).all()


def test_track_without_a_state_skips_its_event(scene_of, tmp_path):
    scene = photon_event(scene_of())
    scene.track([])
    scene.rows["SiTracks_Refitted.trackStates_end"][-1][-1] = 0
    photon_event(scene)
    events, counts = scene.read(tmp_path)
    assert counts.skipped["non_finite"] == 1
    assert events.keys == ("qq-f00d-1",)


def test_event_without_tracks_is_kept(scene_of, tmp_path):
    events, counts = photon_event(scene_of()).read(tmp_path)
    assert (counts.events, counts.tracks, counts.clusters) == (1, 0, 1)
    assert events.lengths.tolist() == [1]


def test_candidates_and_their_absence(scene_of, tmp_path):
    events, _ = photon_event(scene_of()).read(tmp_path)
    assert events.candidates.counts.tolist() == [0]
    scene = photon_event(scene_of(candidates=True))
    scene.candidate(-211, -1.0, (0.0, 3.0, 4.0))
    scene.candidate(22, 0.0, (0.0, 0.0, -2.0))
    events, _ = scene.read(tmp_path)
    assert events.candidates.charge_P.tolist() == [-1, 0]
    np.testing.assert_allclose(
        events.candidates.momentum_PM,
        [[3.0, np.arcsinh(4 / 3), 1.0, 0.0, 5.0], [0.0, -10.0, 0.0, 1.0, 2.0]],
        atol=1e-6,
    )


def field_scene(scene_of, candidates=6):
    scene = photon_event(scene_of(candidates=True))
    for _ in range(candidates):
        track = scene.track([(0, 0.1)], pt=5.0)
        scene.candidate(211, 1.0, (3.0, 4.0, 1.0), tracks=[track])
    return scene


def test_field_comes_from_the_file_then_the_detector_and_must_agree(scene_of, tmp_path):
    _, counts = field_scene(scene_of).read(tmp_path)
    assert (counts.field, counts.field_source) == (4.0, "file")
    with pytest.raises(DataError, match=r"2\.000 T of detector cld, found 4\.000 T"):
        field_scene(scene_of).read(tmp_path, detector=DETECTORS["cld"])
    _, counts = field_scene(scene_of, 4).read(tmp_path, detector=DETECTORS["cld"])
    assert (counts.field, counts.field_source) == (2.0, "detector")
    _, counts = field_scene(scene_of).read(tmp_path, field=4.1)
    assert (counts.field, counts.field_source) == (4.1, "option")
    with pytest.raises(DataError, match=r"3\.500 T as asked for, found 4\.000 T"):
        field_scene(scene_of).read(tmp_path, field=3.5)


def test_hit_mode_needs_hits_and_their_links(scene_of, tmp_path):
    with pytest.raises(SchemaError, match="expected calorimeter hit collections"):
        photon_event(scene_of()).read(tmp_path, mode="hits")
    scene = scene_of(hits=True).event()
    for name in [name for name in scene.rows if "CalohitMCTruthLink" in name]:
        del scene.rows[name]
    with pytest.raises(SchemaError, match="expected 'CalohitMCTruthLink' for mode 'hits'"):
        scene.read(tmp_path, mode="hits")


def test_process_must_fit_into_a_key(tmp_path):
    request = ReadRequest(DETECTORS["clic"], None, "a.b", "clusters", "f00d")
    with pytest.raises(ConfigError, match="process name"):
        read_events(str(tmp_path / "none.root"), request)


def test_the_baseline_stands_in_for_candidates_and_sees_no_truth(scene_of, tmp_path):
    scene = photon_event(scene_of())
    scene.event()
    photon_event(scene).track([(0, 0.1)])
    seen = []

    def baseline(events):
        seen.append(events)
        return Particles(
            np.full(len(events), 3, np.int8),
            np.zeros(len(events), np.int8),
            np.ones((len(events), len(MOMENTUM)), np.float32),
            np.arange(len(events) + 1),
        )

    events, counts = scene.read(tmp_path, baseline=baseline)
    (bare,) = seen
    assert bare.keys == events.keys == ("qq-f00d-0", "qq-f00d-2")
    assert {name: part.counts.tolist() for name, part in bare.elements.items()} == {
        "track": [0, 1],
        "cluster": [1, 1],
    }
    np.testing.assert_array_equal(bare.elements["cluster"].x_RF, events.elements["cluster"].x_RF)
    assert bare.targets.counts.tolist() == bare.generator.counts.tolist() == [0, 0]
    assert events.candidates.counts.tolist() == [1, 1]
    assert not counts.has_candidates


def test_stored_candidates_come_before_a_baseline(scene_of, tmp_path):
    scene = photon_event(scene_of(candidates=True))
    scene.candidate(22, 0.0, (0.0, 0.0, 2.0))
    events, counts = scene.read(tmp_path, baseline=lambda _: pytest.fail("not needed"))
    assert events.candidates.counts.tolist() == [1]
    assert counts.has_candidates

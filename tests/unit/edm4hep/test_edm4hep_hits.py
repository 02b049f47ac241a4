"""Hit mode: features, order, targets and accounts of hand-built events."""

import numpy as np
import pytest

from mlpf_stream.columns import CLASSES, HIT, NO_PARTICLE, SUBDETECTORS
from mlpf_stream.edm4hep import leaves
from mlpf_stream.errors import ConfigError, SchemaError

PHOTON, NEUTRAL = CLASSES.index("photon"), CLASSES.index("neutral_hadron")
CHARGED = CLASSES.index("charged_hadron")


@pytest.fixture
def hit_scene(scene_of):
    """A scene that stores hits."""
    return lambda: scene_of(hits=True)


def column(events, name):
    return events.elements["hit"].x_RF[:, HIT.index(name)]


def test_features_are_those_of_the_dictionary(hit_scene, tmp_path):
    scene = hit_scene().event()
    photon = scene.particle(22, 5.0)
    place = (3.0, 4.0, 12.0)
    scene.hit("ECALBarrel", 2.0, [(photon, 1.0)], place=place, time=1.5, code=21010)
    scene.hit("HCALBarrel", 0.5, [(photon, 1.0)], place=(0.0, 0.0, -7.0))
    events, counts = scene.read(tmp_path, mode="hits")
    assert list(events.elements) == ["track", "hit"]
    expected = {
        "elemtype": [3, 3],
        "et": [2.0 * 5 / 13, 0.0],
        "eta": [np.arcsinh(12 / 5), -10.0],
        "sin_phi": [0.8, 0.0],
        "cos_phi": [0.6, 1.0],
        "energy": [2.0, 0.5],
        "x": [3.0, 0.0],
        "y": [4.0, 0.0],
        "z": [12.0, -7.0],
        "time": [1.5, 0.0],
        "subdetector": [0, 1],
        "type": [21010, 0],
    }
    assert tuple(expected) == HIT.names
    for name, values in expected.items():
        np.testing.assert_allclose(column(events, name), values, rtol=1e-6, err_msg=name)
    assert not [name for name in counts.missing_features if name.startswith("hit.")]
    assert counts.truth_source == "hits"


def test_hits_come_by_event_then_collection_then_as_stored(hit_scene, tmp_path):
    scene = hit_scene()
    for event in range(3):
        scene.event().particle(22, 5.0)
        for number, name in enumerate(["HCALBarrel", "ECALBarrel", "HCALBarrel", "ECALBarrel"]):
            scene.hit(name, 10.0 * event + number + 1, [(0, 1.0)])
    events, _ = scene.read(tmp_path, mode="hits")
    assert events.elements["hit"].counts.tolist() == [4, 4, 4]
    assert column(events, "energy").tolist() == [2, 4, 1, 3, 12, 14, 11, 13, 22, 24, 21, 23]
    assert column(events, "subdetector").tolist() == [0, 0, 1, 1] * 3


def test_absent_time_and_type_are_missing_features(hit_scene, tmp_path):
    scene = hit_scene().event()
    scene.hit("ECALBarrel", 2.0, [(scene.particle(22, 2.0), 1.0)], time=9.0, code=5)
    for name in ("ECALBarrel", "HCALBarrel"):
        del scene.rows[f"{name}.time"], scene.rows[f"{name}.type"]
    events, counts = scene.read(tmp_path, mode="hits")
    assert {"hit.time", "hit.type"} <= set(counts.missing_features)
    assert column(events, "time").tolist() == column(events, "type").tolist() == [0]


def test_the_hit_with_the_largest_deposit_hosts_and_the_rest_know_their_particle(
    hit_scene, tmp_path
):
    scene = hit_scene().event()
    pion = scene.particle(211, 6.0, charge=1)
    kaon, photon = scene.particle(130, 5.0), scene.particle(22, 4.0)
    scene.track([(pion, 1.0)])
    scene.hit("ECALBarrel", 1.0, [(pion, 1.0)])
    scene.hit("ECALBarrel", 2.0, [(photon, 1.0)])
    scene.hit("ECALBarrel", 1.5, [(photon, 0.9), (kaon, 0.1)])
    scene.hit("ECALBarrel", 0.1)
    scene.hit("HCALBarrel", 3.0, [(kaon, 0.04), (pion, 0.06)])
    scene.hit("HCALBarrel", 1.0, [(kaon, 0.04)])
    events, counts = scene.read(tmp_path, mode="hits")
    track, hit = events.elements["track"], events.elements["hit"]
    assert (track.class_R.tolist(), track.particle_R.tolist()) == ([CHARGED], [0])
    # The kaon left 1.2 GeV where the pion left more: it is its largest deposit all the same.
    assert hit.class_R.tolist() == [0, PHOTON, 0, 0, NEUTRAL, 0]
    assert hit.particle_R.tolist() == [0, 2, 2, NO_PARTICLE, 1, 1]
    np.testing.assert_allclose(hit.momentum_RM[:, 4], [0, 4, 0, 0, 5, 0])
    assert not hit.charge_R.any()
    assert (counts.targets, counts.merged, counts.dropped) == (3, 0, 0)
    assert (counts.clusters, counts.clusters_without_target) == (6, 4)
    assert (counts.unlinked_clusters, counts.clusters_shared) == (1, 2)


def test_a_taken_hit_passes_its_particle_on_to_the_next_best(hit_scene, tmp_path):
    scene = hit_scene().event()
    one, two, three = (scene.particle(22, energy) for energy in (9.0, 5.0, 1.0))
    scene.hit("ECALBarrel", 4.0, [(one, 0.5), (two, 0.4), (three, 0.1)])
    scene.hit("ECALBarrel", 0.2, [(two, 1.0)])
    scene.hit("ECALBarrel", 0.01, [(three, 1.0)])
    events, counts = scene.read(tmp_path, mode="hits")
    hit = events.elements["hit"]
    # The second takes what is an eighth of its largest deposit; a fortieth hosts nobody.
    np.testing.assert_allclose(hit.momentum_RM[:, 4], [10.0, 5.0, 0.0], rtol=1e-6)
    assert hit.class_R.tolist() == [PHOTON, PHOTON, 0]
    assert (counts.targets, counts.merged) == (2, 1)


def test_hits_outside_clusters_count_too(hit_scene, tmp_path):
    scene = hit_scene().event()
    seen, unclustered = scene.particle(22, 5.0), scene.particle(22, 6.0)
    scene.hit_cluster(4.0, [("ECALBarrel", 4.0, 0.0, [(seen, 1.0)])])
    scene.hit("ECALBarrel", 3.0, [(unclustered, 1.0)])
    events, _ = scene.read(tmp_path, mode="hits")
    np.testing.assert_allclose(events.targets.column("energy"), [5.0, 6.0], rtol=1e-6)
    events, _ = scene.read(tmp_path, mode="clusters")
    np.testing.assert_allclose(events.targets.column("energy"), [5.0], rtol=1e-6)
    assert events.generator.counts.tolist() == [2]


def test_an_event_is_the_same_alone_and_in_steps(hit_scene, tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    scene = hit_scene()
    for _ in range(6):
        scene.event()
        for energy in rng.uniform(1, 9, rng.integers(1, 5)):
            scene.particle(22, float(energy))
        particles = len(scene.rows["MCParticles.PDG"][-1])
        for _ in range(rng.integers(1, 40)):
            links = [(int(rng.integers(particles)), float(rng.uniform(0.1, 1)))]
            scene.hit(str(rng.choice(["ECALBarrel", "HCALBarrel"])), rng.exponential(), links)
    together, counts = scene.read(tmp_path, mode="hits")
    monkeypatch.setattr("mlpf_stream.edm4hep.reader.STEP_BYTES", 1)
    apart, counts_apart = scene.read(tmp_path, mode="hits")
    assert counts == counts_apart
    for kind in ("track", "hit"):
        for name in together.elements[kind].__slots__:
            np.testing.assert_array_equal(
                getattr(together.elements[kind], name), getattr(apart.elements[kind], name)
            )


def test_a_number_that_is_not_finite_skips_its_event_only(hit_scene, tmp_path):
    scene = hit_scene()
    for value in (1.0, float("nan"), 1.0):
        scene.event().particle(22, 5.0)
        scene.hit("ECALBarrel", 4.0, [(0, 1.0)], time=value)
        scene.hit("HCALBarrel", value, [(0, 1.0)])
    events, counts = scene.read(tmp_path, mode="hits")
    assert events.keys == ("qq-f00d-0", "qq-f00d-2")
    assert counts.skipped["non_finite"] == 1


def test_the_baseline_of_hit_mode_sees_tracks_and_clusters(hit_scene, tmp_path):
    scene = hit_scene()
    for _ in range(2):
        scene.event().particle(22, 5.0)
        scene.hit_cluster(4.0, [("ECALBarrel", 4.0, 0.0, [(0, 1.0)])])
    seen = []

    def baseline(events):
        seen.append(events)
        return events.targets

    events, _ = scene.read(tmp_path, mode="hits", baseline=baseline)
    assert list(seen[0].elements) == ["track", "cluster"]
    assert seen[0].keys == events.keys
    assert seen[0].elements["cluster"].counts.tolist() == [1, 1]
    assert len(events.candidates.class_P) == 0


def test_only_the_collections_of_the_detector_are_elements(hit_scene, tmp_path):
    scene = hit_scene().event()
    scene.hit("ECALBarrel", 4.0, [(scene.particle(22, 5.0), 1.0)])
    built = [name for name in leaves.HIT_COLLECTIONS if f"{name}.energy" in scene.rows]
    assert built == ["ECALBarrel", "HCALBarrel"]
    events, _ = scene.read(tmp_path, mode="hits")
    assert events.lengths.tolist() == [1]
    assert SUBDETECTORS[int(column(events, "subdetector")[0])] == "ecal"


def tracker_scene(scene_of):
    """Two events of a photon that hits the ECAL and a low pion that only hits the tracker."""
    scene = scene_of(hits=True, tracker=("VXDTrackerHits", "OTrackerHits"))
    for _ in range(2):
        scene.event()
        photon, pion = scene.particle(22, 5.0), scene.particle(211, 0.001, charge=1)
        scene.tracker_hit("OTrackerHits", 1e-4, [pion], time=3.0)
        scene.tracker_hit("VXDTrackerHits", 2e-4, [pion, photon], type=7)
        scene.tracker_hit("VXDTrackerHits", 1e-4)
        scene.hit("ECALBarrel", 4.0, [(photon, 1.0)], place=(1600.0, 0.0, 0.0))
    return scene


def test_tracker_hits_are_elements_of_their_own_type_if_asked_for(scene_of, tmp_path):
    scene = tracker_scene(scene_of)
    events, counts = scene.read(tmp_path, mode="hits", tracker_hits=True)
    hit = events.elements["hit"]
    assert hit.counts.tolist() == [4, 4]
    np.testing.assert_allclose(column(events, "energy"), [4.0, 2e-4, 1e-4, 1e-4] * 2, rtol=1e-6)
    assert column(events, "elemtype").tolist() == [3, 4, 4, 4] * 2
    assert column(events, "subdetector").tolist() == [0, 3, 3, 3] * 2
    assert column(events, "time").tolist() == [0, 0, 0, 3] * 2
    assert column(events, "type").tolist() == [0, 7, 0, 0] * 2
    assert column(events, "z").tolist() == [0, 3, 3, 3] * 2
    # The shared hit gives half to each; the pion of 1 MeV left a fifth of its energy.
    assert hit.class_R.tolist() == [PHOTON, NEUTRAL, 0, 0] * 2
    assert hit.particle_R.tolist() == [0, 1, NO_PARTICLE, 1] * 2
    assert (counts.targets, counts.unlinked_clusters, counts.clusters_shared) == (4, 2, 2)
    plain, _ = scene.read(tmp_path, mode="hits")
    assert plain.elements["hit"].counts.tolist() == [1, 1]


def test_tracker_hits_need_hit_mode_collections_and_truth(scene_of, tmp_path):
    scene = tracker_scene(scene_of)
    with pytest.raises(ConfigError, match="expected mode 'hits' for tracker hits"):
        scene.read(tmp_path, tracker_hits=True)
    del scene.rows["_VertexBarrelCollection_particle.index"]
    del scene.rows["_VertexBarrelCollection_particle.collectionID"]
    with pytest.raises(
        SchemaError, match=r"'_VertexBarrelCollection_particle\.index' for the truth"
    ):
        scene.read(tmp_path, mode="hits", tracker_hits=True)
    scene = scene_of(hits=True).event()
    with pytest.raises(SchemaError, match="expected tracker hit collections of detector clic"):
        scene.read(tmp_path, mode="hits", tracker_hits=True)

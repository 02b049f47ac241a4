"""Targets of hand-built events whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from mlpf_stream.columns import CLASSES, CLUSTER, DETECTORS, NO_PARTICLE, TRACK, UNLINKED
from mlpf_stream.edm4hep.assignment import Hosts
from mlpf_stream.edm4hep.targets import build_targets
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.errors import EventError, SchemaError

PHOTON, NEUTRAL = CLASSES.index("photon"), CLASSES.index("neutral_hadron")
CHARGED, ELECTRON = CLASSES.index("charged_hadron"), CLASSES.index("electron")
MUON = CLASSES.index("muon")


def energies(elements):
    return elements.momentum_RM[:, 4]


def test_charged_particle_takes_the_track_and_its_cluster_carries_none(scene_of, tmp_path):
    scene = scene_of().event()
    pion = scene.particle(211, 5.0, charge=1)
    scene.track([(pion, 1.0)])
    scene.cluster(4.0, [(pion, 1.0)])
    events, counts = scene.read(tmp_path)
    track, cluster = events.elements["track"], events.elements["cluster"]
    assert track.class_R.tolist() == [CHARGED]
    assert track.charge_R.tolist() == [1]
    assert cluster.class_R.tolist() == [0]
    assert cluster.particle_R.tolist() == [0]
    np.testing.assert_allclose(track.momentum_RM[0], [5.0, 0.0, 0.0, 1.0, 5.0], atol=1e-6)
    assert (counts.targets, counts.clusters_without_target, counts.merged) == (1, 1, 0)


def test_merging_adds_every_photon_and_never_overwrites(scene_of, tmp_path):
    scene = scene_of().event()
    photons = [scene.particle(22, e, direction=(1, y, 0)) for e, y in ((6, 0), (2, 0.1), (1, 0.2))]
    scene.cluster(8.5, [(photons[0], 0.6), (photons[1], 0.25), (photons[2], 0.1)])
    events, counts = scene.read(tmp_path)
    cluster = events.elements["cluster"]
    assert cluster.class_R.tolist() == [PHOTON]
    np.testing.assert_allclose(energies(cluster), [9.0], rtol=1e-6)
    assert (counts.targets, counts.merged, counts.dropped) == (1, 2, 0)
    assert counts.clusters_shared == 1
    assert events.generator.counts.tolist() == [3]


def test_shower_folds_up_through_generations_and_loops(scene_of, tmp_path):
    scene = scene_of().event()
    pion = scene.particle(211, 10.0, charge=1)
    first = scene.particle(2112, 4.0, status=0, mother=pion)
    second = scene.particle(22, 3.0, status=0, mother=first)
    scene.mothers([second], first)
    scene.track([(pion, 0.9), (second, 0.1)])
    scene.cluster(4.0, [(first, 0.5), (second, 0.5)])
    scene.cluster(3.0, [(pion, 1.0)])
    events, counts = scene.read(tmp_path)
    assert events.elements["track"].class_R.tolist() == [CHARGED]
    assert events.elements["cluster"].particle_R.tolist() == [0, 0]
    assert events.generator.counts.tolist() == [1]
    assert counts.unlinked_clusters == 0


def test_a_neutrino_owns_nothing_and_a_descendant_has_one_owner(scene_of, tmp_path):
    scene = scene_of().event()
    scene.particle(14, 20.0)
    photon = scene.particle(22, 5.0)
    other = scene.particle(22, 4.0)
    shower = scene.particle(11, 3.0, status=0, charge=-1)
    scene.mothers([photon, other], shower)
    scene.cluster(5.0, [(shower, 1.0)])
    scene.cluster(3.0, [(other, 1.0)])
    events, _ = scene.read(tmp_path)
    assert events.elements["cluster"].particle_R.tolist() == [0, 1]
    assert events.generator.class_P.tolist() == [PHOTON, PHOTON]


def test_unlinked_track_is_never_silently_none(scene_of, tmp_path):
    scene = scene_of().event()
    muon = scene.particle(13, 30.0, charge=-1)
    scene.track([(muon, 1.0)], charge=-1)
    scene.track([])
    scene.track([(muon, 0.0)])
    scene.track([(muon, 0.1)])
    events, counts = scene.read(tmp_path)
    track = events.elements["track"]
    assert track.class_R.tolist() == [MUON, UNLINKED, UNLINKED, 0]
    assert track.charge_R.tolist() == [-1, 0, 0, 0]
    assert track.particle_R.tolist() == [0, NO_PARTICLE, NO_PARTICLE, 0]
    assert counts.unlinked_tracks == 2


def test_class_follows_the_host(scene_of, tmp_path):
    scene = scene_of().event()
    photon = scene.particle(22, 9.0)
    electron = scene.particle(11, 8.0, charge=-1)
    lost = scene.particle(11, 7.0, charge=-1)
    pion = scene.particle(211, 6.0, charge=1)
    scene.track([(photon, 1.0)], charge=-1)
    scene.track([(electron, 1.0)], charge=-1)
    scene.cluster(7.0, [(lost, 1.0)])
    scene.cluster(6.0, [(pion, 1.0)])
    events, _ = scene.read(tmp_path)
    track, cluster = events.elements["track"], events.elements["cluster"]
    assert track.class_R.tolist() == [CHARGED, ELECTRON]
    assert track.charge_R.tolist() == [-1, -1]
    assert cluster.class_R.tolist() == [PHOTON, NEUTRAL]
    assert cluster.charge_R.tolist() == [0, 0]


def test_crumb_in_a_free_cluster_hosts_nobody(scene_of, tmp_path):
    scene = scene_of().event()
    large, small = scene.particle(22, 20.0), scene.particle(22, 10.0)
    scene.cluster(30.0, [(large, 0.7), (small, 0.3)])
    scene.cluster(0.5, [(small, 1.0)])
    events, counts = scene.read(tmp_path)
    cluster = events.elements["cluster"]
    assert cluster.class_R.tolist() == [PHOTON, 0]
    np.testing.assert_allclose(energies(cluster), [30.0, 0.0], rtol=1e-6)
    assert cluster.particle_R.tolist() == [0, 1]
    assert counts.merged == 1


def test_particle_without_a_cluster_of_its_own_or_an_owner_is_dropped(scene_of, tmp_path):
    scene = scene_of().event()
    first = scene.particle(13, 30.0, charge=-1)
    second = scene.particle(13, 10.0, charge=-1)
    scene.track([(first, 0.5), (second, 0.5)])
    _, counts = scene.read(tmp_path)
    assert (counts.targets, counts.merged, counts.dropped) == (1, 0, 1)
    assert counts.dropped_energy == pytest.approx(10.0)


def test_surrogate_stands_in_for_what_was_never_simulated(scene_of, tmp_path):
    scene = scene_of().event()
    kaon = scene.particle(321, 12.0, charge=1, status=2)
    scene.particle(13, 8.0, charge=-1, mother=kaon)
    shower = scene.particle(211, 2.0, charge=1, status=0, mother=kaon)
    scene.track([(kaon, 1.0)])
    scene.cluster(5.0, [(shower, 1.0)])
    events, _ = scene.read(tmp_path)
    assert events.elements["track"].class_R.tolist() == [CHARGED]
    assert events.elements["cluster"].particle_R.tolist() == [0]
    # The muon that the kaon stands in for is no second generator particle.
    np.testing.assert_allclose(events.generator.column("energy"), [12.0], rtol=1e-6)


def test_no_surrogate_where_a_daughter_deposited_and_the_deepest_of_nested_ones(scene_of, tmp_path):
    scene = scene_of().event()
    served = scene.particle(310, 9.0, status=2)
    pion = scene.particle(211, 9.0, charge=1, mother=served)
    outer = scene.particle(3112, 20.0, charge=-1, status=2)
    inner = scene.particle(321, 11.0, charge=1, status=2, mother=outer)
    scene.track([(pion, 1.0)])
    scene.cluster(3.0, [(served, 1.0)])
    scene.cluster(4.0, [(outer, 0.9)])
    scene.cluster(5.0, [(inner, 1.0)])
    events, counts = scene.read(tmp_path)
    np.testing.assert_allclose(np.sort(events.targets.column("energy")), [9.0, 11.0], rtol=1e-6)
    assert events.elements["cluster"].class_R.tolist() == [0, 0, NEUTRAL]
    assert counts.unlinked_clusters == 0


def test_invisible_particle_is_a_generator_particle_but_no_target(scene_of, tmp_path):
    scene = scene_of().event()
    seen, unseen = scene.particle(22, 5.0), scene.particle(130, 50.0)
    scene.cluster(5.0, [(seen, 0.9), (unseen, 0.1)])
    events, counts = scene.read(tmp_path)
    assert events.generator.counts.tolist() == [2]
    np.testing.assert_allclose(events.targets.column("energy"), [5.0], rtol=1e-6)
    assert (counts.targets, counts.dropped) == (1, 0)


def test_each_rule_makes_visible(scene_of, tmp_path):
    scene = scene_of().event()
    share = scene.particle(22, 4.0)
    deposit = scene.particle(211, 90.0, charge=1)
    neutral = scene.particle(2112, 90.0)
    tracked = scene.particle(13, 90.0, charge=1)
    scene.cluster(0.41, [(share, 1.0)])
    scene.cluster(0.6, [(deposit, 1.0)])
    scene.cluster(0.6, [(neutral, 1.0)])
    scene.track([(tracked, 0.2)])
    events, _ = scene.read(tmp_path)
    assert events.elements["cluster"].class_R.tolist() == [PHOTON, NEUTRAL, 0]
    assert events.elements["track"].class_R.tolist() == [MUON]


def test_hit_links_are_normalised_per_hit_and_shared_by_cluster(scene_of, tmp_path):
    scene = scene_of(hits=True).event()
    one, two = scene.particle(22, 10.0), scene.particle(130, 9.0)
    hits = [("ECALBarrel", 3.0, 0.0, [(one, 0.02)]), ("ECALBarrel", 1.0, 4.0, [(two, 5.0)])]
    hits += [("HCALBarrel", 4.0, 8.0, [(one, 0.01), (two, 0.03)]), ("ECALBarrel", 2.0, 0.0, [])]
    scene.hit_cluster(11.0, hits)
    scene.hit_cluster(2.0, [("HCALBarrel", 2.0, 0.0, [(two, 1.0)])])
    events, counts = scene.read(tmp_path)
    cluster = events.elements["cluster"]
    # Photon: 3 + 1 GeV in the first; hadron: 1 + 3 GeV there and 2 GeV in the second.
    assert cluster.class_R.tolist() == [PHOTON, NEUTRAL]
    np.testing.assert_allclose(energies(cluster), [10.0, 9.0], rtol=1e-6)
    assert (counts.truth_source, counts.clusters_shared) == ("hits", 1)


def test_relation_outside_its_event_names_the_entry(scene_of, tmp_path):
    scene = scene_of()
    for end in (0, 3):
        scene.event().particle(22, 5.0)
        scene.cluster(5.0, [(0, 1.0)])
        scene.rows["MCParticles.daughters_end"][-1][-1] = end
    with pytest.raises(EventError, match=r"event 1 of .*daughters asks for rows 0 to 3"):
        scene.read(tmp_path)


@pytest.mark.parametrize("links", ["SiTracksMCTruthLink", "ClusterMCTruthLink"])
def test_file_without_truth_links_is_refused(scene_of, tmp_path, links):
    scene = scene_of().event()
    muon = scene.particle(13, 30.0, charge=-1)
    scene.track([(muon, 1.0)])
    scene.cluster(1.0, [(muon, 1.0)])
    for name in [name for name in scene.rows if links in name]:
        del scene.rows[name]
    with pytest.raises(SchemaError, match=f"expected .*{links}"):
        scene.read(tmp_path)


def test_link_fractions_above_one_are_scaled_down(scene_of):
    scene = scene_of().event()
    one, two = scene.particle(22, 5.0), scene.particle(22, 4.0)
    scene.cluster(6.0, [(one, 1.0), (two, 0.5)])
    charges = np.zeros(0, np.int8)
    targets = build_targets(scene.build(), DETECTORS["clic"], charges)
    assert targets.counts.merged.tolist() == [1]
    np.testing.assert_allclose(targets.arrays[CLUSTER.name].momentum_RM[:, 4], [9.0], rtol=1e-6)
    assert targets.arrays[TRACK.name].class_R.shape == (0,)


def test_links_to_another_collection_are_ignored(scene_of, tmp_path):
    scene = scene_of().event()
    one, two = scene.particle(22, 5.0), scene.particle(22, 4.0)
    scene.cluster(5.0, [(one, 1.0)])
    scene.cluster(4.0, [(two, 1.0)])
    scene.rows["_ClusterMCTruthLink_to.collectionID"][-1][1] = 999
    _, counts = scene.read(tmp_path)
    assert (counts.targets, counts.unlinked_clusters) == (1, 1)


def test_links_of_2021_point_at_the_twin_of_the_particles(scene_of, read_root, tmp_path):
    scene = scene_of().event()
    muon, photon = scene.particle(13, 30.0, charge=-1), scene.particle(22, 4.0)
    scene.track([(muon, 1.0)], charge=-1)
    scene.cluster(4.0, [(photon, 1.0)])
    for name in ("SiTracksMCTruthLink", "ClusterMCTruthLink"):
        scene.rows[f"_{name}_to.collectionID"][-1][0] = 31
    path = str(tmp_path / "twin.root")
    built = scene.build()
    twins = replace(built, ids=built.ids | {"MCParticle": 31})
    write_collections(path, twins, process="qq", generator={})
    events, counts = read_root(path)
    assert (counts.unlinked_tracks, counts.unlinked_clusters) == (0, 0)
    assert events.elements["track"].class_R.tolist() == [MUON]
    assert events.elements["cluster"].class_R.tolist() == [PHOTON]


REFERENCES = [
    ("_SiTracksMCTruthLink_from", "SiTracks_Refitted"),
    ("_SiTracksMCTruthLink_to", "MCParticles"),
    ("_ClusterMCTruthLink_from", "PandoraClusters"),
    ("_ClusterMCTruthLink_to", "MCParticles"),
    ("_CalohitMCTruthLink_from", "ECALBarrel"),
    ("_CalohitMCTruthLink_to", "MCParticles"),
]


def linked_scene(scene_of, hits):
    """Return three events of a pion with a track and a cluster, all linked."""
    scene = scene_of(hits=hits)
    for _ in range(3):
        scene.event().particle(211, 5.0, charge=1)
        scene.track([(0, 1.0)])
        if hits:
            scene.hit_cluster(4.0, [("ECALBarrel", 4.0, 0.0, [(0, 1.0)])])
        else:
            scene.cluster(4.0, [(0, 1.0)])
    return scene


@pytest.mark.parametrize(("relation", "target"), REFERENCES)
def test_a_dangling_link_names_its_event_and_both_ends(scene_of, tmp_path, relation, target):
    scene = linked_scene(scene_of, hits="Calohit" in relation)
    scene.rows[f"{relation}.index"][1][0] = 1
    message = rf"event 1 of .*{relation} points at row 1 of {target}, which has 1;.*produce"
    with pytest.raises(EventError, match=message):
        scene.read(tmp_path)


@pytest.mark.parametrize("relation", [relation for relation, _ in REFERENCES])
def test_a_link_to_nothing_is_no_link(scene_of, tmp_path, relation):
    scene = linked_scene(scene_of, hits="Calohit" in relation)
    scene.rows[f"{relation}.index"][1][0] = -1
    events, counts = scene.read(tmp_path)
    assert counts.events == 3
    of_track = "Tracks" in relation
    assert (counts.unlinked_tracks, counts.unlinked_clusters) == (of_track, not of_track)
    assert (events.elements["track"].class_R[1] == UNLINKED) == of_track


def test_two_particles_on_one_element_are_an_error(scene_of, tmp_path, monkeypatch):
    scene = scene_of().event()
    one, two = scene.particle(22, 5.0), scene.particle(22, 4.0)
    scene.cluster(5.0, [(one, 1.0)])
    scene.cluster(4.0, [(two, 1.0)])

    def assign_wrongly(visible_V, *_):
        here = np.zeros(len(visible_V), np.int64)
        return Hosts(track_V=here - 1, deposit_V=here, into_V=here - 1)

    monkeypatch.setattr("mlpf_stream.edm4hep.targets.assign", assign_wrongly)
    with pytest.raises(EventError, match="energy of visible particles is 9 GeV but 4 GeV"):
        scene.read(tmp_path)

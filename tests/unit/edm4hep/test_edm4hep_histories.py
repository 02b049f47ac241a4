"""Histories that decide what the truth is, each an event built by hand, asserted in both modes.

A surrogate parent, decays in flight, a conversion, merged clusters.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from mlpf_stream.columns import CLASSES

NONE = 0
CHARGED, NEUTRAL = CLASSES.index("charged_hadron"), CLASSES.index("neutral_hadron")
PHOTON, ELECTRON = CLASSES.index("photon"), CLASSES.index("electron")
NOBODY = -1


@dataclass(frozen=True)
class Truth:
    """The truth of one event, element by element: (class, charge, target energy, particle).

    `generator` holds (class, charge, energy); `counts` targets, merged, dropped, unlinked tracks,
    unlinked clusters or hits.
    """

    generator: list
    tracks: list
    others: list
    counts: tuple


def truth_of(events, counts, other):
    """Return what was read of one event."""

    def of(name):
        part = events.elements[name]
        columns = (part.class_R, part.charge_R, part.momentum_RM[:, 4], part.particle_R)
        return [
            (int(a), int(b), pytest.approx(float(c), rel=1e-6), int(d))
            for a, b, c, d in zip(*columns, strict=True)
        ]

    particles = events.generator
    return Truth(
        [
            (int(a), int(b), pytest.approx(float(c), rel=1e-6))
            for a, b, c in zip(
                particles.class_P, particles.charge_P, particles.column("energy"), strict=True
            )
        ],
        of("track"),
        of(other),
        (
            counts.targets,
            counts.merged,
            counts.dropped,
            counts.unlinked_tracks,
            counts.unlinked_clusters,
        ),
    )


@pytest.fixture
def truths(tmp_path):
    """Return the function that reads a scene in both modes."""

    def read(scene):
        found = {}
        for mode, other in (("clusters", "cluster"), ("hits", "hit")):
            events, counts = scene.read(tmp_path, mode=mode)
            assert len(events) == 1
            found[mode] = truth_of(events, counts, other)
        return found

    return read


@pytest.fixture
def scene(scene_of):
    """One event with hits."""
    return scene_of(hits=True).event()


def ecal(energy, *links):
    return ("ECALBarrel", energy, 0.0, links)


def hcal(energy, *links):
    return ("HCALBarrel", energy, 0.0, links)


def test_a_surrogate_parent_stands_in_for_daughters_that_left_nothing(scene, truths):
    # The generator decayed a K0S to two photons; the simulation followed the K0S itself.
    kaon = scene.particle(310, 10.0, status=2)
    for energy in (6.0, 4.0):
        scene.particle(22, energy, mother=kaon)
    shower = scene.particle(11, 3.0, charge=-1, status=0, mother=kaon)
    bystander = scene.particle(22, 2.0)
    scene.hit_cluster(7.0, [hcal(4.0, (kaon, 1.0)), ecal(3.0, (shower, 1.0))])
    scene.hit_cluster(2.0, [ecal(1.5, (bystander, 1.0)), ecal(0.2)])
    found = truths(scene)
    # The photons that the K0S stands in for are no generator particles beside it.
    generator = [(NEUTRAL, 0, 10.0), (PHOTON, 0, 2.0)]
    assert found["clusters"] == Truth(
        generator, [], [(NEUTRAL, 0, 10.0, 0), (PHOTON, 0, 2.0, 1)], (2, 0, 0, 0, 0)
    )
    ecal_hits = [(NONE, 0, 0.0, 0), (PHOTON, 0, 2.0, 1), (NONE, 0, 0.0, NOBODY)]
    assert found["hits"] == Truth(
        generator, [], [*ecal_hits, (NEUTRAL, 0, 10.0, 0)], (2, 0, 0, 0, 1)
    )


def test_a_kaon_that_decays_in_flight_to_a_muon_is_one_kaon(scene, truths):
    kaon = scene.particle(321, 8.0, charge=1)
    muon = scene.particle(-13, 5.0, charge=1, status=0, mother=kaon)
    scene.particle(14, 3.0, status=0, mother=kaon)
    scene.track([(kaon, 0.7), (muon, 0.3)])
    scene.track([(muon, 1.0)])
    scene.hit_cluster(0.5, [ecal(0.1, (kaon, 1.0)), hcal(0.4, (muon, 1.0))])
    found = truths(scene)
    generator = [(CHARGED, 1, 8.0)]
    # Both tracks are wholly the kaon's; of equal shares it takes the first.
    tracks = [(CHARGED, 1, 8.0, 0), (NONE, 0, 0.0, 0)]
    assert found["clusters"] == Truth(generator, tracks, [(NONE, 0, 0.0, 0)], (1, 0, 0, 0, 0))
    assert found["hits"] == Truth(generator, tracks, [(NONE, 0, 0.0, 0)] * 2, (1, 0, 0, 0, 0))


def test_a_dalitz_decay_is_a_photon_and_two_electrons(scene, truths):
    pion = scene.particle(111, 9.0, status=2)
    photon = scene.particle(22, 5.0, mother=pion)
    minus = scene.particle(11, 3.0, charge=-1, mother=pion)
    plus = scene.particle(-11, 1.0, charge=1, mother=pion)
    scene.track([(minus, 1.0)], charge=-1)
    # All three showers in one cluster: the photon alone has no track and takes it.
    hits = [ecal(2.0, (minus, 1.0)), ecal(0.9, (plus, 1.0)), ecal(4.0, (photon, 1.0))]
    scene.hit_cluster(7.0, [*hits, ecal(1.0, (photon, 3.0), (minus, 1.0))])
    found = truths(scene)
    generator = [(PHOTON, 0, 5.0), (ELECTRON, -1, 3.0), (ELECTRON, 1, 1.0)]
    tracks = [(ELECTRON, -1, 3.0, 1)]
    # The positron has no track: it is added to the photon, or seen as a photon of its own hit.
    assert found["clusters"] == Truth(generator, tracks, [(PHOTON, 0, 6.0, 0)], (2, 1, 0, 0, 0))
    assert found["hits"] == Truth(
        generator,
        tracks,
        [(NONE, 0, 0.0, 1), (PHOTON, 0, 1.0, 2), (PHOTON, 0, 5.0, 0), (NONE, 0, 0.0, 0)],
        (3, 0, 0, 0, 0),
    )


def test_a_converted_photon_sits_on_the_track_of_its_harder_electron(scene, truths):
    photon = scene.particle(22, 6.0)
    minus = scene.particle(11, 4.0, charge=-1, status=0, mother=photon)
    plus = scene.particle(-11, 2.0, charge=1, status=0, mother=photon)
    scene.track([(plus, 0.9)], charge=1)
    scene.track([(minus, 1.0)], charge=-1)
    scene.hit_cluster(3.9, [ecal(3.9, (minus, 1.0))])
    scene.hit_cluster(1.9, [ecal(1.9, (plus, 1.0))])
    found = truths(scene)
    generator = [(PHOTON, 0, 6.0)]
    # What sits on a track is charged, by the sign of its curvature.
    tracks = [(NONE, 0, 0.0, 0), (CHARGED, -1, 6.0, 0)]
    others = [(NONE, 0, 0.0, 0)] * 2
    expected = Truth(generator, tracks, others, (1, 0, 0, 0, 0))
    assert found == {"clusters": expected, "hits": expected}


def test_two_photons_in_one_cluster_are_one_target_and_two_on_hits(scene, truths):
    hard, soft = scene.particle(22, 6.0), scene.particle(22, 2.0)
    hits = [ecal(3.0, (hard, 1.0)), ecal(2.0, (hard, 1.0), (soft, 1.0)), ecal(0.5, (soft, 1.0))]
    scene.hit_cluster(5.5, hits)
    found = truths(scene)
    generator = [(PHOTON, 0, 6.0), (PHOTON, 0, 2.0)]
    assert found["clusters"] == Truth(generator, [], [(PHOTON, 0, 8.0, 0)], (1, 1, 0, 0, 0))
    assert found["hits"] == Truth(
        generator,
        [],
        [(PHOTON, 0, 6.0, 0), (PHOTON, 0, 2.0, 1), (NONE, 0, 0.0, 1)],
        (2, 0, 0, 0, 0),
    )


def test_a_hadron_and_a_photon_in_one_cluster_go_by_their_energy(scene, truths):
    hadron, photon = scene.particle(130, 9.0), scene.particle(22, 3.0)
    hits = [ecal(2.5, (photon, 1.0)), ecal(0.4, (hadron, 1.0)), hcal(5.0, (hadron, 1.0))]
    scene.hit_cluster(7.9, hits)
    found = truths(scene)
    generator = [(NEUTRAL, 0, 9.0), (PHOTON, 0, 3.0)]
    # The harder hadron takes the cluster and its class, and the photon's energy with it.
    assert found["clusters"] == Truth(generator, [], [(NEUTRAL, 0, 12.0, 0)], (1, 1, 0, 0, 0))
    assert found["hits"] == Truth(
        generator,
        [],
        [(PHOTON, 0, 3.0, 1), (NONE, 0, 0.0, 0), (NEUTRAL, 0, 9.0, 0)],
        (2, 0, 0, 0, 0),
    )


def test_momenta_of_merged_particles_add_as_four_vectors(scene, tmp_path):
    scene.particle(22, 3.0, direction=(1, 0, 0))
    scene.particle(22, 4.0, direction=(0, 1, 0))
    scene.hit_cluster(7.0, [ecal(7.0, (0, 3.0), (1, 4.0))])
    expected = [5.0, 0.0, 0.8, 0.6, 7.0]
    for mode, other in (("clusters", "cluster"), ("hits", "hit")):
        events, _ = scene.read(tmp_path, mode=mode)
        np.testing.assert_allclose(
            events.elements[other].momentum_RM[0], expected, atol=1e-6, err_msg=mode
        )

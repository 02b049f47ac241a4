"""The rules of the baseline on events built by hand."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from mlpf_stream.columns import CLASSES, CLUSTER, DETECTORS, TRACK
from mlpf_stream.event import Elements, Events, Particles, concatenate_events, offsets_of
from mlpf_stream.physics.baseline import reconstruct
from mlpf_stream.physics.helix import track_impacts

CLIC = DETECTORS["clic"]


def elements(kind, rows):
    x_RF = np.array(rows, np.float32).reshape(-1, kind.width)
    count = len(x_RF)
    return Elements(
        x_RF,
        np.zeros(count, np.int8),
        np.zeros(count, np.int8),
        np.zeros((count, 5), np.float32),
        np.full(count, -1, np.int32),
        offsets_of(np.array([count])),
    )


@dataclass
class Collision:
    """One event under construction."""

    tracks: list = field(default_factory=list)
    clusters: list = field(default_factory=list)

    def track(self, p, phi=0.3, slope=0.4, charge=1, **features):
        pt = p / np.hypot(1, slope)
        values = {
            "elemtype": 1,
            "pt": pt,
            "eta": np.arcsinh(slope),
            "sin_phi": np.sin(phi),
            "cos_phi": np.cos(phi),
            "p": p,
            "chi2": 12,
            "ndf": 12,
            "tan_lambda": slope,
            "omega": charge * 3e-4 * CLIC.field / pt,
            **features,
        }
        self.tracks.append([values.get(name, 0) for name in TRACK.names])
        return len(self.tracks) - 1

    def cluster(self, energy, position, ecal=1.0, hcal=0.0, other=0.0):
        x, y, z = position
        values = {
            "elemtype": 2,
            "energy": energy,
            "x": x,
            "y": y,
            "z": z,
            "energy_ecal": energy * ecal,
            "energy_hcal": energy * hcal,
            "energy_other": other,
            "num_hits": 30 * energy,
        }
        self.clusters.append([values.get(name, 0) for name in CLUSTER.names])

    def behind(self, track, depth, aside=0.0):
        """Return a point on the way of a track behind the face, moved aside [mm]."""
        impacts = track_impacts(np.array([self.tracks[track]], np.float32), CLIC)
        across = np.cross(impacts.direction_R3[0], [0.0, 0.0, 1.0])
        across /= np.linalg.norm(across)
        return (
            impacts.point_R3[0]
            + depth * impacts.direction_R3[0]
            + depth**2 / 2 * impacts.bend_R3[0]
            + aside * across
        )

    def events(self):
        return Events(
            ("hand-0-0",),
            {"track": elements(TRACK, self.tracks), "cluster": elements(CLUSTER, self.clusters)},
            Particles.empty(1),
            Particles.empty(1),
        )

    def candidates(self):
        return reconstruct(self.events(), CLIC)


def species(found):
    return [CLASSES[number] for number in found.particles.class_P]


def test_pion_with_fragments_is_one_charged_hadron():
    event = Collision()
    pion = event.track(10.0, charge=-1)
    event.cluster(6.5, event.behind(pion, 300), ecal=0.3, hcal=0.7)
    event.cluster(1.5, event.behind(pion, 500, 60), ecal=0.0, hcal=1.0)
    event.cluster(0.8, event.behind(pion, 150, 40))
    found = event.candidates()
    assert species(found) == ["charged_hadron"]
    assert found.track_P.tolist() == [0]
    assert sorted(found.clusters[0]) == [0, 1, 2]
    assert found.particles.charge_P.tolist() == [-1]
    np.testing.assert_allclose(
        found.particles.momentum_PM[0],
        [10 / np.hypot(1, 0.4), np.arcsinh(0.4), np.sin(0.3), np.cos(0.3), np.hypot(10, 0.13957)],
        rtol=1e-6,
    )


def test_photon_alone_keeps_its_energy_and_direction():
    event = Collision()
    event.cluster(5.0, (900.0, 1200.0, 800.0))
    found = event.candidates()
    assert species(found) == ["photon"]
    assert found.track_P.tolist() == [-1]
    assert found.clusters[0].tolist() == [0]
    pt = 5.0 * 1500 / 1700
    np.testing.assert_allclose(
        found.particles.momentum_PM[0], [pt, np.arcsinh(800 / 1500), 0.8, 0.6, 5.0], rtol=1e-6
    )


def test_hadronic_cluster_alone_is_a_neutral_hadron():
    event = Collision()
    event.cluster(5.0, (900.0, 1800.0, 800.0), ecal=0.3, hcal=0.7)
    assert species(event.candidates()) == ["neutral_hadron"]


def test_electron_has_its_momentum_in_the_ecal():
    event = Collision()
    electron = event.track(20.0)
    event.cluster(19.5, event.behind(electron, 80))
    found = event.candidates()
    assert species(found) == ["electron"]
    assert found.particles.column("energy")[0] == pytest.approx(20.0, rel=1e-5)


@pytest.mark.parametrize("signal_behind_hcal", [0.0, 0.3])
def test_muon_leaves_little(signal_behind_hcal):
    event = Collision()
    muon = event.track(30.0)
    event.cluster(2.4, event.behind(muon, 900), ecal=0.2, hcal=0.8, other=signal_behind_hcal)
    found = event.candidates()
    assert species(found) == ["muon"]
    assert found.clusters[0].tolist() == [0]


def test_photon_on_top_of_a_pion_becomes_a_second_candidate():
    event = Collision()
    pion = event.track(10.0)
    event.cluster(22.0, event.behind(pion, 200, 10), ecal=0.75, hcal=0.25)
    found = event.candidates()
    assert species(found) == ["charged_hadron", "photon"]
    assert found.particles.column("energy")[1] == pytest.approx(12.0, rel=1e-5)
    assert found.track_P.tolist() == [0, -1]
    assert found.clusters[1].tolist() == [0]


def test_neutral_hadron_on_top_of_a_pion_is_no_photon():
    event = Collision()
    pion = event.track(10.0)
    event.cluster(30.0, event.behind(pion, 500, 10), ecal=0.1, hcal=0.9)
    assert species(event.candidates()) == ["charged_hadron", "neutral_hadron"]


def test_near_photon_stays_when_the_pion_has_its_energy():
    event = Collision()
    pion = event.track(10.0)
    event.cluster(10.0, event.behind(pion, 300), ecal=0.3, hcal=0.7)
    event.cluster(4.0, event.behind(pion, 80, 60))
    assert species(event.candidates()) == ["charged_hadron", "photon"]


def test_two_pions_in_one_cluster_leave_no_neutral():
    event = Collision()
    first = event.track(10.0)
    event.track(8.0, phi=0.31)
    event.cluster(18.5, event.behind(first, 300), ecal=0.3, hcal=0.7)
    assert species(event.candidates()) == ["charged_hadron", "charged_hadron"]


def test_copy_of_a_track_counts_once():
    event = Collision()
    event.track(10.0, ndf=8)
    best = event.track(10.1, phi=0.302, ndf=20)
    event.cluster(9.0, event.behind(best, 300), ecal=0.3, hcal=0.7)
    found = event.candidates()
    assert species(found) == ["charged_hadron"]
    assert found.track_P.tolist() == [best]


def test_poor_track_without_calorimeter_support_is_dropped():
    event = Collision()
    wrong = event.track(50.0, ndf=1)
    event.cluster(4.0, event.behind(wrong, 200), ecal=0.5, hcal=0.5)
    found = event.candidates()
    assert species(found) == ["neutral_hadron"]
    assert found.particles.column("energy")[0] == pytest.approx(4.0)


def test_good_track_needs_no_cluster():
    event = Collision()
    event.track(3.0)
    assert species(event.candidates()) == ["charged_hadron"]


def test_faint_clusters_are_fragments():
    event = Collision()
    event.cluster(0.15, (1500.0, 0.0, 0.0))
    event.cluster(0.4, (0.0, 1800.0, 0.0), ecal=0.0, hcal=1.0)
    assert species(event.candidates()) == []


def test_event_without_tracks_and_empty_event_between_others():
    photon = Collision()
    photon.cluster(5.0, (1500.0, 0.0, 0.0))
    pion = Collision()
    pion.track(5.0)
    parts = [photon, Collision(), pion, Collision()]
    found = reconstruct(concatenate_events([part.events() for part in parts]), CLIC)
    assert found.particles.offsets.tolist() == [0, 1, 1, 2, 2]
    assert species(found) == ["photon", "charged_hadron"]
    assert found.clusters.events == 2


def test_missing_subdetector_energies_do_not_stop_it():
    event = Collision()
    event.cluster(5.0, (1500.0, 0.0, 0.0), ecal=0.0, hcal=0.0)
    assert species(event.candidates()) == ["photon"]


def test_jet_like_event_is_not_counted_twice():
    rng = np.random.default_rng(1)
    event = Collision()
    for _ in range(50):
        track = event.track(
            rng.exponential(4) + 0.5, rng.normal(0, 0.4), rng.normal(0, 0.4), rng.choice([-1, 1])
        )
        event.cluster(rng.exponential(3) + 0.2, event.behind(track, 200, 20), 0.5, 0.5)
    for _ in range(30):
        x, y = 1550 * np.array([np.cos(a := rng.normal(0, 0.4)), np.sin(a)])
        event.cluster(rng.exponential(2) + 0.2, (x, y, rng.normal(0, 400)))
    events = concatenate_events([event.events()] * 20)
    found = reconstruct(events, CLIC)
    assert 45 <= found.particles.counts[0] < 50 + 80

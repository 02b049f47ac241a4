import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.simulate.calorimeter import SUBDETECTORS, shower
from mlpf_stream.simulate.clustering import LEAST_HIT
from mlpf_stream.simulate.interactions import interact
from mlpf_stream.simulate.record import (
    CREATED_IN_SIMULATION,
    DECAYED_IN_TRACKER,
    FINAL,
    LEFT_DETECTOR,
    SECONDARY,
)

CLIC = DETECTORS["clic"]
REACHED_DETECTOR = 0x0F000000


def energies(simulated):
    """Return the energy that each particle of the record gave to clusters."""
    clusters, count = simulated.clusters, len(simulated.record.pdg_P)
    return np.bincount(clusters.particle_K, clusters.energy_K, minlength=count)


def test_photon_resolution_follows_the_card(fire):
    simulated = fire("gun-gamma", 4000, 1)
    record = simulated.record
    whole = (record.status_P == FINAL) & ((record.simulator_P & DECAYED_IN_TRACKER) == 0)
    energy = record.energy_P[whole]
    sigma = np.sqrt(0.153**2 * energy + (0.01 * energy) ** 2)
    pull = (energies(simulated)[whole] - energy) / sigma
    low, middle, high = np.percentile(pull, [15.87, 50.0, 84.13])
    assert (high - low) / 2 == pytest.approx(1.0, abs=0.1)
    assert abs(middle) < 0.1


def test_energetic_neutral_hadrons_follow_the_card(fire):
    simulated = fire("gun-KL", 3000, 1)
    record = simulated.record
    family = np.where(
        record.status_P == SECONDARY, record.offsets[record.event_P] + record.parent_P, -1
    )
    given = energies(simulated)
    own = given + np.bincount(family[family >= 0], given[family >= 0], minlength=len(given))
    chosen = (record.status_P == FINAL) & (record.energy_P > 20)
    energy = record.energy_P[chosen]
    low, middle, high = np.percentile(own[chosen] / energy - 1, [15.87, 50.0, 84.13])
    expected = np.sqrt(1.2**2 + 0.32**2 * energy + (0.05 * energy) ** 2) / energy
    assert (high - low) / 2 == pytest.approx(np.median(expected), rel=0.25)
    assert abs(middle) < 0.05


def test_every_cluster_is_the_sum_of_its_contributions(pions):
    clusters = pions.clusters
    given = np.bincount(clusters.cluster_K, clusters.energy_K, minlength=len(clusters.hits_C))
    # Noise adds energy that no particle gave.
    noise = clusters.energy_C - given
    assert (noise > -1e-9).all()
    assert (noise > 1e-9).mean() < 0.05
    clean = noise < 1e-9
    np.testing.assert_allclose(given[clean], clusters.energy_C[clean])


def test_clustering_keeps_the_energy_of_the_showers(pions):
    random = np.random.default_rng(1)
    showers = shower(pions.record, CLIC, random)
    before, after = showers.energy_DS.sum(), pions.clusters.energy_CS.sum()
    assert after == pytest.approx(before, rel=0.02)


def test_hundred_pions_leave_about_170_clusters(pions):
    assert len(pions.clusters.hits_C) / pions.record.events == pytest.approx(170, rel=0.25)


def test_photons_stay_in_the_ecal_and_muons_reach_the_yoke(fire):
    def share(name, part):
        energy_CS = fire(name, 300, 1).clusters.energy_CS
        return energy_CS[:, SUBDETECTORS.index(part)].sum() / energy_CS.sum()

    assert share("gun-gamma", "ecal") > 0.95
    assert 0.2 < share("gun-KL", "ecal") < 0.6
    assert share("gun-mu", "yoke") > 0.05
    assert share("gun-pi", "yoke") == 0.0


def test_muons_leave_a_small_energy_whatever_their_own(fire):
    simulated = fire("gun-mu", 500, 1)
    final = simulated.record.status_P == FINAL
    left = energies(simulated)[final]
    assert np.median(left) == pytest.approx(2.0, abs=0.4)
    assert np.corrcoef(left, simulated.record.energy_P[final])[0, 1] < 0.2


def test_secondaries_hang_on_their_parents_and_final_particles_have_a_fate(fire):
    record = fire("gun-gamma", 500, 2).record
    secondary = record.status_P == SECONDARY
    parent = (record.offsets[record.event_P] + record.parent_P)[secondary]
    assert secondary.any()
    assert (record.simulator_P[secondary] & CREATED_IN_SIMULATION != 0).all()
    assert (record.simulator_P[parent] & DECAYED_IN_TRACKER != 0).all()
    assert (record.simulator_P[record.status_P == FINAL] & REACHED_DETECTOR != 0).all()
    both = np.zeros((len(record.pdg_P), 3))
    np.add.at(both, parent, record.momentum_P3[secondary])
    converted = np.unique(parent)
    np.testing.assert_allclose(both[converted], record.momentum_P3[converted], rtol=1e-9)


def test_what_flies_down_the_beam_pipe_leaves_the_detector(record_of):
    record = record_of([[0.01, 0.0, 10.0], [0.0, 5.0, 1.0]], [0, 0], pdg=22)
    random = np.random.default_rng(1)
    record = interact(record, CLIC, random)
    assert record.simulator_P[0] & LEFT_DETECTOR
    assert 0 not in shower(record, CLIC, random).particle_D


@pytest.mark.parametrize("name", ["gun-gamma", "gun-e", "gun-pi", "gun-mu", "gun-KL"])
def test_a_subdetector_shows_the_energy_of_a_hit_or_nothing(fire, name):
    energy_CS = fire(name, 400, 2).clusters.energy_CS
    assert ((energy_CS == 0) | (energy_CS >= np.array(LEAST_HIT))).all()


def test_an_exact_zero_tells_no_photons_from_hadrons(fire):
    hcal = SUBDETECTORS.index("hcal")
    for name in ("gun-gamma", "gun-pi"):
        simulated = fire(name, 2000, 1)
        # As soft as in jets: without energy in the HCAL there are both.
        soft = simulated.clusters.energy_C < 5
        assert (simulated.clusters.energy_CS[soft, hcal] == 0).mean() > 0.1

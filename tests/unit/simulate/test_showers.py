import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.simulate.interactions import interact
from mlpf_stream.simulate.record import DECAYED_IN_TRACKER, FINAL, LEFT_DETECTOR, SECONDARY
from mlpf_stream.simulate.showers import shower

CLIC = DETECTORS["clic"]


def families(record):
    """Return the row of the outermost ancestor of every particle."""
    top = np.arange(len(record.pdg_P))
    for _ in range(4):
        up = record.offsets[record.event_P[top]] + record.parent_P[top]
        top = np.where(record.parent_P[top] >= 0, up, top)
    return top


def energies(simulated):
    """Return the energy of all hits that each family left [GeV]."""
    top, cells = families(simulated.record), simulated.cells
    return np.bincount(top[cells.particle_K], cells.energy_K, minlength=len(top))


def pulls(simulated, expected):
    record = simulated.record
    chosen = (record.status_P == FINAL) & (record.energy_P > 20)
    energy = record.energy_P[chosen]
    eta = np.arcsinh(record.momentum_P3[chosen, 2] / np.hypot(*record.momentum_P3[chosen, :2].T))
    barrel = np.abs(eta) < 0.9
    pull = (energies(simulated)[chosen] - energy) / expected(energy)
    return pull[barrel]


def test_photon_resolution_follows_the_card(fire):
    pull = pulls(fire("gun-gamma", 3000, 1), lambda e: np.sqrt(0.156**2 * e + (0.01 * e) ** 2))
    low, middle, high = np.percentile(pull, [15.87, 50.0, 84.13])
    assert (high - low) / 2 == pytest.approx(1.0, abs=0.15)
    assert abs(middle) < 0.35


def test_energetic_neutral_hadrons_follow_the_card(fire):
    simulated = fire("gun-KL", 2000, 1)
    pull = pulls(simulated, lambda e: np.sqrt(1.25**2 + 0.32**2 * e + (0.05 * e) ** 2))
    low, middle, high = np.percentile(pull, [15.87, 50.0, 84.13])
    # What leaks behind the HCAL adds to the card.
    assert 0.9 < (high - low) / 2 < 1.7
    assert abs(middle) < 0.6


def test_photons_stay_in_the_ecal_and_hadrons_do_not(fire):
    def ecal_share(name):
        energy_CS = fire(name, 200, 1).clusters.energy_CS
        return energy_CS[:, 0].sum() / energy_CS.sum()

    assert ecal_share("gun-gamma") > 0.93
    assert 0.2 < ecal_share("gun-KL") < 0.75


def test_energetic_hadrons_leak(fire):
    simulated = fire("gun-KL", 1500, 1)
    record = simulated.record
    chosen = (record.status_P == FINAL) & (record.energy_P > 40)
    ratio = energies(simulated)[chosen] / record.energy_P[chosen]
    assert 0.005 < (ratio < 0.6).mean() < 0.15


def test_muons_leave_a_small_energy_whatever_their_own(fire):
    simulated = fire("gun-mu", 500, 1)
    record = simulated.record
    final = (record.status_P == FINAL) & (record.energy_P > 5)
    left = energies(simulated)[final]
    assert np.median(left) == pytest.approx(1.9, abs=0.5)
    assert np.corrcoef(left, record.energy_P[final])[0, 1] < 0.4


def test_hadrons_of_random_start_leave_trails_and_fragments(pions):
    # One cluster or a few per pion, as published: 170 +- 20 for 100.
    assert len(pions.clusters.hits_C) / 20 == pytest.approx(170, rel=0.15)


def test_what_flies_down_the_beam_pipe_leaves_the_detector(record_of):
    record = record_of([[0.01, 0.0, 10.0], [0.0, 5.0, 1.0]], [0, 0], pdg=22)
    random = np.random.default_rng(1)
    record = interact(record, CLIC, random)
    assert record.simulator_P[0] & LEFT_DETECTOR
    assert 0 not in shower(record, CLIC, random).particle_D


def test_secondaries_share_the_momentum_of_converted_photons(fire):
    record = fire("gun-gamma", 500, 2).record
    pairs = (record.status_P == SECONDARY) & (np.abs(record.pdg_P) == 11)
    parent = (record.offsets[record.event_P] + record.parent_P)[pairs]
    assert pairs.any()
    assert (record.simulator_P[parent] & DECAYED_IN_TRACKER != 0).all()
    both = np.zeros((len(record.pdg_P), 3))
    np.add.at(both, parent, record.momentum_P3[pairs])
    converted = np.unique(parent)
    np.testing.assert_allclose(both[converted], record.momentum_P3[converted], rtol=1e-9)


def test_electrons_radiate_less_than_they_have(fire):
    record = fire("gun-e", 500, 1).record
    photons = (record.status_P == SECONDARY) & (record.pdg_P == 22)
    parent = (record.offsets[record.event_P] + record.parent_P)[photons]
    assert 0.1 < len(np.unique(parent)) / 500 < 0.7
    given = np.bincount(parent, record.energy_P[photons], minlength=len(record.pdg_P))
    assert (given <= 0.9 * record.energy_P + 1e-9).all()


def test_mesons_decay_in_flight_to_muons_that_keep_their_momentum(record_of):
    slow = np.tile([[1.8, 0.5, 0.6]], (4000, 1))
    record = record_of(slow, np.ones(4000), pdg=211)
    record = interact(record, CLIC, np.random.default_rng(3))
    lost = record.simulator_P & DECAYED_IN_TRACKER != 0
    # 2 GeV, c tau of 7.8 m and 1.6 m to the calorimeter.
    assert lost[:4000].mean() == pytest.approx(0.0146, abs=0.006)
    parent = record.parent_P[record.status_P == SECONDARY]
    born = np.abs(record.pdg_P[record.status_P == SECONDARY])
    both = np.zeros((len(record.pdg_P), 3))
    leptons = np.isin(born, (13, 14))
    np.add.at(both, parent[leptons], record.momentum_P3[record.status_P == SECONDARY][leptons])
    rows = np.flatnonzero(lost)
    size = np.linalg.norm(both[rows], axis=1)
    np.testing.assert_allclose(size, np.linalg.norm(record.momentum_P3[rows], axis=1), rtol=1e-6)

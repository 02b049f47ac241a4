import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.simulate.arrivals import LEAST_ENERGY, arrive
from mlpf_stream.simulate.interactions import HOLE_RADIUS, calorimetric_energy, interact
from mlpf_stream.simulate.record import (
    CREATED_IN_SIMULATION,
    DECAYED,
    DECAYED_IN_CALORIMETER,
    DECAYED_IN_TRACKER,
    FINAL,
    LEFT_DETECTOR,
    NO_PARENT,
    SECONDARY,
    STOPPED,
)

CLIC = DETECTORS["clic"]
FATES = (STOPPED, LEFT_DETECTOR, DECAYED_IN_CALORIMETER, DECAYED_IN_TRACKER)


def parents_of(record, chosen):
    return record.offsets[record.event_P[chosen]] + record.parent_P[chosen]


@pytest.fixture(scope="module", params=["gun-e", "gun-pi", "gun-n", "gun-gamma", "gun-mu"])
def gun(request, fire):
    return fire(request.param, 200, 5).record


def test_every_particle_meets_one_fate(gun):
    fates = np.sum([gun.simulator_P & fate != 0 for fate in FATES], axis=0)
    assert (fates == (gun.status_P != DECAYED)).all()
    created = gun.simulator_P & CREATED_IN_SIMULATION != 0
    assert (created == (gun.status_P == SECONDARY)).all()


def test_parents_stand_before_their_daughters_in_the_same_event(gun):
    children = np.flatnonzero(gun.parent_P != NO_PARENT)
    parents = parents_of(gun, children)
    assert (parents < children).all()
    assert (gun.event_P[parents] == gun.event_P[children]).all()
    assert (gun.parent_P[gun.status_P == SECONDARY] != NO_PARENT).all()


def test_daughters_share_no_more_than_their_parent_has(gun):
    energy = calorimetric_energy(gun)
    made = np.flatnonzero(gun.status_P == SECONDARY)
    given = np.bincount(parents_of(gun, made), energy[made], minlength=len(energy))
    assert (given <= energy + 2e-3).all()


def test_what_arrives_is_what_was_shot_but_for_what_escapes(gun):
    shot = calorimetric_energy(gun)[gun.status_P == FINAL].sum()
    neutrinos = calorimetric_energy(gun)[~gun.visible_P].sum()
    found = arrive(gun, CLIC)
    radius = np.hypot(*found.entry_N3[:, :2].T)
    assert (radius > HOLE_RADIUS).all()
    assert (found.energy_N > LEAST_ENERGY).all()
    # Soft electrons and positrons curl up; a few photons of theirs go down the beam pipe.
    assert 0.97 * shot < found.energy_N.sum() + neutrinos < shot + 0.01


def test_electrons_radiate_inside_the_tracker(record_of):
    forward = np.tile([[2.0, 0.0, 12.0]], (2000, 1))
    record = interact(record_of(forward, -np.ones(2000), pdg=11), CLIC, np.random.default_rng(1))
    photons = (record.status_P == SECONDARY) & (record.pdg_P == 22)
    assert photons.sum() > 100
    assert (np.abs(record.vertex_P3[photons, 2]) < CLIC.endcap_z).all()
    assert (np.hypot(*record.vertex_P3[photons, :2].T) < CLIC.barrel_radius).all()


def test_hadrons_that_decay_or_leave_shake_off_no_neutrons(record_of):
    slow, along = np.tile([[1.2, 0.3, 1.0]], (3000, 1)), np.tile([[0.3, 0.0, 40.0]], (3000, 1))
    record = record_of(np.concatenate([slow, along]), np.ones(6000), pdg=211)
    record = interact(record, CLIC, np.random.default_rng(1))
    neutrons = np.flatnonzero((record.status_P == SECONDARY) & (record.pdg_P == 2112))
    assert len(neutrons) > 50
    fate = record.simulator_P[parents_of(record, neutrons)]
    assert (fate & (DECAYED_IN_TRACKER | LEFT_DETECTOR) == 0).all()


def test_charge_and_lepton_number_survive_decays_in_flight(record_of):
    charge = np.tile([1.0, -1.0], 3000)
    record = record_of(np.tile([[1.0, 0.5, 0.6]], (6000, 1)), charge, pdg=211)
    record.pdg_P[1::2] = -211
    record = interact(record, CLIC, np.random.default_rng(3))
    leptons = np.flatnonzero(np.isin(np.abs(record.pdg_P), (13, 14)))
    parents = parents_of(record, leptons)
    total = np.bincount(parents, record.charge_P[leptons], minlength=len(record.pdg_P))
    decayed = np.unique(parents)
    assert len(decayed) > 50
    np.testing.assert_array_equal(total[decayed], record.charge_P[decayed])
    number = np.bincount(parents, np.sign(record.pdg_P[leptons]), minlength=len(total))
    assert (number[decayed] == 0).all()
    energy = np.bincount(parents, record.energy_P[leptons], minlength=len(total))
    np.testing.assert_allclose(energy[decayed], record.energy_P[decayed], rtol=1e-4)
    # The muon flies on with a small kink: 30 MeV across, boosted along.
    muons = leptons[np.abs(record.pdg_P[leptons]) == 13]
    assert (record.vertex_P3[muons] != 0.0).all()

import numpy as np
import pytest

pytest.importorskip("pythia8mc")

from mlpf_stream.simulate.guns import shoot
from mlpf_stream.simulate.pileup import make_pool, overlay
from mlpf_stream.simulate.record import DECAYED, FINAL, NO_PARENT


@pytest.fixture(scope="module")
def pool():
    return make_pool(7)


@pytest.fixture(scope="module")
def laid(pool):
    """40 photons with 10 soft events each."""
    random = np.random.default_rng(1)
    return overlay(shoot("gun-gamma", 40, 1, random), pool, 10.0, random)


def test_the_hard_event_stays_at_the_head_of_its_own(laid):
    bare = shoot("gun-gamma", 40, 1, np.random.default_rng(1))
    first = laid.offsets[:-1]
    np.testing.assert_array_equal(laid.momentum_P3[first], bare.momentum_P3)
    assert (laid.parent_P[first] == NO_PARENT).all()


def test_overlaid_particles_keep_their_own_parents(laid):
    children = np.flatnonzero(laid.parent_P != NO_PARENT)
    parents = laid.offsets[laid.event_P[children]] + laid.parent_P[children]
    assert (laid.event_P[parents] == laid.event_P[children]).all()
    assert (laid.status_P[parents] == DECAYED).all()
    # Turned and thrown together: neutral pions are still the sum of what they decay to.
    total = np.zeros((len(laid.pdg_P), 3))
    np.add.at(total, parents, laid.momentum_P3[children])
    pions = np.flatnonzero(laid.pdg_P == 111)
    assert len(pions) > 500
    np.testing.assert_allclose(total[pions], laid.momentum_P3[pions], rtol=1e-5, atol=1e-5)


def test_soft_events_have_their_masses_and_number(laid, pool):
    for soft, mass in zip(pool, (3.5, 6.0, 10.0, 16.0), strict=True):
        final = soft.status_P == FINAL
        energy = np.bincount(soft.event_P[final], soft.energy_P[final])
        np.testing.assert_allclose(energy, mass, rtol=1e-3)
    # 400 of them, of 8.9 GeV on average, thrown by up to 2.5 units of rapidity.
    final = laid.status_P == FINAL
    final[laid.offsets[:-1]] = False
    per_event = laid.energy_P[final].sum() / 40
    assert per_event == pytest.approx(10.0 * 8.875 * np.sinh(2.5) / 2.5, rel=0.2)


def test_no_overlaid_events_change_nothing(pool):
    bare = shoot("gun-gamma", 3, 2, np.random.default_rng(1))
    same = overlay(bare, pool, 0.0, np.random.default_rng(2))
    np.testing.assert_array_equal(same.momentum_P3, bare.momentum_P3)
    np.testing.assert_array_equal(same.offsets, bare.offsets)

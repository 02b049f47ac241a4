import numpy as np
import pytest

from mlpf_stream.columns import PROCESSES
from mlpf_stream.errors import ConfigError

pytest.importorskip("pythia8mc")

from mlpf_stream.simulate.generator import decay_taus, generate
from mlpf_stream.simulate.record import DECAYED, FINAL, NO_PARENT


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_conserves_energy_and_charge(process):
    (record,) = generate(process, 3, [8])
    final = record.status_P == FINAL
    total = np.bincount(record.event_P[final], record.energy_P[final])
    np.testing.assert_allclose(total, 380.0, rtol=1e-4)
    charge = np.bincount(record.event_P[final], record.charge_P[final])
    np.testing.assert_allclose(charge, 0.0, atol=1e-9)


def test_the_record_holds_decays_without_partons():
    (record,) = generate("ttbar", 3, [8])
    size = np.abs(record.pdg_P)
    assert ((record.status_P == FINAL) | (record.status_P == DECAYED)).all()
    assert not (size == 21).any()
    assert (size == 6).sum() == 16
    assert (size == 24).sum() == 16
    child = record.parent_P != NO_PARENT
    parent = (record.offsets[record.event_P] + record.parent_P)[child]
    assert (record.status_P[parent] == DECAYED).all()
    np.testing.assert_array_equal(record.event_P[parent], record.event_P[child])
    pions = np.flatnonzero(size == 111)
    energy = np.bincount(parent, record.energy_P[child], minlength=len(size))
    np.testing.assert_allclose(energy[pions], record.energy_P[pions], rtol=1e-5)


def test_the_seed_decides():
    one, same, other = (next(generate("qq", seed, [3])) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.momentum_P3, same.momentum_P3)
    assert one.momentum_P3.shape != other.momentum_P3.shape


def test_chunks_continue_the_sequence():
    first, second = generate("qq", 5, [2, 2])
    (whole,) = generate("qq", 5, [4])
    both = np.concatenate([first.momentum_P3, second.momentum_P3])
    np.testing.assert_array_equal(both, whole.momentum_P3)


def test_taus_decay():
    (record,) = decay_taus(2, 5, [20], np.random.default_rng(1))
    taus = np.abs(record.pdg_P) == 15
    assert taus.sum() == 40
    assert (record.status_P[taus] == DECAYED).all()
    final = record.status_P == FINAL
    shot = np.bincount(record.event_P[taus], record.energy_P[taus])
    np.testing.assert_allclose(
        np.bincount(record.event_P[final], record.energy_P[final]), shot, rtol=1e-5
    )


def test_unknown_processes_are_refused():
    with pytest.raises(ConfigError, match="ttbar"):
        next(generate("ttH", 1, [1]))

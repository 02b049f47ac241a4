import subprocess
import sys

import numpy as np
import pytest

from mlpf_stream.columns import GUNS
from mlpf_stream.errors import ConfigError
from mlpf_stream.simulate.guns import ACCEPTANCE, ENERGY, shoot
from mlpf_stream.simulate.record import DECAYED, FINAL


@pytest.mark.parametrize("name", [name for name in GUNS if name != "gun-tau"])
def test_guns_are_uniform_in_energy_and_polar_angle(name):
    record = shoot(name, 500, 4, np.random.default_rng(1))
    shot = record.parent_P == -1
    energy = record.energy_P[shot]
    cosine = record.momentum_P3[shot, 2] / np.linalg.norm(record.momentum_P3[shot], axis=1)
    assert shot.sum() == 2000
    assert ENERGY[0] <= energy.min() < energy.max() <= ENERGY[1]
    assert energy.mean() == pytest.approx(sum(ENERGY) / 2, abs=2.5)
    assert np.abs(cosine).max() <= np.tanh(ACCEPTANCE)
    assert cosine.std() == pytest.approx(np.tanh(ACCEPTANCE) / np.sqrt(3), rel=0.05)


def test_neutral_pions_decay_to_two_photons():
    record = shoot("gun-pi0", 50, 3, np.random.default_rng(1))
    pions = np.flatnonzero(record.pdg_P == 111)
    photons = np.flatnonzero(record.pdg_P == 22)
    assert (record.status_P[pions] == DECAYED).all()
    assert (record.status_P[photons] == FINAL).all()
    parent = (record.offsets[record.event_P] + record.parent_P)[photons]
    total = np.zeros((len(record.pdg_P), 3))
    np.add.at(total, parent, record.momentum_P3[photons])
    np.testing.assert_allclose(total[pions], record.momentum_P3[pions], rtol=1e-9, atol=1e-9)
    energy = np.bincount(parent, record.energy_P[photons], minlength=len(total))
    np.testing.assert_allclose(energy[pions], record.energy_P[pions])


def test_charged_guns_shoot_both_signs_and_their_antiparticles():
    record = shoot("gun-mu", 200, 1, np.random.default_rng(1))
    assert set(record.pdg_P) == {13, -13}
    np.testing.assert_array_equal(record.charge_P, -np.sign(record.pdg_P))


def test_unknown_guns_are_refused():
    with pytest.raises(ConfigError, match="gun-pi0"):
        shoot("gun-proton", 1, 1, np.random.default_rng(1))


def test_guns_need_no_pythia(tmp_path):
    code = (
        "import sys; sys.modules['pythia8mc'] = None\n"
        "from mlpf_stream.errors import MissingExtraError\n"
        "from mlpf_stream.simulate import SimulateRequest, simulate\n"
        f"simulate(SimulateRequest('gun-pi', 4, 1, {str(tmp_path)!r}, files=1))\n"
        "for name in ('gun-tau', 'ttbar'):\n"
        "    try:\n"
        f"        simulate(SimulateRequest(name, 1, 1, {str(tmp_path)!r}))\n"
        "    except MissingExtraError as error:\n"
        "        assert error.extra == 'simulate', error\n"
        "    else:\n"
        "        raise SystemExit(f'{name} worked without Pythia')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "gun-pi_1_0.root").is_file()

"""Particle guns: single species at uniform energy and polar angle, no generator needed.

Shape letters: N particles of all events end to end, P rows of the record.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.errors import ConfigError
from mlpf_stream.event import F64, I64, offsets_of
from mlpf_stream.simulate.record import DECAYED, FINAL, NO_PARENT, Record

ENERGY: Final = (1.0, 100.0)
"""Range of the energy [GeV]. Source: single-particle samples of Pata et al. 2023."""
ACCEPTANCE: Final = 2.54
"""Range of |eta|: the acceptance of the tracker."""
_SPOT: Final = (27.3e-3, 48.8e-6, 1.33)


@dataclass(frozen=True, slots=True)
class _Species:
    """PDG id, mass [GeV], and charge [e] of the particle with that id."""

    pdg: int
    mass: float
    charge: float


# Source: masses of the Particle Data Group.
_SPECIES: Final[dict[str, _Species]] = {
    "gun-e": _Species(11, 0.000511, -1.0),
    "gun-mu": _Species(13, 0.105658, -1.0),
    "gun-pi": _Species(211, 0.139570, 1.0),
    "gun-pi0": _Species(111, 0.134977, 0.0),
    "gun-KL": _Species(130, 0.497611, 0.0),
    "gun-n": _Species(2112, 0.939565, 0.0),
    "gun-gamma": _Species(22, 0.0, 0.0),
}


def draw_momenta(count: int, mass: float, random: np.random.Generator) -> tuple[F64, F64]:
    """Return momenta [GeV], shape (N, 3), and signs of the charge, shape (N,)."""
    energy = random.uniform(max(ENERGY[0], 1.001 * mass), ENERGY[1], count)
    cosine = random.uniform(-np.tanh(ACCEPTANCE), np.tanh(ACCEPTANCE), count)
    phi = random.uniform(-np.pi, np.pi, count)
    sine = np.sqrt(1.0 - cosine**2)
    direction_N3 = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    momentum_N3 = direction_N3 * np.sqrt(energy**2 - mass**2)[:, None]
    return momentum_N3, random.choice([-1.0, 1.0], count)


def beam_spot(events: int, random: np.random.Generator) -> F64:
    """Return the primary vertex of every event [mm], shape (E, 3)."""
    spot_E3: F64 = random.normal(size=(events, 3)) * np.array(_SPOT)
    return spot_E3


def shoot(name: str, events: int, multiplicity: int, random: np.random.Generator) -> Record:
    """Return `events` events of `multiplicity` particles each; neutral pions decay to photons.

    Raises:
        ConfigError: `name` is no gun of a stable particle or neutral pion.
    """
    if name not in _SPECIES:
        raise ConfigError(f"expected a gun of {', '.join(_SPECIES)}, found {name!r}")
    species = _SPECIES[name]
    count = events * multiplicity
    momentum_N3, sign_N = draw_momenta(count, species.mass, random)
    sign_N = sign_N if species.charge else np.ones(count)
    spot_N3 = np.repeat(beam_spot(events, random), multiplicity, axis=0)
    primary = Record(
        pdg_P=(species.pdg * sign_N).astype(np.int32),
        charge_P=species.charge * sign_N,
        mass_P=np.full(count, species.mass),
        momentum_P3=momentum_N3,
        vertex_P3=spot_N3,
        status_P=np.full(count, DECAYED if name == "gun-pi0" else FINAL, np.int32),
        simulator_P=np.zeros(count, np.int32),
        parent_P=np.full(count, NO_PARENT, np.int64),
        offsets=offsets_of(np.full(events, multiplicity, np.int64)),
    )
    return _decay_pions(primary, random) if name == "gun-pi0" else primary


def _decay_pions(pions: Record, random: np.random.Generator) -> Record:
    """Return the record with two photons from every neutral pion."""
    count = len(pions.pdg_P)
    cosine = random.uniform(-1.0, 1.0, count)
    phi = random.uniform(-np.pi, np.pi, count)
    sine = np.sqrt(1.0 - cosine**2)
    rest_N3 = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    rest_N3 *= pions.mass_P[:, None] / 2.0
    photon_N3 = _boost(rest_N3, pions)
    both_P3 = np.concatenate([photon_N3, pions.momentum_P3 - photon_N3])
    photons = Record(
        pdg_P=np.full(2 * count, 22, np.int32),
        charge_P=np.zeros(2 * count),
        mass_P=np.zeros(2 * count),
        momentum_P3=both_P3,
        vertex_P3=np.tile(pions.vertex_P3, (2, 1)),
        status_P=np.full(2 * count, FINAL, np.int32),
        simulator_P=np.zeros(2 * count, np.int32),
        parent_P=np.tile(pions.row_P, 2),
        offsets=pions.offsets,
    )
    event_X: I64 = np.tile(pions.event_P, 2)
    return pions.with_secondaries(photons, event_X)


def _boost(rest_N3: F64, frame: Record) -> F64:
    """Boost massless momenta from the rest frames of `frame` [GeV], shape (N, 3)."""
    beta_N3 = frame.momentum_P3 / frame.energy_P[:, None]
    gamma_N = frame.energy_P / frame.mass_P
    along_N = np.sum(beta_N3 * rest_N3, axis=1)
    energy_N = np.linalg.norm(rest_N3, axis=1)
    factor_N = gamma_N**2 / (gamma_N + 1.0) * along_N + gamma_N * energy_N
    boosted: F64 = rest_N3 + factor_N[:, None] * beta_N3
    return boosted

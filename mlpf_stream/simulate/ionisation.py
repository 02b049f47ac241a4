"""Ionisation of tracks: what a particle loses per length of silicon, as its layers measure it.

Shape letters: T tracks.

Source: mean energy loss by Bethe (Particle Data Group, passage of particles through matter), in
silicon of 2.329 g/cm^3, without density correction.
"""

from typing import Final

import numpy as np

from mlpf_stream.event import F64, I64

_CONSTANT: Final = 0.307075e-3 * 2.329 * 0.49848 / 10.0
"""K rho Z / A of silicon [GeV / mm]."""
_ELECTRON: Final = 0.51099895e-3
_EXCITATION: Final = 173e-9
"""Mean excitation energy of silicon [GeV]."""
_PLATEAU: Final = 300.0
"""Beta gamma from which on the loss rises no more."""
_SPREAD: Final = 0.35
"""Relative spread of the truncated mean of one layer; it falls with the root of their number."""


def energy_loss(momentum_T: F64, mass_T: F64) -> F64:
    """Return the mean loss of particles of unit charge [GeV / mm], shape (T,)."""
    ratio_T = np.clip(momentum_T / np.maximum(mass_T, 1e-6), 0.1, _PLATEAU)
    beta2_T = ratio_T**2 / (1.0 + ratio_T**2)
    inside_T = np.log(2.0 * _ELECTRON * ratio_T**2 / _EXCITATION) - beta2_T
    loss_T: F64 = _CONSTANT / beta2_T * inside_T
    return loss_T


def measure_loss(
    momentum_T: F64, mass_T: F64, layers_T: I64, random: np.random.Generator
) -> tuple[F64, F64]:
    """Return what tracks of some layers measure, and the error that they state [GeV / mm]."""
    error_T = energy_loss(momentum_T, mass_T) * _SPREAD / np.sqrt(np.maximum(layers_T, 1))
    measured_T = energy_loss(momentum_T, mass_T) + error_T * random.standard_normal(len(error_T))
    return np.maximum(measured_T, 1e-6), error_T

"""Four-vectors and PDG ids to the columns of `event.Particles`.

Shape letters: P particles, M momentum columns.
"""

from typing import Final

import numpy as np

from mlpf_stream.columns import MOMENTUM, class_of
from mlpf_stream.event import F32, F64, I8, I64

ETA_MAX: Final = 10.0
"""Pseudorapidities beyond are clipped: such particles are in the beam pipe."""


def momentum_columns(vector_P4: F64) -> F32:
    """Return pt, eta, sin phi, cos phi, energy (P, M) of px, py, pz, energy [GeV], shape (P, 4).

    A particle without transverse momentum has eta = +-ETA_MAX (0 at rest) and phi = 0. Numbers that
    are not finite, or too large for float32, come out as such: the caller decides about them.
    """
    with np.errstate(all="ignore"):
        return _columns(vector_P4)


def _columns(vector_P4: F64) -> F32:
    """Compute the columns."""
    px, py, pz, energy = np.asarray(vector_P4, dtype=np.float64).T
    pt = np.hypot(px, py)
    moves = pt > 0
    safe = np.where(moves, pt, 1.0)
    eta = np.where(moves, np.arcsinh(pz / safe), np.sign(pz) * ETA_MAX)
    columns = {
        "pt": pt,
        "eta": np.clip(eta, -ETA_MAX, ETA_MAX),
        "sin_phi": np.where(moves, py / safe, 0.0),
        "cos_phi": np.where(moves, px / safe, 1.0),
        "energy": energy,
    }
    return np.stack([columns[name] for name in MOMENTUM], axis=1).astype(np.float32)


def classes_of(pdg_P: I64, charge_P: F64) -> I8:
    """Return the class index of many particles by PDG id and charge, shape (P,)."""
    key_P = 2 * pdg_P.astype(np.int64) + (charge_P != 0)
    unique = np.unique(key_P)
    classes = np.array([class_of(int(key) >> 1, float(key & 1)) for key in unique], np.int8)
    class_P: I8 = classes[np.searchsorted(unique, key_P)]
    return class_P

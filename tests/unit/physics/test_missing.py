"""Sums of momenta of hand-made events."""

import numpy as np

from mlpf_stream.event import Particles, offsets_of
from mlpf_stream.physics.missing import missing_momentum, total_momentum


def particles(rows, counts):
    return Particles(
        np.ones(len(rows), np.int8),
        np.zeros(len(rows), np.int8),
        np.array(rows, np.float32),
        offsets_of(np.array(counts)),
    )


THREE = particles(
    [
        (3.0, 0.0, 0.0, 1.0, 3.0),  # along x
        (4.0, 0.0, 1.0, 0.0, 4.0),  # along y
        (3.0, np.arcsinh(4 / 3), 0.0, -2.0, 5.0),  # against x, pz = 4; phi of length 2
    ],
    [2, 0, 1],
)


def test_missing_momentum_balances_the_event():
    missing = missing_momentum(THREE)
    np.testing.assert_allclose(missing.px, [-3.0, 0.0, 3.0], atol=1e-6)
    np.testing.assert_allclose(missing.py, [-4.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(missing.magnitude, [5.0, 0.0, 3.0], atol=1e-6)


def test_total_momentum_is_scalar_sum_and_vector():
    total = total_momentum(THREE)
    np.testing.assert_allclose(total.scalar, [7.0, 0.0, 5.0], rtol=1e-6)
    np.testing.assert_allclose(total.pz, [0.0, 0.0, 4.0], atol=1e-6)
    np.testing.assert_allclose(total.px, [3.0, 0.0, -3.0], atol=1e-6)

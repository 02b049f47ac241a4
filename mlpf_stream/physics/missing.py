"""Sums over an event: missing transverse momentum and total momentum.

Shape letters: E events, P particles.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.event import F64, Particles
from mlpf_stream.physics.four_momenta import four_momenta


@dataclass(frozen=True, slots=True)
class MissingMomentum:
    """Missing transverse momentum of E events, shape (E,) each [GeV]."""

    px: F64
    py: F64

    @property
    def magnitude(self) -> F64:
        """Absolute missing transverse momentum, shape (E,) [GeV]."""
        return np.hypot(self.px, self.py)


@dataclass(frozen=True, slots=True)
class TotalMomentum:
    """Total momentum of E events, shape (E,) each [GeV]: sum of magnitudes, and vector sum."""

    scalar: F64
    px: F64
    py: F64
    pz: F64


def missing_momentum(particles: Particles) -> MissingMomentum:
    """Return minus the transverse vector sum of every event.

    Raises:
        EventError: a momentum is not finite.
    """
    total = total_momentum(particles)
    return MissingMomentum(-total.px, -total.py)


def total_momentum(particles: Particles) -> TotalMomentum:
    """Return the sums of the momenta of every event.

    In e+e- collisions the vector sum is near zero whatever the detector does; the scalar sum of
    the magnitudes is what measures the event momentum scale.

    Raises:
        EventError: a momentum is not finite.
    """
    momenta = four_momenta(particles)
    event_P = particles.event_P
    scalar, px, py, pz = (
        np.bincount(event_P, part_P, minlength=particles.events).astype(np.float64)
        for part_P in (momenta.magnitude, momenta.px, momenta.py, momenta.pz)
    )
    return TotalMomentum(scalar, px, py, pz)

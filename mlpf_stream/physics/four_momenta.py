"""Cartesian four-momenta of particles: what jets and sums of momenta are made of.

Shape letters: P particles.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.errors import EventError
from mlpf_stream.event import F64, Particles


@dataclass(frozen=True, slots=True)
class FourMomenta:
    """Components in double precision, shape (P,) each [GeV]."""

    px: F64
    py: F64
    pz: F64
    energy: F64

    @property
    def magnitude(self) -> F64:
        """Absolute three-momentum, shape (P,) [GeV]."""
        return np.sqrt(self.px**2 + self.py**2 + self.pz**2)


def four_momenta(particles: Particles) -> FourMomenta:
    """Return the Cartesian components of `particles`; (sin phi, cos phi) need no unit length.

    Raises:
        EventError: a momentum is not finite.
    """
    pt, eta, sin_phi, cos_phi, energy = (
        particles.column(name).astype(np.float64)
        for name in ("pt", "eta", "sin_phi", "cos_phi", "energy")
    )
    phi = np.arctan2(sin_phi, cos_phi)
    with np.errstate(over="ignore", invalid="ignore"):
        momenta = FourMomenta(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy)
        finite_P = np.isfinite(momenta.magnitude + energy)
    if not finite_P.all():
        event = int(particles.event_P[np.flatnonzero(~finite_P)[0]])
        reason = (
            "expected finite momenta, found NaN or infinity; drop such candidates when decoding"
        )
        raise EventError("the particles", event, reason)
    return momenta

"""Jets of whole batches: the generalised-kt algorithm for e+e- collisions, one call for all events.

Particles flow in, jets flow out; `response` compares jets with jets.
Shape letters: E events, P particles, J jets.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.errors import MissingExtraError
from mlpf_stream.event import F64, I64, Particles, offsets_of
from mlpf_stream.physics.four_momenta import four_momenta

try:
    import awkward
    import fastjet
except ImportError as error:
    raise MissingExtraError(error.name or "fastjet", "physics") from error

# Standard output belongs to results. The banner's request, to cite EPJC 72 (2012) 1896
# [arXiv:1111.6097], is passed on in docs/physics.
fastjet.ClusterSequenceActiveArea.set_fastjet_banner_stream(None)


@dataclass(frozen=True, slots=True)
class JetSettings:
    """Radius R [rad] and power p of the generalised-kt e+e- algorithm, and least pt [GeV]."""

    radius: float = 0.7
    power: float = -1.0
    min_pt: float = 5.0


@dataclass(frozen=True, slots=True)
class Jets:
    """Jets of E events, by falling pt in each: pt [GeV], eta, phi [rad], energy [GeV], all (J,)."""

    pt: F64
    eta: F64
    phi: F64
    energy: F64
    offsets: I64

    @property
    def events(self) -> int:
        """Number of events E."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> I64:
        """Jets per event, shape (E,)."""
        return np.diff(self.offsets)

    @property
    def event_J(self) -> I64:
        """Event number of every jet, shape (J,)."""
        return np.repeat(np.arange(self.events, dtype=np.int64), self.counts)


def cluster_jets(particles: Particles, settings: JetSettings) -> Jets:
    """Cluster the particles of every event into inclusive jets.

    Args:
        particles: of E events; those without momentum belong to no jet.
        settings: of the algorithm.

    Raises:
        EventError: a momentum is not finite.

    Source: FastJet user manual (arXiv:1111.6097), section 4.5; R = 0.7, p = -1 in Pata et al. 2023.
    """
    momenta = four_momenta(particles)
    keep_P = momenta.magnitude > 0
    counts = np.bincount(particles.event_P[keep_P], minlength=particles.events)
    if not keep_P.any():
        return _jets(np.zeros((0, 4)), np.zeros(particles.events, np.int64))
    components = {"px": momenta.px, "py": momenta.py, "pz": momenta.pz, "E": momenta.energy}
    flat = awkward.zip(
        {name: values[keep_P] for name, values in components.items()}, with_name="Momentum4D"
    )
    definition = fastjet.JetDefinition(fastjet.ee_genkt_algorithm, settings.radius, settings.power)
    sequence = fastjet.ClusterSequence(awkward.unflatten(flat, counts), definition)
    jets = sequence.inclusive_jets(min_pt=settings.min_pt)
    flat_jets = awkward.flatten(jets)
    momenta_J4 = np.stack([awkward.to_numpy(flat_jets[name]) for name in components], axis=1)
    return _jets(momenta_J4, awkward.to_numpy(awkward.num(jets)).astype(np.int64))


def _jets(momenta_J4: F64, counts: I64) -> Jets:
    """Return jets from their Cartesian components, sorted by falling pt in each event."""
    px, py, pz, energy = momenta_J4.T
    pt = np.hypot(px, py)
    event_J = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-pt, event_J))
    # A jet along the beam has no finite pseudorapidity; with min_pt 0 it could be asked for.
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    phi = np.arctan2(py, px)
    return Jets(pt[order], eta[order], phi[order], energy[order], offsets_of(counts))

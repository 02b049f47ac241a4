"""Measures of whole events: energies, jets and the baseline, against the generator.

Shape letters: E events, P particles, J jets.
"""

from typing import Final

import numpy as np

from mlpf_stream.config import PhysicsConfig
from mlpf_stream.event import F64, Particles
from mlpf_stream.inspect.calorimetry import ACCEPTED_ETA, LEAST_EVENT
from mlpf_stream.inspect.measures import Measure, Values, share
from mlpf_stream.inspect.ownership import Ownership
from mlpf_stream.physics.evaluation import accept, jet_settings
from mlpf_stream.physics.jets import cluster_jets
from mlpf_stream.physics.response import match_jets

POOR_EVENT: Final = 0.85
"""Events whose targets have less than this part of the generator's energy are in the tail."""

JET_PT: Final = 10.0
"""Jets of the generator that are looked at have twice the pt that makes a jet [GeV],"""
JET_ETA: Final = 2.0
"""and lie well inside the acceptance."""


def outcome_measures(owned: Ownership) -> dict[str, Measure]:
    """Return energies and jets of targets, and energies of the baseline, over the generator's."""
    events, found = owned.events, owned.chunk.events
    expected_E = _energy(owned.generator)
    used = np.flatnonzero(expected_E > LEAST_EVENT).astype(np.int64)
    target_E = _energy(found.targets)[used] / expected_E[used]
    stored = np.flatnonzero((expected_E > LEAST_EVENT) & (found.candidates.counts > 0))
    baseline_E = _energy(found.candidates)[stored] / expected_E[stored]
    measured: dict[str, Measure] = {
        "target_energy": Values(target_E, used, events),
        "target_energy_tail": share(target_E < POOR_EVENT, used, events),
        "baseline_energy": Values(baseline_E, stored.astype(np.int64), events),
    }
    return measured | _jets(owned)


def _energy(particles: Particles) -> F64:
    """Return the energy inside the acceptance of every event, (E,) [GeV]."""
    here_P = np.abs(particles.column("eta")) < ACCEPTED_ETA
    event_P = particles.event_P[here_P]
    energy_P = particles.column("energy")[here_P]
    return np.bincount(event_P, energy_P, particles.events).astype(np.float64)


def _jets(owned: Ownership) -> dict[str, Measure]:
    """Return how the jets of targets agree with those of the generator, away from the cuts.

    Softer jets of targets count as matches: the threshold of the clustering loses nobody.
    """
    settings = PhysicsConfig()
    gen, reco = (
        cluster_jets(accept(part, settings), jet_settings(settings))
        for part in (owned.generator, owned.chunk.events.targets)
    )
    matches = match_jets(reco, gen, settings.match_radius)
    inside_J = (gen.pt > JET_PT) & (np.abs(gen.eta) < JET_ETA)
    matched_J = np.zeros(len(gen.pt), np.bool_)
    matched_J[matches.gen_M] = True
    inside_M = inside_J[matches.gen_M]
    reco_M, gen_M = matches.reco_M[inside_M], matches.gen_M[inside_M]
    return {
        "jets_matched": share(matched_J[inside_J], gen.event_J[inside_J], owned.events),
        "jet_response": Values(reco.pt[reco_M] / gen.pt[gen_M], gen.event_J[gen_M], owned.events),
    }

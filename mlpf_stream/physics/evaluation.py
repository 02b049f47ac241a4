"""How good reconstructions are: jets, missing momentum and total momentum against the generator.

Particles of the same events flow in, summaries with errors flow out; the verb `evaluate` stores
them. Shape letters: E events, B resamplings.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlpf_stream.config import PhysicsConfig
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import F64, I64, Particles
from mlpf_stream.physics.histogram import Binning, Histogram, JsonHistogram, fill
from mlpf_stream.physics.jets import Jets, JetSettings, cluster_jets
from mlpf_stream.physics.missing import (
    MissingMomentum,
    TotalMomentum,
    missing_momentum,
    total_momentum,
)
from mlpf_stream.physics.response import (
    Gain,
    Sample,
    Summary,
    jet_sample,
    paired_difference,
    resample_events,
    summarise,
)

LEAST_MISSING = 5.0
"""Events with less generator missing momentum have no meaningful response [GeV]."""
SEED = 20230913
"""Seed of the resamplings: the same for all reconstructions, or differences were not paired."""

JET_RESPONSE = Binning(0.0, 2.0, 80)
MOMENTUM_RESPONSE = Binning(0.5, 1.5, 80)
MISSING_DIFFERENCE = Binning(-40.0, 40.0, 80)
"""Bins of the x and y differences of the missing momentum [GeV]."""


@dataclass(frozen=True, slots=True)
class Spectra:
    """How the measured values of one reconstruction are spread.

    `jet` and `momentum`: responses; `met`: x and y differences of the missing momentum [GeV], two
    values per event.
    """

    jet: Histogram
    met: Histogram
    momentum: Histogram

    def as_json(self) -> dict[str, JsonHistogram]:
        """Return the histograms by name."""
        return {
            "jet": self.jet.as_json(),
            "met": self.met.as_json(),
            "momentum": self.momentum.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Measures:
    """One reconstruction judged against the generator.

    `jet`: pt response of matched jets; `met`: response of the missing transverse momentum where the
    generator has more than `LEAST_MISSING`; `momentum`: response of the scalar sum of momenta.
    `met_resolution` is the IQR of the x and y differences of the missing momentum over all events
    [GeV], with its bootstrap error.
    """

    jet: Summary
    met: Summary
    momentum: Summary
    met_resolution: float
    met_resolution_error: float
    spectra: Spectra

    def as_json(self) -> dict[str, dict[str, float | int | None]]:
        """Return the numbers by name, None for NaN; the spectra speak for themselves."""
        extra = {
            name: None if np.isnan(value) else value
            for name, value in (
                ("resolution_gev", self.met_resolution),
                ("resolution_gev_error", self.met_resolution_error),
            )
        }
        return {
            "jet": self.jet.as_json(),
            "met": {**self.met.as_json(), **extra},
            "momentum": self.momentum.as_json(),
        }


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is measured of the particles of E events."""

    jets: Jets
    missing: MissingMomentum
    total: TotalMomentum

    @classmethod
    def of(cls, particles: Particles, settings: PhysicsConfig) -> "_Measured":
        """Measure every event."""
        accepted = accept(particles, settings)
        return cls(
            cluster_jets(accepted, jet_settings(settings)),
            missing_momentum(accepted),
            total_momentum(accepted),
        )


def jet_settings(settings: PhysicsConfig) -> JetSettings:
    """Return the jet part of a recipe's physics section."""
    return JetSettings(settings.jet_radius, settings.jet_power, settings.jet_min_pt)


def accept(particles: Particles, settings: PhysicsConfig) -> Particles:
    """Return the particles inside the acceptance.

    Radiative returns send a hard photon down the beam pipe in a large part of the events at this
    energy; no reconstruction can see it, so it would measure the collider and not the algorithm.
    Generator and reconstructed particles are cut alike.
    """
    return particles.where(np.abs(particles.column("eta")) < settings.max_abs_eta)


def compare(
    generator: Particles, reconstructions: Mapping[str, Particles], settings: PhysicsConfig
) -> dict[str, Measures]:
    """Judge reconstructions of the same events against the generator.

    Args:
        generator: particles of E events.
        reconstructions: candidates of the same events by name, such as "mlpf" or "baseline".
        settings: jets, matching and number of resamplings.

    Returns:
        The measures of every reconstruction; their errors are paired (same resamplings).

    Raises:
        SchemaError: a reconstruction has another number of events.
        EventError: a momentum is not finite.
    """
    draws_BE = resample_events(generator.events, settings.bootstrap, SEED)
    truth = _Measured.of(generator, settings)
    measures = {}
    for name, particles in reconstructions.items():
        _check_events(name, particles, generator)
        found = _Measured.of(particles, settings)
        measures[name] = _measures(found, truth, settings, draws_BE)
    return measures


def paired_gain(
    generator: Particles, first: Particles, second: Particles, settings: PhysicsConfig
) -> Gain:
    """Return by how much the jet resolution (IQR / median) of `first` is below that of `second`.

    A difference above zero by more than its error means that `first` is better.

    Raises:
        SchemaError: a reconstruction has another number of events.
        EventError: a momentum is not finite.
    """
    draws_BE = resample_events(generator.events, settings.bootstrap, SEED)
    truth = cluster_jets(accept(generator, settings), jet_settings(settings))
    samples = []
    for name, particles in (("first", first), ("second", second)):
        _check_events(name, particles, generator)
        jets = cluster_jets(accept(particles, settings), jet_settings(settings))
        samples.append(jet_sample(jets, truth, settings.match_radius))
    return paired_difference(samples[0], samples[1], draws_BE)


def _check_events(name: str, particles: Particles, generator: Particles) -> None:
    """Refuse reconstructions of other events."""
    if particles.events != generator.events:
        msg = (
            f"expected {generator.events} events of reconstruction {name!r}, found "
            f"{particles.events}; compare reconstructions of one set of events"
        )
        raise SchemaError(msg)


def _measures(
    found: _Measured, truth: _Measured, settings: PhysicsConfig, draws_BE: I64
) -> Measures:
    """Return the summaries of one reconstruction."""
    difference_2E = np.concatenate(
        [found.missing.px - truth.missing.px, found.missing.py - truth.missing.py]
    )
    events_E = np.arange(draws_BE.shape[1], dtype=np.int64)
    components = Sample(difference_2E, np.tile(events_E, 2), np.full(len(events_E), 2, np.int64))
    spread = summarise(components, draws_BE)
    met = _event_sample(found.missing.magnitude, truth.missing.magnitude, LEAST_MISSING)
    momentum = _event_sample(found.total.scalar, truth.total.scalar, 0.0)
    jet = jet_sample(found.jets, truth.jets, settings.match_radius)
    return Measures(
        jet=summarise(jet, draws_BE),
        met=summarise(met, draws_BE),
        momentum=summarise(momentum, draws_BE),
        met_resolution=spread.iqr,
        met_resolution_error=spread.iqr_error,
        spectra=Spectra(
            jet=fill(jet.value_N, JET_RESPONSE),
            met=fill(difference_2E, MISSING_DIFFERENCE),
            momentum=fill(momentum.value_N, MOMENTUM_RESPONSE),
        ),
    )


def _event_sample(found_E: F64, truth_E: F64, least: float) -> Sample:
    """Return found / truth of the events whose truth is above `least`."""
    used = np.flatnonzero(truth_E > least)
    return Sample(found_E[used] / truth_E[used], used, np.ones(len(truth_E), np.int64))

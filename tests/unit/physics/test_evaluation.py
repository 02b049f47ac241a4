"""The physics of an evaluation on reconstructions that are known functions of the truth."""

import json

import numpy as np
import pytest
import synthetic

from mlpf_stream.config import PhysicsConfig
from mlpf_stream.errors import SchemaError
from mlpf_stream.event import Particles
from mlpf_stream.physics.evaluation import compare, paired_gain

SETTINGS = PhysicsConfig()


@pytest.fixture
def generator():
    rng = np.random.default_rng(8)
    return synthetic.particles(rng, rng.integers(0, 80, 200))


def scaled(particles, factor_P):
    momentum_PM = particles.momentum_PM.copy()
    momentum_PM[:, 0] *= factor_P
    momentum_PM[:, 4] *= factor_P
    return Particles(particles.class_P, particles.charge_P, momentum_PM, particles.offsets)


def smeared(particles, width, seed):
    factor_E = np.random.default_rng(seed).normal(1, width, particles.events)
    return scaled(particles, factor_E[particles.event_P])


def test_truth_judged_against_itself_is_perfect(generator):
    measures = compare(generator, {"target": generator}, SETTINGS)["target"]
    for summary in (measures.jet, measures.met, measures.momentum):
        assert summary.median == 1.0
        assert summary.iqr == 0.0
        assert summary.median_error == 0.0
    assert measures.jet.matched_fraction == 1.0
    assert measures.jet.count > 200
    assert measures.met_resolution == 0.0
    assert 0.5 < measures.met.matched_fraction < 1.0


def test_scale_is_seen_as_the_median(generator):
    measures = compare(generator, {"mlpf": scaled(generator, 1.1)}, SETTINGS)["mlpf"]
    assert measures.met.median == pytest.approx(1.1, rel=1e-5)
    assert measures.momentum.median == pytest.approx(1.1, rel=1e-5)
    assert measures.jet.median == pytest.approx(1.1, rel=1e-5)
    assert measures.jet.iqr == pytest.approx(0.0, abs=1e-5)
    assert measures.jet.matched_fraction == pytest.approx(1.0)
    assert measures.met_resolution > 0


def test_smearing_is_seen_as_the_width(generator):
    found = compare(generator, {"mlpf": smeared(generator, 0.1, 1)}, SETTINGS)["mlpf"]
    assert found.momentum.resolution == pytest.approx(0.1349, rel=0.2)
    assert 0 < found.momentum.resolution_error < 0.05


def test_lost_events_lower_the_matched_fraction(generator):
    half = generator.where(generator.event_P % 2 == 0)
    measures = compare(generator, {"mlpf": half}, SETTINGS)["mlpf"]
    assert measures.jet.matched_fraction == pytest.approx(0.5, abs=0.1)
    assert measures.jet.median == 1.0
    assert 0.01 < measures.jet.matched_fraction_error < 0.1


def test_gain_is_positive_when_the_first_is_better(generator):
    good, bad = smeared(generator, 0.05, 1), smeared(generator, 0.15, 2)
    gain = paired_gain(generator, good, bad, SETTINGS)
    assert gain.difference > 3 * gain.error > 0
    assert paired_gain(generator, good, good, SETTINGS).difference == 0.0


def test_nothing_reconstructed(generator):
    measures = compare(generator, {"mlpf": Particles.empty(generator.events)}, SETTINGS)["mlpf"]
    assert measures.jet.matched_fraction == 0.0
    assert measures.jet.count == 0
    assert measures.momentum.median == 0.0
    numbers = json.loads(json.dumps(measures.as_json(), allow_nan=False))
    assert numbers["jet"]["median"] is None
    assert numbers["met"]["resolution_gev"] > 0


def test_no_events():
    nothing = Particles.empty(0)
    measures = compare(nothing, {"mlpf": nothing}, SETTINGS)["mlpf"]
    assert measures.jet.count == 0


def test_other_number_of_events_is_refused(generator):
    with pytest.raises(SchemaError, match="'mlpf'"):
        compare(generator, {"mlpf": Particles.empty(3)}, SETTINGS)
    with pytest.raises(SchemaError, match="'second'"):
        paired_gain(generator, generator, Particles.empty(3), SETTINGS)

"""Jets of hand-made events, and a silent standard output."""

import subprocess
import sys

import numpy as np
import pytest

from mlpf_stream.errors import EventError
from mlpf_stream.event import Particles, offsets_of
from mlpf_stream.physics.jets import JetSettings, cluster_jets

SETTINGS = JetSettings(radius=0.7, power=-1.0, min_pt=5.0)


def particles(events):
    """Build from (pt, eta, phi) of massless particles per event."""
    rows = [
        (pt, eta, np.sin(phi), np.cos(phi), pt * np.cosh(eta))
        for event in events
        for pt, eta, phi in event
    ]
    count = len(rows)
    return Particles(
        np.ones(count, np.int8),
        np.zeros(count, np.int8),
        np.array(rows, np.float32).reshape(-1, 5),
        offsets_of(np.array([len(event) for event in events])),
    )


def test_two_back_to_back_jets():
    jets = cluster_jets(
        particles([[(20, 0.0, 0.1), (10, 0.05, 0.0), (30, 0.0, np.pi), (1, 0.1, -3.1)]]), SETTINGS
    )
    assert jets.counts.tolist() == [2]
    np.testing.assert_allclose(jets.pt, [31.0, 30.0], rtol=2e-3)
    np.testing.assert_allclose(np.abs(jets.phi), [np.pi, 0.067], atol=5e-3)
    np.testing.assert_allclose(jets.eta, [0.003, 0.0167], atol=2e-3)
    np.testing.assert_allclose(jets.energy.sum(), 61.0, rtol=1e-3)


def test_radius_decides_what_belongs_together():
    pair = particles([[(20, 0.0, 0.0), (20, 0.0, 0.6)]])
    assert cluster_jets(pair, SETTINGS).counts.tolist() == [1]
    assert cluster_jets(pair, JetSettings(0.4, -1.0, 5.0)).counts.tolist() == [2]


def test_soft_jets_are_cut():
    soft = particles([[(4.9, 0.0, 0.0), (5.1, 0.0, 2.0)]])
    assert cluster_jets(soft, SETTINGS).pt == pytest.approx([5.1], rel=1e-6)


def test_jets_fall_in_pt_within_each_event_and_empty_events_have_none():
    jets = cluster_jets(
        particles([[], [(10, 0, 0.0), (30, 0, 2.0)], [], [(50, 0, 0.0)], []]), SETTINGS
    )
    assert jets.counts.tolist() == [0, 2, 0, 1, 0]
    assert jets.event_J.tolist() == [1, 1, 3]
    np.testing.assert_allclose(jets.pt, [30, 10, 50], rtol=1e-6)


@pytest.mark.parametrize("events", [0, 1, 3])
def test_no_particles_at_all(events):
    jets = cluster_jets(Particles.empty(events), SETTINGS)
    assert jets.events == events
    assert jets.pt.shape == (0,)


def test_particle_without_momentum_belongs_to_no_jet():
    jets = cluster_jets(particles([[(0, 0, 0), (20, 0, 1)], [(0, 0, 0)]]), SETTINGS)
    assert jets.counts.tolist() == [1, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_momentum_that_is_not_finite_names_the_event(bad):
    events = particles([[(20, 0, 1)], [(20, 0, 1)]])
    events.momentum_PM[1, 0] = bad
    with pytest.raises(EventError, match=r"event 1 .*finite"):
        cluster_jets(events, SETTINGS)


def test_standard_output_stays_empty():
    code = (
        "import numpy as np\n"
        "from mlpf_stream.event import Particles\n"
        "from mlpf_stream.physics.jets import JetSettings, cluster_jets\n"
        "p = Particles(np.ones(1, np.int8), np.zeros(1, np.int8),\n"
        "    np.array([[20, 0, 0, 1, 20]], np.float32), np.array([0, 1]))\n"
        "assert len(cluster_jets(p, JetSettings()).pt) == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b""
    assert done.stderr == b""

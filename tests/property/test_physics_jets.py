"""Jets and sums keep momentum; matching is one to one."""

import numpy as np
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.event import Particles, offsets_of
from mlpf_stream.physics.four_momenta import four_momenta
from mlpf_stream.physics.jets import Jets, JetSettings, cluster_jets
from mlpf_stream.physics.missing import missing_momentum
from mlpf_stream.physics.response import match_jets

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@settings(deadline=None)
@given(seed=SEEDS, counts=COUNTS, radius=st.floats(0.1, 1.5))
def test_inclusive_jets_hold_all_momentum(seed, counts, radius):
    particles = synthetic.particles(np.random.default_rng(seed), counts)
    jets = cluster_jets(particles, JetSettings(radius, -1.0, 0.0))
    event_E = np.bincount(particles.event_P, four_momenta(particles).energy, len(counts))
    np.testing.assert_allclose(
        np.bincount(jets.event_J, jets.energy, len(counts)), event_E, rtol=1e-6
    )
    px = np.bincount(jets.event_J, jets.pt * np.cos(jets.phi), len(counts))
    np.testing.assert_allclose(-px, missing_momentum(particles).px, atol=1e-6 * event_E.max())


@settings(deadline=None)
@given(seed=SEEDS, counts=COUNTS)
def test_the_order_of_events_does_not_matter(seed, counts):
    particles = synthetic.particles(np.random.default_rng(seed), counts)
    whole = cluster_jets(particles, JetSettings())
    turned = cluster_jets(particles.select(np.arange(len(counts))[::-1]), JetSettings())
    assert turned.counts.tolist() == whole.counts.tolist()[::-1]
    np.testing.assert_allclose(np.sort(turned.pt), np.sort(whole.pt))


def random_jets(rng, counts):
    total = int(sum(counts))
    pt = rng.exponential(30, total)
    eta, phi = rng.normal(0, 0.3, total), rng.uniform(-np.pi, np.pi, total) * 0.2
    return Jets(pt, eta, phi, pt * np.cosh(eta), offsets_of(np.asarray(counts, np.int64)))


def one_by_one(reco, gen, radius):
    """Return the greedy matching in the plainest way: nearest pair of all, again and again."""
    pairs = []
    for i, event in enumerate(reco.event_J):
        for j in np.flatnonzero(gen.event_J == event):
            turn = (reco.phi[i] - gen.phi[j] + np.pi) % (2 * np.pi) - np.pi
            pairs.append((np.hypot(reco.eta[i] - gen.eta[j], turn), i, int(j)))
    chosen = []
    for distance, i, j in sorted(pairs):
        if distance < radius and all(i != a and j != b for a, b in chosen):
            chosen.append((i, j))
    return sorted(chosen, key=lambda pair: pair[1])


@settings(deadline=None)
@given(
    seed=SEEDS,
    counts=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=4),
    radius=st.floats(0.05, 1.0),
)
def test_matching_is_nearest_first_and_one_to_one(seed, counts, radius):
    rng = np.random.default_rng(seed)
    reco = random_jets(rng, [pair[0] for pair in counts])
    gen = random_jets(rng, [pair[1] for pair in counts])
    matches = match_jets(reco, gen, radius)
    assert len(set(matches.reco_M.tolist())) == len(matches.reco_M)
    assert len(set(matches.gen_M.tolist())) == len(matches.gen_M)
    found = list(zip(matches.reco_M.tolist(), matches.gen_M.tolist(), strict=True))
    assert found == one_by_one(reco, gen, radius)


def test_particles_of_no_energy_are_harmless():
    nothing = Particles(
        np.ones(2, np.int8), np.zeros(2, np.int8), np.zeros((2, 5), np.float32), np.array([0, 2])
    )
    assert len(cluster_jets(nothing, JetSettings(0.7, -1.0, 0.0)).pt) == 0

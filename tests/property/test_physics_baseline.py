"""The baseline uses every element at most once and invents no energy."""

import numpy as np
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.columns import CLUSTER, DETECTORS, TRACK
from mlpf_stream.event import Elements, Events, Particles
from mlpf_stream.physics.baseline import reconstruct


def random_events(rng, tracks, clusters):
    """Build tracks of one jet and clusters near them, so that links, surpluses, deficits occur."""
    track = synthetic.elements(rng, TRACK, tracks)
    cluster = synthetic.elements(rng, CLUSTER, clusters)
    x_RF = cluster.x_RF
    total = len(x_RF)
    phi, slope = rng.normal(0, 0.1, total), rng.normal(0, 0.1, total)
    depth = 1500 + rng.uniform(0, 1500, total)
    columns = {"x": depth * np.cos(phi), "y": depth * np.sin(phi), "z": depth * slope}
    columns["energy"] = rng.lognormal(0.5, 1.2, total)
    share = rng.choice([0.0, 0.5, 1.0], total)
    columns["energy_ecal"] = columns["energy"] * share
    columns["energy_hcal"] = columns["energy"] * (1 - share)
    columns["energy_other"] = rng.choice([0.0, 0.1], total)
    for name, values in columns.items():
        x_RF[:, CLUSTER.index(name)] = values
    t_RF, count = track.x_RF, len(track.x_RF)
    phi, slope = rng.normal(0, 0.1, count), rng.normal(0, 0.1, count)
    p = rng.lognormal(1.0, 1.2, count)
    pt = p / np.hypot(1, slope)
    columns = {
        "p": p,
        "pt": pt,
        "eta": np.arcsinh(slope),
        "sin_phi": np.sin(phi),
        "cos_phi": np.cos(phi),
        "tan_lambda": slope,
        "omega": rng.choice([-1, 1], count) * 1.2e-3 / pt,
        "d0": 0,
        "z0": 0,
        "ndf": rng.integers(1, 30, count),
        "chi2": 20,
    }
    for name, values in columns.items():
        t_RF[:, TRACK.index(name)] = values
    return Events(
        tuple(f"hand-0-{i}" for i in range(len(tracks))),
        {"track": track, "cluster": cluster},
        Particles.empty(len(tracks)),
        Particles.empty(len(tracks)),
    )


CASES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 25)), min_size=1, max_size=4)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=CASES)
def test_elements_are_used_once_and_energy_is_not_counted_twice(seed, sizes):
    events = random_events(np.random.default_rng(seed), *map(list, zip(*sizes, strict=True)))
    found = reconstruct(events, DETECTORS["clic"])
    assert found.particles.events == len(sizes)
    assert found.clusters.events == len(found.track_P) == len(found.particles.class_P)
    energy = found.particles.column("energy").astype(float)
    assert np.isfinite(found.particles.momentum_PM).all()
    for event, (tracks, clusters) in enumerate(sizes):
        rows = range(*found.particles.offsets[event : event + 2])
        used_tracks = [found.track_P[row] for row in rows if found.track_P[row] >= 0]
        used_clusters = [int(c) for row in rows for c in found.clusters[row]]
        assert len(set(used_tracks)) == len(used_tracks)
        assert len(set(used_clusters)) == len(used_clusters)
        assert all(0 <= track < tracks for track in used_tracks)
        assert all(0 <= cluster < clusters for cluster in used_clusters)
        # A neutral candidate carries at most the energy of the clusters that were measured.
        part = events.elements["cluster"]
        measured = part.x_RF[part.offsets[event] : part.offsets[event + 1]]
        neutral = sum(energy[row] for row in rows if found.track_P[row] < 0)
        assert neutral <= measured[:, CLUSTER.index("energy")].sum() * (1 + 1e-5)
        for row in rows:
            charged = found.track_P[row] >= 0
            assert (found.particles.charge_P[row] != 0) == charged


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), sizes=CASES)
def test_an_event_does_not_depend_on_its_neighbours_nor_on_targets(seed, sizes):
    rng = np.random.default_rng(seed)
    events = random_events(rng, *map(list, zip(*sizes, strict=True)))
    together = reconstruct(events, DETECTORS["clic"]).particles
    last = np.array([len(sizes) - 1])
    alone = events.select(last)
    blank = {
        name: Elements(
            part.x_RF,
            np.zeros_like(part.class_R),
            np.zeros_like(part.charge_R),
            np.zeros_like(part.momentum_RM),
            np.full_like(part.particle_R, -1),
            part.offsets,
        )
        for name, part in alone.elements.items()
    }
    found = reconstruct(
        Events(alone.keys, blank, alone.generator, alone.candidates), DETECTORS["clic"]
    ).particles
    expected = together.select(last)
    np.testing.assert_array_equal(found.class_P, expected.class_P)
    np.testing.assert_array_equal(found.momentum_PM, expected.momentum_PM)

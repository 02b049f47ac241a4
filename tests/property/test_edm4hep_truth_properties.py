"""Random truth graphs: every deposit is accounted for, every element hosts at most one particle."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.columns import DETECTORS, NO_PARTICLE, UNLINKED
from mlpf_stream.edm4hep import leaves
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.targets import build_targets
from mlpf_stream.event import Jagged


def rows(values, counts, dtype):
    return Jagged.from_counts(np.asarray(values, dtype), counts)


def random_links(rng, name, from_counts, to_counts):
    """Link about half of the elements to one to three particles of their event."""
    found, counts = [], []
    for elements, particles in zip(from_counts, to_counts, strict=True):
        links = [
            (element, rng.integers(-1, particles), rng.choice([0.0, 0.05, 0.3, 1.0]))
            for element in range(elements)
            for _ in range(rng.integers(0, 4))
        ]
        found += links
        counts.append(len(links))
    table = np.array(found, float).reshape(-1, 3)
    return {
        f"_{name}_from.index": rows(table[:, 0], counts, "int32"),
        f"_{name}_to.index": rows(table[:, 1], counts, "int32"),
        f"{name}.weight": rows(table[:, 2], counts, "float32"),
    }


def random_graph(seed, events):
    """Return events with random particles, any graph of daughters, and random links."""
    rng = np.random.default_rng(seed)
    particles = rng.integers(0, 14, events).tolist()
    tracks, clusters = (rng.integers(0, 6, events).tolist() for _ in range(2))
    total = sum(particles)
    charge = rng.choice([-1, 0, 1], total)
    columns = {
        "PDG": (rng.choice([11, 12, 13, 22, 130, 211, 2112], total), "int32"),
        "generatorStatus": (rng.choice([0, 0, 1, 1, 2], total), "int32"),
        "simulatorStatus": (rng.choice([0, 1 << 24, 1 << 26], total), "int32"),
        "charge": (charge, "float32"),
        "mass": (rng.choice([0.0, 0.14], total), "float64"),
        **{f"momentum.{a}": (rng.normal(0, 5, total), "float64") for a in "xyz"},
    }
    stored = {f"MCParticles.{n}": rows(v, particles, d) for n, (v, d) in columns.items()}
    daughters = [rng.integers(0, 3, count) if count else np.zeros(0, int) for count in particles]
    ends = [np.cumsum(part) for part in daughters]
    begins = [end - part for end, part in zip(ends, daughters, strict=True)]
    related = [
        rng.integers(0, max(n, 1), part.sum()) for n, part in zip(particles, daughters, strict=True)
    ]
    for name, parts in (("begin", begins), ("end", ends)):
        stored[f"MCParticles.daughters_{name}"] = rows(np.concatenate(parts), particles, "uint32")
    counts = [len(part) for part in related]
    stored["_MCParticles_daughters.index"] = rows(np.concatenate(related), counts, "int32")
    stored["SiTracks_Refitted.chi2"] = rows(np.ones(sum(tracks)), tracks, "float32")
    energy = rng.exponential(3.0, sum(clusters))
    stored["PandoraClusters.energy"] = rows(energy, clusters, "float32")
    stored |= random_links(rng, leaves.TRACK_LINKS, tracks, particles)
    stored |= random_links(rng, leaves.CLUSTER_LINKS, clusters, particles)
    return Collections(f"graph {seed}", events, stored, {}), sum(tracks)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_random_graphs_are_accounted_for(seed, events):
    collections, tracks = random_graph(seed, events)
    # Raises where the energy of clusters or of particles does not balance.
    truth = build_targets(collections, DETECTORS["clic"], np.ones(tracks, np.int8))
    track, cluster = truth.arrays["track"], truth.arrays["cluster"]
    counts = truth.counts

    hosting = sum(int((part.class_R > 0).sum()) for part in (track, cluster))
    assert hosting == counts.targets.sum()
    unlinked_R = track.class_R == UNLINKED
    assert unlinked_R.sum() == counts.unlinked_tracks.sum()
    assert (track.particle_R[unlinked_R] == NO_PARTICLE).all()

    for part, leaf in ((track, "SiTracks_Refitted.chi2"), (cluster, "PandoraClusters.energy")):
        event_R = np.repeat(np.arange(events), collections[leaf].counts)
        generators_R = truth.generator.counts[event_R]
        assert (part.particle_R < generators_R).all()
        assert (part.particle_R[part.class_R > 0] >= 0).all()
        empty_R = part.class_R <= 0
        assert not part.momentum_RM[empty_R].any()
        assert not part.charge_R[empty_R].any()
        # No particle sits on two elements of a kind.
        hosts = np.stack([event_R, part.particle_R], axis=1)[part.class_R > 0]
        assert len(np.unique(hosts, axis=0)) == len(hosts)
    assert not cluster.charge_R.any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_an_event_has_the_same_truth_alone_and_among_others(seed, events):
    collections, _ = random_graph(seed, events)
    track_offsets = collections["SiTracks_Refitted.chi2"].offsets
    charge_R = np.where(np.arange(track_offsets[-1]) % 2, 1, -1).astype(np.int8)
    together = build_targets(collections, DETECTORS["clic"], charge_R)
    for event in range(events):
        alone = Collections(
            "alone",
            1,
            {name: part.select(np.array([event])) for name, part in collections.leaves.items()},
            {},
        )
        here = charge_R[track_offsets[event] : track_offsets[event + 1]]
        truth = build_targets(alone, DETECTORS["clic"], here)
        for kind, leaf in (
            ("track", "SiTracks_Refitted.chi2"),
            ("cluster", "PandoraClusters.energy"),
        ):
            offsets = collections[leaf].offsets
            for name in ("class_R", "charge_R", "momentum_RM", "particle_R"):
                expected = getattr(together.arrays[kind], name)[offsets[event] : offsets[event + 1]]
                np.testing.assert_array_equal(getattr(truth.arrays[kind], name), expected)

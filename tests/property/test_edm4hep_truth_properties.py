"""Random truth graphs: every deposit is accounted for, every element hosts at most one particle."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpf_stream.columns import CLUSTER, DETECTORS, HIT, NO_PARTICLE, UNLINKED
from mlpf_stream.edm4hep import leaves
from mlpf_stream.edm4hep.assignment import MIN_DEPOSIT_SHARE, MIN_TRACK_WEIGHT, assign
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.pairs import Columns, Pairs, add_up
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
    """Return events with random particles, any graph of daughters, and random links.

    Two collections of hits have links of their own; clusters have theirs.
    """
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
    numbers = {"ECALBarrel": 7, "MUON": 9}
    hits = {name: rng.integers(0, 7, events).tolist() for name in numbers}
    for name, counts in hits.items():
        stored[f"{name}.energy"] = rows(rng.exponential(0.5, sum(counts)), counts, "float32")
    stored |= random_hit_links(rng, hits, particles, numbers)
    return Collections(f"graph {seed}", events, stored, numbers), sum(tracks)


def random_hit_links(rng, hits, particles, numbers):
    """Link the hits of all collections; what a link comes from is told by its collection id."""
    parts = {
        name: random_links(rng, leaves.HIT_LINKS, counts, particles)
        for name, counts in hits.items()
    }
    joined = {}
    for leaf, first in next(iter(parts.values())).items():
        of_event = [
            np.concatenate([part[leaf][event] for part in parts.values()])
            for event in range(first.events)
        ]
        joined[leaf] = Jagged.from_counts(np.concatenate(of_event), [len(x) for x in of_event])
    ids = [
        np.repeat(list(numbers.values()), [len(part[leaf][event]) for part in parts.values()])
        for event in range(first.events)
    ]
    name = f"_{leaves.HIT_LINKS}_from.collectionID"
    joined[name] = Jagged.from_counts(np.concatenate(ids).astype("uint32"), list(map(len, ids)))
    return joined


def element_offsets(collections, kind):
    """Return where the elements of a kind begin in every event."""
    if kind == "hit":
        counts = sum(collections[f"{name}.energy"].counts for name in ("ECALBarrel", "MUON"))
        return np.concatenate([[0], np.cumsum(counts)])
    leaf = "SiTracks_Refitted.chi2" if kind == "track" else "PandoraClusters.energy"
    return collections[leaf].offsets


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from(["clusters", "hits"]))
def test_random_graphs_are_accounted_for(seed, events, mode):
    collections, tracks = random_graph(seed, events)
    # Raises where the energy of clusters, hits or particles does not balance.
    truth = build_targets(collections, DETECTORS["clic"], np.ones(tracks, np.int8), mode)
    other = "cluster" if mode == "clusters" else "hit"
    track, deposit = truth.arrays["track"], truth.arrays[other]
    counts = truth.counts

    hosting = sum(int((part.class_R > 0).sum()) for part in (track, deposit))
    assert hosting == counts.targets.sum()
    unlinked_R = track.class_R == UNLINKED
    assert unlinked_R.sum() == counts.unlinked_tracks.sum()
    assert (track.particle_R[unlinked_R] == NO_PARTICLE).all()

    for kind, part in truth.arrays.items():
        event_R = np.repeat(np.arange(events), np.diff(element_offsets(collections, kind)))
        generators_R = truth.generator.counts[event_R]
        assert (part.particle_R < generators_R).all()
        assert (part.particle_R[part.class_R > 0] >= 0).all()
        empty_R = part.class_R <= 0
        assert not part.momentum_RM[empty_R].any()
        assert not part.charge_R[empty_R].any()
        # No particle sits on two elements of a kind.
        hosts = np.stack([event_R, part.particle_R], axis=1)[part.class_R > 0]
        assert len(np.unique(hosts, axis=0)) == len(hosts)
    assert not deposit.charge_R.any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from(["clusters", "hits"]))
def test_an_event_has_the_same_truth_alone_and_among_others(seed, events, mode):
    collections, _ = random_graph(seed, events)
    track_offsets = element_offsets(collections, "track")
    charge_R = np.where(np.arange(track_offsets[-1]) % 2, 1, -1).astype(np.int8)
    together = build_targets(collections, DETECTORS["clic"], charge_R, mode)
    for event in range(events):
        alone = Collections(
            "alone",
            1,
            {name: part.select(np.array([event])) for name, part in collections.leaves.items()},
            collections.ids,
        )
        here = charge_R[track_offsets[event] : track_offsets[event + 1]]
        truth = build_targets(alone, DETECTORS["clic"], here, mode)
        for kind, part in truth.arrays.items():
            offsets = element_offsets(collections, kind)
            for name in ("class_R", "charge_R", "momentum_RM", "particle_R"):
                expected = getattr(together.arrays[kind], name)[offsets[event] : offsets[event + 1]]
                np.testing.assert_array_equal(getattr(part, name), expected)


def serve_one_by_one(visible, tracks, deposits, kind):
    """Serve particles in turn, as the definition reads: (track, deposit, into) of each."""
    used, owner, served = set(), {}, []
    for place, particle in enumerate(visible.tolist()):
        best = sorted((-w, t) for p, t, w in tracks if p == particle and w >= MIN_TRACK_WEIGHT)
        track = next((t for _, t in best if t not in used), -1)
        own = [(w, d) for p, d, w in deposits if p == particle]
        most = max((w for w, _ in own), default=0.0)
        total = sum(w for w, _ in own) if kind is CLUSTER else most
        least = min(MIN_DEPOSIT_SHARE * total, most)
        able = [d for w, d in sorted((-w, d) for w, d in own) if -w >= least and -w > 0]
        deposit = next((d for d in able if d not in owner), -1) if track < 0 else -1
        into = owner[able[0]] if track < 0 and deposit < 0 and able else -1
        used.add(track)
        if deposit >= 0:
            owner[deposit] = place
        served.append((track, deposit, into))
    return served


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([CLUSTER, HIT]))
def test_particles_are_served_in_turn(seed, kind):
    rng = np.random.default_rng(seed)
    particles = int(rng.integers(1, 12))

    def pairs(values):
        chosen = rng.random((particles, int(rng.integers(1, 9)))) < rng.uniform(0.1, 0.9)
        particle, element = np.nonzero(chosen)
        value = rng.choice(values, len(particle))
        return Pairs(particle, element, value, np.array([0, len(particle)]))

    tracks = pairs([0.1, 0.2, 0.5, 1.0])
    deposits = pairs([0.0, 0.125, 0.5, 1.0, 4.0])
    visible = rng.permutation(particles)[: rng.integers(1, particles + 1)]
    found = assign(visible, tracks, deposits, kind)
    told = [
        list(zip(*(x.tolist() for x in (p.particle_K, p.element_K, p.value_K)), strict=True))
        for p in (tracks, deposits)
    ]
    expected = serve_one_by_one(visible, *told, kind)
    assert list(zip(found.track_V, found.deposit_V, found.into_V, strict=True)) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_contributions_are_added_up_by_owner_and_element(seed):
    rng = np.random.default_rng(seed)
    particles, elements, parts, events = (int(rng.integers(1, most)) for most in (9, 6, 60, 4))
    owner_N = rng.integers(-1, particles, particles)
    event_N = rng.integers(0, events, particles)
    particle_K, element_K = rng.integers(0, particles, parts), rng.integers(0, elements, parts)
    value_K = rng.integers(1, 9, parts).astype(np.float64)
    found = add_up(Columns(particle_K, element_K, value_K), owner_N, event_N, events)
    expected = [{} for _ in range(events)]
    for particle, element, value in zip(particle_K, element_K, value_K, strict=True):
        if (owner := owner_N[particle]) >= 0:
            sums = expected[event_N[owner]]
            sums[owner, element] = sums.get((owner, element), 0) + value
    pairs = zip(found.particle_K, found.element_K, strict=True)
    assert list(pairs) == [pair for sums in expected for pair in sums]
    assert found.value_K.tolist() == [value for sums in expected for value in sums.values()]
    assert np.diff(found.offsets).tolist() == [len(sums) for sums in expected]

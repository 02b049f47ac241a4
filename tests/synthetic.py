"""Random but well-formed events for tests: no physics, right shapes."""

import numpy as np

from mlpf_stream.columns import MODE_KINDS, NO_PARTICLE, TRACK
from mlpf_stream.event import Elements, Events, Particles, offsets_of


def momenta(rng, count):
    phi = rng.uniform(-np.pi, np.pi, count)
    pt = rng.lognormal(0.5, 1.0, count)
    eta = rng.uniform(-2.5, 2.5, count)
    energy = pt * np.cosh(eta)
    return np.stack([pt, eta, np.sin(phi), np.cos(phi), energy], axis=1).astype(np.float32)


def particles(rng, counts):
    total = int(np.sum(counts))
    return Particles(
        rng.integers(1, 6, total).astype(np.int8),
        rng.integers(-1, 2, total).astype(np.int8),
        momenta(rng, total),
        offsets_of(np.asarray(counts, np.int64)),
    )


def elements(rng, kind, counts):
    total = int(np.sum(counts))
    x_RF = rng.normal(size=(total, kind.width)).astype(np.float32)
    momentum = momenta(rng, total)
    x_RF[:, kind.index("elemtype")] = kind.code
    x_RF[:, kind.index("eta")] = momentum[:, 1]
    x_RF[:, kind.index("sin_phi")] = momentum[:, 2]
    x_RF[:, kind.index("cos_phi")] = momentum[:, 3]
    if kind is TRACK:
        x_RF[:, kind.index("pt")] = momentum[:, 0]
        x_RF[:, kind.index("p")] = momentum[:, 4]
        x_RF[:, kind.index("omega")] = 0.0012 / momentum[:, 0] * rng.choice([-1, 1], total)
        x_RF[:, kind.index("tan_lambda")] = np.sinh(momentum[:, 1])
    else:
        x_RF[:, kind.index("et")] = momentum[:, 0]
        x_RF[:, kind.index("energy")] = momentum[:, 4]
        for name, value in zip(
            "xyz", (momentum[:, 3], momentum[:, 2], np.sinh(momentum[:, 1])), strict=True
        ):
            x_RF[:, kind.index(name)] = 1500 * value
    class_R = rng.integers(0, 6, total).astype(np.int8)
    momentum[class_R == 0] = 0.0
    return Elements(
        x_RF,
        class_R,
        np.where(class_R > 0, rng.integers(-1, 2, total), 0).astype(np.int8),
        momentum,
        np.full(total, NO_PARTICLE, np.int32),
        offsets_of(np.asarray(counts, np.int64)),
    )


def make_events(seed, tracks, others, process="ttbar", mode="clusters"):
    """Return len(tracks) events with so many tracks, and clusters or hits, each."""
    rng = np.random.default_rng(seed)
    file_id = f"{seed:012x}"
    return Events(
        tuple(f"{process}-{file_id}-{entry}" for entry in range(len(tracks))),
        {
            kind.name: elements(rng, kind, tracks if kind is TRACK else others)
            for kind in MODE_KINDS[mode]
        },
        particles(rng, rng.integers(0, 9, len(tracks))),
        particles(rng, rng.integers(0, 9, len(tracks))),
    )

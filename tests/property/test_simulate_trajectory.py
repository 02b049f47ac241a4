"""Paths end on the surface that they are asked for, and neighbours are found without gaps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlpf_stream.columns import DETECTORS
from mlpf_stream.event import offsets_of
from mlpf_stream.simulate.nearby import close_pairs
from mlpf_stream.simulate.trajectory import Trajectory

CLIC = DETECTORS["clic"]
COORDINATE = st.floats(-20.0, 20.0)
CURVATURES = st.one_of(st.just(0.0), st.floats(1e-6, 1e-2), st.floats(-1e-2, -1e-6))


@given(
    start=st.tuples(COORDINATE, COORDINATE, COORDINATE),
    phi=st.floats(-3.1, 3.1),
    omega=CURVATURES,
    slope=st.floats(-5.0, 5.0),
)
def test_arrival_is_on_the_face_and_not_beyond(start, phi, omega, slope):
    one = np.ones(1)
    path = Trajectory(np.array([start]), phi * one, omega * one, slope * one)
    arc = path.to_calorimeter(CLIC)
    if not np.isfinite(arc[0]):
        return
    point, _ = path.at(arc)
    radius, z = np.hypot(point[0, 0], point[0, 1]), abs(point[0, 2])
    near_barrel = abs(radius - CLIC.barrel_radius) < 0.01
    near_endcap = abs(z - CLIC.endcap_z) < 0.01
    assert near_barrel or near_endcap
    assert radius < CLIC.barrel_radius + 0.01
    assert z < CLIC.endcap_z + 0.01


@given(
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    seed=st.integers(0, 2**32 - 1),
    reach=st.floats(0.1, 3.0),
)
def test_close_pairs_are_those_of_brute_force(counts, seed, reach):
    random = np.random.default_rng(seed)
    offsets = offsets_of(np.array(counts, dtype=np.int64))
    point = random.normal(size=(offsets[-1], 3))
    reaches = random.uniform(0.1, reach, offsets[-1])
    expected = {
        (i, j)
        for e in range(len(counts))
        for i in range(offsets[e], offsets[e + 1])
        for j in range(i + 1, offsets[e + 1])
        if np.linalg.norm(point[i] - point[j]) < (reaches[i] + reaches[j]) / 2
    }
    found = close_pairs(point, reaches, offsets)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == expected

"""Extrapolation is finite and lands on the face for any track."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlpf_stream.columns import DETECTORS, TRACK
from mlpf_stream.physics.helix import track_impacts

ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.tuples(*[ANY] * 6))
def test_any_finite_track_has_a_finite_impact(values):
    features = np.zeros((1, TRACK.width), np.float32)
    names = ("sin_phi", "cos_phi", "tan_lambda", "d0", "omega", "z0")
    for name, value in zip(names, values, strict=True):
        features[0, TRACK.index(name)] = value
    found = track_impacts(features, DETECTORS["clic"])
    assert np.isfinite(found.point_R3).all()
    assert np.isfinite(found.direction_R3).all()
    assert np.isfinite(found.bend_R3).all()


@given(
    phi=st.floats(-3.1, 3.1),
    slope=st.floats(-5, 5),
    omega=st.floats(-0.01, 0.01),
    d0=st.floats(-50, 50),
    z0=st.floats(-50, 50),
)
def test_tracks_land_on_the_face_or_inside_it(phi, slope, omega, d0, z0):
    features = np.zeros((1, TRACK.width), np.float32)
    given_values = {
        "sin_phi": np.sin(phi), "cos_phi": np.cos(phi), "tan_lambda": slope,
        "omega": omega, "d0": d0, "z0": z0,
    }  # fmt: skip
    for name, value in given_values.items():
        features[0, TRACK.index(name)] = value
    detector = DETECTORS["clic"]
    x, y, z = track_impacts(features, detector).point_R3[0]
    assert np.hypot(x, y) <= detector.barrel_radius + 1e-3
    assert abs(z) <= detector.endcap_z + 1e-3
    on_barrel = abs(np.hypot(x, y) - detector.barrel_radius) < 1e-3
    on_endcap = abs(abs(z) - detector.endcap_z) < 1e-3
    curls_inside = abs(d0) + 2 / max(abs(omega), 1e-9) < detector.barrel_radius
    assert on_barrel or on_endcap or (curls_inside and abs(slope) < 0.05)

"""Extrapolation of tracks against closed forms and against real track states."""

import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS, TRACK, Detector
from mlpf_stream.physics.helix import impact_points, track_impacts

CLIC = DETECTORS["clic"]


def track(**features):
    values = {"cos_phi": 1.0, **features}
    return np.array([[values.get(name, 0.0) for name in TRACK.names]], np.float32)


def angle(phi):
    return {"sin_phi": np.sin(phi), "cos_phi": np.cos(phi)}


def test_straight_track_hits_the_barrel_ahead():
    point = impact_points(track(**angle(0.7), tan_lambda=0.5, z0=10.0), CLIC)[0]
    expected = [1500 * np.cos(0.7), 1500 * np.sin(0.7), 10 + 0.5 * 1500]
    np.testing.assert_allclose(point, expected, rtol=1e-6)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_straight_forward_track_hits_the_endcap_of_its_side(side):
    point = impact_points(track(**angle(-2.0), tan_lambda=side * 4.0), CLIC)[0]
    assert point[2] == pytest.approx(side * 2307.0)
    assert np.hypot(*point[:2]) == pytest.approx(2307.0 / 4.0, rel=1e-6)


@pytest.mark.parametrize("charge", [1, -1])
def test_positive_charge_turns_clockwise_on_a_circle_of_the_right_radius(charge):
    radius = 2000.0
    found = track_impacts(track(omega=charge / radius), CLIC)
    x, y, z = found.point_R3[0]
    # Two circles: distance R from the axis, distance `radius` from (0, -charge radius).
    assert np.hypot(x, y) == pytest.approx(1500.0)
    assert np.hypot(x, y + charge * radius) == pytest.approx(radius)
    assert np.sign(y) == -charge
    assert z == 0.0
    # The tangent is perpendicular to the radius of the circle.
    direction = found.direction_R3[0]
    assert direction @ [x, y + charge * radius, 0.0] == pytest.approx(0.0, abs=1e-3)
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    # The bend points to the centre of the circle and is its curvature.
    np.testing.assert_allclose(
        found.bend_R3[0], np.array([-x, -charge * radius - y, 0]) / radius**2, atol=1e-12
    )


def test_track_is_followed_from_its_displaced_closest_approach():
    point = impact_points(track(**angle(0.0), d0=100.0), CLIC)[0]
    np.testing.assert_allclose(point, [np.sqrt(1500.0**2 - 100.0**2), 100.0, 0.0], rtol=1e-6)


def test_looper_reaches_the_endcap():
    pitch = 0.3
    features = track(omega=1 / 400.0, tan_lambda=pitch)
    found = track_impacts(features, CLIC)
    x, y, z = found.point_R3[0]
    assert z == pytest.approx(2307.0)
    assert np.hypot(x, y) < 800.0
    turn = np.float64(features[0, TRACK.index("omega")]) * 2307.0 / np.float64(np.float32(pitch))
    assert x == pytest.approx(400.0 * np.sin(turn), abs=0.1)


def test_looper_without_pitch_stops_at_its_farthest_point():
    point = impact_points(track(omega=1 / 400.0), CLIC)[0]
    np.testing.assert_allclose(point, [0.0, -800.0, 0.0], atol=1e-3)


def test_no_track_gives_no_point():
    assert impact_points(np.zeros((0, TRACK.width), np.float32), CLIC).shape == (0, 3)


@pytest.mark.realdata
def test_calorimeter_states_of_real_tracks_lie_on_the_extrapolation(edm4hep_files):
    """The file's face is a 12-fold polygon of apothem 2150 mm, endcaps at 2307 mm."""
    uproot = pytest.importorskip("uproot")
    name = "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"
    states = "_SiTracks_Refitted_trackStates"
    columns = ["location", "phi", "D0", "omega", "Z0", "tanLambda"]
    columns += [f"referencePoint.{axis}" for axis in "xyz"]
    with uproot.open(edm4hep_files / name) as file:
        tree = file["events"]
        table = {
            column: np.concatenate(tree[f"{states}/{states}.{column}"].array(library="np"))
            for column in columns
        }
    first = np.flatnonzero(table["location"] == 1)
    last = np.flatnonzero(table["location"] == 4)
    assert len(first) == len(last) > 200
    phi = table["phi"][first]
    features = np.concatenate(
        [
            track(**angle(a), d0=d0, omega=omega, z0=z0, tan_lambda=slope)
            for a, d0, omega, z0, slope in zip(
                phi,
                *(table[column][first] for column in ("D0", "omega", "Z0", "tanLambda")),
                strict=True,
            )
        ]
    )
    real = np.stack([table[f"referencePoint.{axis}"][last] for axis in "xyz"], axis=1)
    face = Detector("file", 2.0, 2150.0, 2307.0, ())
    found = track_impacts(features, face)
    away = real - found.point_R3
    along = (away * found.direction_R3).sum(axis=1)[:, None] * found.direction_R3
    lateral = np.linalg.norm(away - along, axis=1)
    stiff = np.abs(table["omega"][first]) < 0.3e-3 * 2.0  # pt above 1 GeV
    assert np.median(lateral[stiff]) < 0.5
    assert np.quantile(lateral[stiff], 0.9) < 5.0
    endcap = stiff & (np.abs(real[:, 2]) > 2306.9)
    assert np.median(np.linalg.norm(away[endcap], axis=1)) < 0.5

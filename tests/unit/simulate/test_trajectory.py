import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.simulate.trajectory import Trajectory

CLIC = DETECTORS["clic"]


@pytest.mark.parametrize("charge", [1.0, -1.0])
@pytest.mark.parametrize("pt", [1.0, 5.0, 90.0])
def test_helix_meets_the_barrel_at_the_expected_azimuth(record_of, charge, pt):
    path = Trajectory.of(record_of([[pt, 0.0, 0.0]], [charge]), CLIC.field)
    point, _ = path.at(path.to_calorimeter(CLIC))
    radius = pt / (2.99792458e-4 * CLIC.field)
    expected = -charge * np.arcsin(CLIC.barrel_radius / (2.0 * radius))
    assert np.arctan2(point[0, 1], point[0, 0]) == pytest.approx(expected, abs=1e-9)
    assert np.hypot(point[0, 0], point[0, 1]) == pytest.approx(CLIC.barrel_radius)


def test_omega_has_the_sign_of_the_charge(record_of):
    path = Trajectory.of(record_of([[1, 0, 0], [1, 0, 0]], [1, -1]), CLIC.field)
    assert path.omega_N[0] > 0 > path.omega_N[1]


def test_soft_particles_curl_into_the_endcap(record_of):
    path = Trajectory.of(record_of([[0.5, 0.0, 0.5], [0.5, 0.0, -0.5]], [1, -1]), CLIC.field)
    assert np.isinf(path.to_radius(CLIC.barrel_radius)).all()
    point, _ = path.at(path.to_calorimeter(CLIC))
    np.testing.assert_allclose(point[:, 2], [CLIC.endcap_z, -CLIC.endcap_z])


def test_a_looper_without_pitch_never_arrives(record_of):
    path = Trajectory.of(record_of([[0.3, 0.0, 0.0]], [1]), CLIC.field)
    assert np.isinf(path.to_calorimeter(CLIC)).all()


def test_what_starts_behind_the_face_is_there_already(record_of):
    path = Trajectory.of(record_of([[1.0, 0.0, 0.0]], [0], [[1600.0, 0.0, 0.0]]), CLIC.field)
    assert path.to_calorimeter(CLIC)[0] == 0.0


def test_neutral_particles_fly_straight(record_of):
    start = np.array([[100.0, -50.0, 20.0]])
    flight = np.array([[3.0, 4.0, 5.0]])
    path = Trajectory.of(record_of(flight, [0], start), CLIC.field)
    point, phi = path.at(path.to_calorimeter(CLIC))
    np.testing.assert_allclose(np.cross(point - start, flight), 0.0, atol=1e-6)
    assert phi[0] == pytest.approx(np.arctan2(4.0, 3.0))


def test_displaced_helix_has_its_closest_approach_at_the_axis_arc(record_of):
    path = Trajectory.of(record_of([[1.0, 0.3, 0.2]], [1], [[30.0, -10.0, 0.0]]), CLIC.field)
    arc = path.to_axis()
    distances = [np.hypot(*path.at(arc + step)[0][0, :2]) for step in (-5.0, -0.5, 0.0, 0.5, 5.0)]
    assert min(distances) == distances[2]

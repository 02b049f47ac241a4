from dataclasses import replace

import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.simulate.arrivals import arrive, birth_times
from mlpf_stream.simulate.cells import LIGHT, RESOLUTION, deposit
from mlpf_stream.simulate.geometry import ECAL_BARREL, SUBDETECTOR, YOKE
from mlpf_stream.simulate.record import DECAYED, SECONDARY
from mlpf_stream.simulate.showers import shower
from mlpf_stream.simulate.trajectory import Trajectory

CLIC = DETECTORS["clic"]
TURN = np.pi / 6.0


def around(pt, pz, count=360):
    """Return momenta of one size in all azimuths."""
    phi = np.linspace(-np.pi, np.pi, count, endpoint=False)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), np.full(count, pz)], axis=1)


def depth_of(point_N3):
    """Return the distance of points from the beam along the normal of their stave [mm]."""
    phi = np.arange(12) * TURN
    return (point_N3[:, :2] @ np.stack([np.cos(phi), np.sin(phi)])).max(axis=1)


@pytest.mark.parametrize(("pt", "charge"), [(5.0, 0.0), (5.0, 1.0), (0.95, -1.0)])
def test_particles_arrive_on_the_flat_faces_of_the_staves(record_of, pt, charge):
    found = arrive(record_of(around(pt, 1.0), np.full(360, charge)), CLIC)
    assert found.barrel_N.all()
    np.testing.assert_allclose(depth_of(found.entry_N3), ECAL_BARREL[0], atol=1e-6)
    # The cosine is that of the stave that is met.
    stave = np.round(np.arctan2(found.entry_N3[:, 1], found.entry_N3[:, 0]) / TURN) * TURN
    normal = np.stack([np.cos(stave), np.sin(stave)], axis=1)
    cosine = np.sum(normal * found.direction_N3[:, :2], axis=1)
    away_from_corner = np.abs(np.sin(6 * np.arctan2(*found.entry_N3.T[1::-1]))) < 0.999
    np.testing.assert_allclose(
        found.cosine_N[away_from_corner],
        np.clip(cosine, 0.05, 1.0)[away_from_corner],
        atol=1e-9,
    )


def test_neutral_particles_take_the_straight_way_at_their_speed(record_of):
    record = record_of(around(0.3, 0.2), np.zeros(360), pdg=2112)
    record = replace(record, mass_P=np.full(360, 0.939565))
    found = arrive(record, CLIC)
    assert len(found) == 360
    speed = LIGHT * np.hypot(0.3, 0.2) / np.hypot(np.hypot(0.3, 0.2), 0.939565)
    np.testing.assert_allclose(found.time_N, np.linalg.norm(found.entry_N3, axis=1) / speed)


@pytest.mark.parametrize("charge", [0.0, 1.0, -1.0])
def test_daughters_are_born_when_their_ancestors_have_flown(record_of, charge):
    record = record_of([[1.0, 0.2, 0.4], [0.5, 0.1, 0.2], [0.3, 0.0, 0.1]], [charge, 0, 0])
    path = Trajectory.of(record, CLIC.field)
    first = path.at(np.full(3, 900.0))[0][0]
    second = first + np.array([30.0, 40.0, 0.0])
    record = replace(
        record,
        vertex_P3=np.stack([np.zeros(3), first, second]),
        parent_P=np.array([-1, 0, 1]),
        status_P=np.array([DECAYED, DECAYED, SECONDARY], np.int32),
    )
    speed = LIGHT * np.linalg.norm(record.momentum_P3, axis=1) / record.energy_P
    along = 900.0 * np.hypot(1.0, path.tan_lambda_N[0])
    expected = np.cumsum([0.0, along / speed[0], 50.0 / speed[1]])
    np.testing.assert_allclose(birth_times(record, CLIC.field), expected, rtol=1e-9)


def test_a_looper_is_as_late_as_all_its_turns(record_of):
    record = record_of([[0.3, 0.0, 0.1], [0.1, 0.0, 0.0]], [1, 0])
    path = Trajectory.of(record, CLIC.field)
    arc = 3.3 * 2.0 * np.pi / path.omega_N[0]
    record = replace(
        record,
        vertex_P3=np.stack([np.zeros(3), path.at(np.full(2, arc))[0][0]]),
        parent_P=np.array([-1, 0]),
        status_P=np.array([DECAYED, SECONDARY], np.int32),
    )
    speed = LIGHT * np.linalg.norm(record.momentum_P3[0]) / record.energy_P[0]
    way = arc * np.hypot(1.0, path.tan_lambda_N[0])
    assert birth_times(record, CLIC.field)[1] == pytest.approx(way / speed, rel=1e-9)


def test_nothing_arrives_before_light(pions):
    found = arrive(pions.record, CLIC)
    light = np.linalg.norm(found.entry_N3, axis=1) / LIGHT
    # The collision is within some mm of the origin.
    assert (found.time_N > light - 0.03).all()
    assert (found.time_N > light + 1.0).any()


def test_hits_come_after_light_and_those_of_photons_with_it(pions, fire):
    # Hadrons bend, and the secondaries of their showers are slow.
    for simulated, middle, late in ((pions, 1.0, 20.0), (fire("gun-gamma", 200, 1), 0.1, 1.0)):
        cells = simulated.cells
        own = np.unique(cells.hit_K)
        after = cells.time_H[own] - np.linalg.norm(cells.position_H3[own], axis=1) / LIGHT
        assert after.min() > -6.0 * RESOLUTION
        assert abs(np.median(after)) < middle
        assert np.percentile(after, 95) < late


def test_what_flies_on_behind_the_face_stays_on_its_path(record_of):
    record = record_of(around(2.0, 0.5), np.ones(360))
    found = arrive(record, CLIC)
    path = Trajectory.of(record, CLIC.field).rows(found.row_N)
    way = np.full(len(found), 400.0)
    point, flight = found.ahead(way)
    arc = path.arc_to(found.entry_N3) + way / np.hypot(1.0, path.tan_lambda_N)
    near = np.abs(np.linalg.norm(found.entry_N3[:, :2], axis=1) - 1500.0) < 5.0
    assert near.sum() > 50
    np.testing.assert_allclose(point[near], path.at(arc)[0][near], atol=8.0)
    np.testing.assert_allclose(flight[near], path.direction(arc)[near], atol=0.02)


@pytest.mark.parametrize("way", [100.0, 1500.0, 4000.0])
def test_paths_have_the_direction_of_flight_everywhere(record_of, way):
    found = arrive(record_of(around(2.0, 0.5), np.ones(360)), CLIC)
    at = np.full(len(found), way)
    step = (found.ahead(at + 0.5)[0] - found.ahead(at - 0.5)[0]) / 1.0
    step /= np.linalg.norm(step, axis=1)[:, None]
    np.testing.assert_allclose(step, found.ahead(at)[1], atol=1e-3)


def test_muons_leave_their_hits_along_their_path(record_of):
    record = record_of(around(4.5, 0.5, 40), np.ones(40), pdg=13)
    random = np.random.default_rng(1)
    found = arrive(record, CLIC)
    cells = deposit(shower(record, CLIC, random), 1, random)
    steps = np.arange(0.0, 5200.0, 20.0)
    path = np.stack([found.ahead(np.full(len(found), way))[0] for way in steps])
    rows = {row: number for number, row in enumerate(found.row_N.tolist())}
    owner = np.array([rows[row] for row in cells.particle_K.tolist()])
    away = np.linalg.norm(path[:, owner] - cells.position_H3[cells.hit_K], axis=2).min(axis=0)
    # Half the diagonal of a cell of the yoke, whose layers are 284 mm apart.
    yoke = SUBDETECTOR[cells.collection_H[cells.hit_K]] == YOKE
    assert yoke.sum() > 100
    assert away[~yoke].max() < 60.0
    assert away[yoke].max() < 160.0

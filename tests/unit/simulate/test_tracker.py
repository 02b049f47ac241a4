import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.simulate.ionisation import energy_loss
from mlpf_stream.simulate.tracker import track
from mlpf_stream.simulate.trajectory import CURVATURE

CLIC = DETECTORS["clic"]
COUNT = 2000


@pytest.fixture
def beam(record_of):
    """Return a function that makes pions of one pseudorapidity and pT, all around."""

    def make(eta, pt):
        phi = np.linspace(-np.pi, np.pi, COUNT, endpoint=False)
        pz = np.full(COUNT, pt * np.sinh(eta))
        flight = np.stack([pt * np.cos(phi), pt * np.sin(phi), pz], axis=1)
        return record_of(flight, np.ones(COUNT))

    return make


# The card of CLICdet: a pT (+) b at each pseudorapidity.
@pytest.mark.parametrize(
    ("eta", "pt", "a", "b"),
    [
        (0.1, 10.0, 1.33e-5, 0.0021),
        (0.6, 50.0, 1.17e-5, 0.0026),
        (1.0, 5.0, 1.12e-5, 0.0039),
        (1.5, 20.0, 8.6e-5, 0.0149),
        (2.2, 5.0, 17.2e-5, 0.0298),
    ],
)
def test_momentum_resolution_follows_the_card(beam, eta, pt, a, b):
    tracks = track(beam(eta, pt), CLIC, np.random.default_rng(1))
    real = tracks.particle_T >= 0
    measured = CURVATURE * CLIC.field / np.abs(tracks.state_TS["omega"][real, 0])
    low, middle, high = np.percentile(measured / pt - 1.0, [15.87, 50.0, 84.13])
    assert (high - low) / 2.0 == pytest.approx(np.hypot(a * pt, b), rel=0.12)
    assert abs(middle) < 0.1 * np.hypot(a * pt, b)


def test_states_lie_on_the_helix_from_the_axis_to_the_calorimeter(beam):
    tracks = track(beam(0.5, 3.0), CLIC, np.random.default_rng(1))
    real = tracks.particle_T >= 0
    radius_TS = np.hypot(tracks.state_TS["referencePoint.x"], tracks.state_TS["referencePoint.y"])
    assert (radius_TS[:, 0] == 0.0).all()
    np.testing.assert_allclose(radius_TS[real, 1], 31.0, atol=0.5)
    np.testing.assert_allclose(radius_TS[real, 3], CLIC.barrel_radius, atol=2.0)
    assert (np.diff(radius_TS, axis=1) > 0).all()
    assert (np.diff(tracks.state_TS["time"], axis=1) > 0).all()
    assert (tracks.state_TS["omega"] > 0).all()
    # Half the turn from the axis to a point shows as its azimuth.
    turn = tracks.state_TS["phi"][:, 0] - tracks.state_TS["phi"][:, 3]
    expected = 2 * np.arcsin(CLIC.barrel_radius * tracks.state_TS["omega"][:, 0] / 2)
    np.testing.assert_allclose(np.mod(turn, 2 * np.pi)[real], expected[real], atol=1e-3)


def test_track_quality_is_that_of_full_simulation(beam):
    tracks = track(beam(0.5, 3.0), CLIC, np.random.default_rng(1))
    assert (tracks.chi2_T / tracks.ndf_T).mean() == pytest.approx(1.2, abs=0.2)
    assert tracks.ndf_T.min() >= 5
    assert tracks.ndf_T.max() <= 29


def test_acceptance_ends_with_the_tracker(beam):
    random = np.random.default_rng(1)
    assert len(track(beam(2.8, 5.0), CLIC, random).ndf_T) == 0
    assert len(track(beam(0.5, 0.08), CLIC, random).ndf_T) == 0


def test_hundred_pions_leave_about_96_tracks(pions):
    assert len(pions.tracks.ndf_T) / pions.record.events == pytest.approx(96, abs=4)


def test_some_tracks_are_fake_and_some_particles_have_two(pions):
    linked = pions.tracks.particle_T[pions.tracks.particle_T >= 0]
    fakes = len(pions.tracks.particle_T) - len(linked)
    twice = len(linked) - len(np.unique(linked))
    assert 0 < fakes < 0.02 * len(linked)
    assert 0 < twice < 0.05 * len(linked)


def test_the_order_of_tracks_says_nothing_that_their_features_do_not(pions):
    tracks = pions.tracks
    event = np.repeat(np.arange(pions.record.events), np.diff(tracks.offsets))
    curvature = np.abs(tracks.state_TS["omega"][:, 0])
    assert (np.diff(curvature)[np.diff(event) == 0] >= 0).all()
    assert (
        pions.record.event_P[tracks.particle_T[tracks.particle_T >= 0]]
        == event[tracks.particle_T >= 0]
    ).all()


def test_slow_heavy_particles_ionise_more():
    momentum = np.array([0.5, 0.5, 0.5, 10.0, 10.0])
    mass = np.array([0.00051, 0.13957, 0.93827, 0.13957, 0.93827])
    loss = energy_loss(momentum, mass)
    # Minimum-ionising: 3.9 MeV / cm of silicon. A proton of 0.5 GeV has beta 0.47: thrice that.
    assert loss[2] / loss[1] == pytest.approx(2.9, abs=0.2)
    assert energy_loss(np.array([0.45]), np.array([0.13957]))[0] == pytest.approx(3.9e-4, rel=0.1)
    assert loss[0] > loss[1]
    assert loss[3] > loss[4]


def test_ionisation_is_stored_with_its_error(fire):
    tracks = fire("gun-pi", 50, 10).tracks
    assert (tracks.loss_T > 0).all()
    pull = tracks.loss_error_T / tracks.loss_T
    assert 0.03 < np.median(pull) < 0.2

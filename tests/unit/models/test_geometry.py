"""The helix: against the reference extrapolation stored in real files, and at its limits."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mlpf_stream.columns import CLUSTER, DETECTORS, HIT, TRACK
from mlpf_stream.models.geometry import directions, extrapolate

CLIC = DETECTORS["clic"]
AT_IP, AT_CALORIMETER = 1, 4


def track(**columns):
    x_TF = torch.zeros(1, CLUSTER.width)
    for name, value in {"cos_phi": 1.0, **columns}.items():
        x_TF[0, TRACK.index(name)] = value
    return x_TF


def walk(phi, omega, tan_lambda, detector):
    """March along the helix in small steps until a face is crossed."""
    x = y = z = 0.0
    step = 0.05
    while math.hypot(x, y) < detector.barrel_radius and abs(z) < detector.endcap_z:
        middle = phi - 0.5 * omega * step
        x, y, z = x + step * math.cos(middle), y + step * math.sin(middle), z + step * tan_lambda
        phi -= omega * step
    return x, y, z


@pytest.mark.parametrize(
    ("phi", "pt", "charge", "tan_lambda"),
    [
        (0.3, 2.0, 1, 0.2),  # barrel
        (-2.5, 2.0, -1, -0.4),  # barrel
        (1.0, 1.0, 1, 3.0),  # endcap
        (1.0, 0.5, -1, 1.5),  # curls and never reaches the barrel
    ],
)
def test_agrees_with_small_steps(phi, pt, charge, tan_lambda):
    omega = charge * 0.299792458e-3 * CLIC.field / pt
    x_TF = track(sin_phi=math.sin(phi), cos_phi=math.cos(phi), omega=omega, tan_lambda=tan_lambda)
    expected = torch.tensor([walk(phi, omega, tan_lambda, CLIC)])
    torch.testing.assert_close(extrapolate(x_TF, CLIC), expected, rtol=0, atol=1.0)


def test_a_2_gev_track_turns_by_half_a_radian_in_4_tesla():
    omega = 0.299792458e-3 * 4.0 / 2.0
    geo_T3 = directions(track(omega=omega), torch.tensor([TRACK.code]), CLIC)
    turned = -torch.atan2(geo_T3[0, 1], geo_T3[0, 2]).item()
    assert turned == pytest.approx(math.asin(0.5 * omega * CLIC.barrel_radius), abs=1e-5)
    assert 0.4 < turned < 0.5


@pytest.mark.parametrize("kind", [CLUSTER, HIT], ids=lambda kind: kind.name)
def test_displaced_straight_track_and_deposit_and_tail(kind):
    x_TF = torch.cat([track(d0=300.0, z0=-100.0), torch.zeros(2, CLUSTER.width)])
    for axis, value in (("x", -3.0), ("y", 4.0), ("z", 5.0)):
        x_TF[1, kind.index(axis)] = 400 * value
    geo_T3 = directions(x_TF, torch.tensor([TRACK.code, kind.code, 0]), CLIC)
    x, y = math.sqrt(CLIC.barrel_radius**2 - 300.0**2), 300.0
    expected = [math.asinh(-100 / 1500), y / 1500, x / 1500]
    torch.testing.assert_close(geo_T3[0], torch.tensor(expected))
    torch.testing.assert_close(geo_T3[1], torch.tensor([math.asinh(1.0), 0.8, -0.6]))
    assert not geo_T3[2].any()


def test_a_curler_without_end_stops_where_it_is_farthest():
    x_TF = track(omega=0.01)
    x, y, _ = extrapolate(x_TF, CLIC)[0].tolist()
    assert math.hypot(x, y) == pytest.approx(200.0, rel=1e-3)
    assert y == pytest.approx(-200.0, rel=1e-3)


@pytest.mark.realdata
def test_reaches_the_calorimeter_where_the_full_reconstruction_does():
    state = real_states()
    origin = np.flatnonzero(state["location"] == AT_IP)
    followed = np.minimum(origin + AT_CALORIMETER - AT_IP, len(state["location"]) - 1)
    origin = origin[state["location"][followed] == AT_CALORIMETER]
    face = origin + AT_CALORIMETER - AT_IP
    assert len(origin) > 200
    x_TF = torch.zeros(len(origin), CLUSTER.width)
    columns = {"omega": "omega", "tan_lambda": "tanLambda", "d0": "D0", "z0": "Z0"}
    for ours, theirs in columns.items():
        x_TF[:, TRACK.index(ours)] = torch.from_numpy(state[theirs][origin])
    x_TF[:, TRACK.index("sin_phi")] = torch.from_numpy(np.sin(state["phi"][origin]))
    x_TF[:, TRACK.index("cos_phi")] = torch.from_numpy(np.cos(state["phi"][origin]))
    # The detector of this file has the faces of CLD: all its states lie on them.
    detector = DETECTORS["cld"]
    geo_T3 = directions(x_TF, torch.full((len(origin),), TRACK.code), detector).numpy()
    x, y, z = (state[f"referencePoint.{axis}"][face] for axis in "xyz")
    azimuth = np.arctan2(y, x)
    off_phi = apart(np.arctan2(geo_T3[:, 1], geo_T3[:, 2]), azimuth)
    off_eta = np.abs(geo_T3[:, 0] - np.arcsinh(z / np.hypot(x, y)))
    curls = np.abs(state["omega"][origin]) * detector.barrel_radius > 2
    assert np.median(apart(state["phi"][origin], azimuth)[~curls]) > 0.1  # without the helix
    assert np.median(off_phi[~curls]) < 0.002
    assert np.quantile(off_phi[~curls], 0.9) < 0.02
    assert np.quantile(off_eta[~curls], 0.9) < 0.005
    assert np.median(off_phi[curls]) < 0.01
    assert np.median(off_eta[curls]) < 0.02


def apart(left, right):
    """Size of the angle between two azimuths."""
    return np.abs(np.angle(np.exp(1j * (left - right))))


def real_states():
    """Track states of all events of the fully reconstructed file."""
    uproot = pytest.importorskip("uproot")
    root = os.environ.get("MLPF_TEST_DATA")
    if not root:
        pytest.skip("set MLPF_TEST_DATA to the folder that holds edm4hep/")
    (path,) = Path(root, "edm4hep").glob("edm4hep_ILD_mumuH_*.root")
    branch = "_SiTracks_Refitted_trackStates"
    names = ["location", "phi", "omega", "tanLambda", "D0", "Z0"]
    names += [f"referencePoint.{axis}" for axis in "xyz"]
    with uproot.open(path) as file:
        read = [file["events"][f"{branch}/{branch}.{name}"].array(library="np") for name in names]
    return {name: np.concatenate(list(a)) for name, a in zip(names, read, strict=True)}

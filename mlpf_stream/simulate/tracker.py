"""The tracker: charged particles become tracks with four states each, some are lost or doubled.

Shape letters: T tracks of all events end to end, N charged particles, S states per track, L layers.

Source: Delphes card of CLICdet (arXiv:1909.12728) for efficiencies and momentum resolutions,
k4geo CLIC_o3_v14 for the layers.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I32, I64, Bool, offsets_of
from mlpf_stream.simulate.ionisation import measure_loss
from mlpf_stream.simulate.nearby import close_pairs
from mlpf_stream.simulate.record import DECAYED_IN_TRACKER, NO_PARENT, SECONDARY, Record
from mlpf_stream.simulate.trajectory import Trajectory

MIN_PT: Final = 0.1
MAX_ETA: Final = 2.54
MIN_HITS: Final = 5
_ETA_EDGES: Final = (0.18, 0.45, 0.88, 1.32, 1.74)
# Rows: |eta| bins; columns: a [1/GeV] and b of sigma(pT) / pT = a pT (+) b.
_RESOLUTION: Final = {
    "hadron": np.array(
        [
            (1.33e-5, 0.0021),
            (1.28e-5, 0.0022),
            (1.17e-5, 0.0026),
            (1.12e-5, 0.0039),
            (8.6e-5, 0.0149),
            (17.2e-5, 0.0298),
        ]
    ),
    "electron": np.array(
        [
            (1.41e-5, 0.0029),
            (1.33e-5, 0.0032),
            (1.16e-5, 0.0040),
            (1.09e-5, 0.0066),
            (8.6e-5, 0.0178),
            (17.2e-5, 0.0356),
        ]
    ),
    "muon": np.array(
        [
            (1.30e-5, 0.0020),
            (1.20e-5, 0.0022),
            (1.20e-5, 0.0024),
            (0.98e-5, 0.0038),
            (4.6e-5, 0.0149),
            (9.2e-5, 0.0298),
        ]
    ),
}
_INTERACTED: Final = 0.035
"""Share of hadrons that interact in the tracker's material before they leave enough hits."""
_CORE_ANGLE: Final = 0.02
"""Tracks with a neighbour nearer than this [rad] are in a dense core."""
_CORE_LOSS: Final = 0.06
_SPLIT_SHARE: Final = 0.01
_FAKE_SHARE: Final = 0.005
_TAIL_SHARE: Final = 0.01
"""Tracks whose momentum is measured five times worse: wrong hits, scattering."""

# (radius, half-length) of barrel layers and (z, inner radius, outer radius) of discs [mm].
_BARREL: Final = (
    *((radius, 130.0) for radius in (31.0, 33.0, 44.0, 46.0, 58.0, 60.0)),
    (127.0, 482.0),
    (340.0, 482.0),
    (554.0, 692.0),
    *((radius, 1264.0) for radius in (819.0, 1153.0, 1486.0)),
)
_DISCS: Final = (
    *((z, 35.0, 102.0) for z in (160.0, 185.0, 207.0, 230.0, 255.0, 299.0)),
    *((z, 80.0, 550.0) for z in (524.0, 808.0, 1093.0, 1377.0, 1661.0, 1946.0, 2190.0)),
    *((z, 650.0, 1430.0) for z in (1310.0, 1617.0, 1883.0, 2190.0)),
)


@dataclass(frozen=True, slots=True)
class Tracks:
    """Tracks of E events: event `e` owns the rows `offsets[e]:offsets[e + 1]`.

    `state_TS` the parameters by name, each with the states at the interaction point, first hit,
    last hit and calorimeter: D0, phi, omega, Z0, tanLambda, time and referencePoint.x, .y, .z
    [mm, rad, 1/mm, ns]. `loss_T` ionisation and `loss_error_T` [GeV / mm]. `particle_T` the row in
    the record of all events, -1 for fakes.
    """

    state_TS: dict[str, F64]
    chi2_T: F64
    ndf_T: I32
    loss_T: F64
    loss_error_T: F64
    particle_T: I64
    offsets: I64


@dataclass(frozen=True, slots=True)
class _Hits:
    """Hits on N paths: their number, and the arcs to the first and the last one [mm]."""

    count_N: I64
    first_N: F64
    last_N: F64


def track(record: Record, detector: Detector, random: np.random.Generator) -> Tracks:
    """Return the tracks of the charged visible particles of the record."""
    pt_P = np.hypot(record.momentum_P3[:, 0], record.momentum_P3[:, 1])
    eta_P = np.arcsinh(record.momentum_P3[:, 2] / np.maximum(pt_P, 1e-9))
    charged_P = record.visible_P & (record.charge_P != 0)
    accepted = np.flatnonzero(charged_P & (pt_P > MIN_PT) & (np.abs(eta_P) < MAX_ETA))
    path = Trajectory.of(record, detector.field).rows(accepted)
    hits = _hits(path, detector, _decay_arcs(record, detector.field)[accepted])
    efficient = random.random(len(accepted)) < _efficiency(record, accepted)
    keep = efficient & (hits.count_N >= MIN_HITS)
    chosen = np.concatenate([accepted[keep], _doubled(accepted[keep], pt_P, random)])
    number = random.binomial(len(chosen), _FAKE_SHARE)
    fakes = chosen[random.integers(0, max(len(chosen), 1), number)]
    fake_T = np.arange(len(chosen) + len(fakes)) >= len(chosen)
    particle_T = np.concatenate([chosen, fakes])
    order = np.argsort(record.event_P[particle_T], kind="stable")
    particle_T, fake_T = particle_T[order], fake_T[order]
    return _by_measured_pt(_measure(record, particle_T, fake_T, detector, random))


def _by_measured_pt(tracks: Tracks) -> Tracks:
    """Return the tracks of every event by falling measured pT.

    Any other order would tell what no feature does, such as which one of two copies came first.
    """
    event_T = np.repeat(np.arange(len(tracks.offsets) - 1), np.diff(tracks.offsets))
    order = np.lexsort((np.abs(tracks.state_TS["omega"][:, 0]), event_T))
    return Tracks(
        {name: value_TS[order] for name, value_TS in tracks.state_TS.items()},
        tracks.chi2_T[order],
        tracks.ndf_T[order],
        tracks.loss_T[order],
        tracks.loss_error_T[order],
        tracks.particle_T[order],
        tracks.offsets,
    )


def _efficiency(record: Record, row_N: I64) -> F64:
    """Return the probability that a particle in acceptance becomes a track, shape (N,)."""
    species_N, energy_N = np.abs(record.pdg_P[row_N]), record.energy_P[row_N]
    momentum_N3 = record.momentum_P3[row_N]
    eta_N = np.abs(np.arcsinh(momentum_N3[:, 2] / np.hypot(momentum_N3[:, 0], momentum_N3[:, 1])))
    hadron_N = (species_N != 11) & (species_N != 13)
    soft_N = hadron_N & (energy_N < 3.0) & (eta_N > 0.55)
    card_N = np.where(soft_N, 0.990, 1.0)
    card_N = np.where(hadron_N & ~soft_N & (eta_N > 2.34), 0.994, card_N)
    card_N = np.where((species_N == 11) & (energy_N < 5.0), 0.998, card_N)
    card_N = np.where((species_N == 13) & (eta_N > 2.34), 0.994, card_N)
    unit_N3 = momentum_N3 / np.linalg.norm(momentum_N3, axis=1)[:, None]
    event_N = record.event_P[row_N]
    counts = offsets_of(np.bincount(event_N, minlength=record.events).astype(np.int64))
    near = close_pairs(unit_N3, np.full(len(row_N), _CORE_ANGLE), counts)
    core_N = np.bincount(np.concatenate([near.first, near.second]), minlength=len(row_N)) > 0
    total: F64 = card_N * (1.0 - _INTERACTED * hadron_N) * (1.0 - _CORE_LOSS * core_N)
    return total


def _doubled(row_N: I64, pt_P: F64, random: np.random.Generator) -> I64:
    """Return the rows of soft particles whose loops are found as a second track."""
    share_N = np.where(pt_P[row_N] < 0.5, 5.0, 1.0) * _SPLIT_SHARE
    return row_N[random.random(len(row_N)) < share_N]


def _decay_arcs(record: Record, field: float) -> F64:
    """Return the arc at which every charged particle decays in the tracker, infinite for others."""
    decays_P = (record.simulator_P & DECAYED_IN_TRACKER != 0) & (record.charge_P != 0)
    children = np.flatnonzero((record.status_P == SECONDARY) & (record.parent_P != NO_PARENT))
    parents = record.offsets[record.event_P[children]] + record.parent_P[children]
    children, parents = children[decays_P[parents]], parents[decays_P[parents]]
    arc_P = np.full(len(record.pdg_P), np.inf)
    flown_X = Trajectory.of(record, field).rows(parents).arc_to(record.vertex_P3[children])
    np.minimum.at(arc_P, parents, flown_X)
    return arc_P


def _hits(path: Trajectory, detector: Detector, decay_N: F64) -> _Hits:
    """Count the hits on every path up to its decay or the calorimeter."""
    # A looper is fitted on its first half turn.
    turn_N = np.pi / np.maximum(np.abs(path.omega_N), 1e-9)
    end_N = np.minimum(np.minimum(path.to_calorimeter(detector), turn_N), decay_N)
    arcs = []
    for radius, half_length in _BARREL:
        arc_N = path.to_radius(radius)
        z_N = path.start_N3[:, 2] + np.where(np.isfinite(arc_N), arc_N, 0.0) * path.tan_lambda_N
        arcs.append(np.where(np.abs(z_N) < half_length, arc_N, np.inf))
    for z, inner, outer in _DISCS:
        arc_N = path.to_plane(z)
        point_N3, _ = path.at(np.minimum(arc_N, end_N))
        radius_N = np.hypot(point_N3[:, 0], point_N3[:, 1])
        arcs.append(np.where((radius_N > inner) & (radius_N < outer), arc_N, np.inf))
    arc_LN = np.stack(arcs)
    hit_LN = arc_LN <= end_N
    first_N = np.min(np.where(hit_LN, arc_LN, np.inf), axis=0)
    last_N = np.max(np.where(hit_LN, arc_LN, -np.inf), axis=0)
    return _Hits(hit_LN.sum(axis=0), first_N, last_N)


def _measure(
    record: Record, particle_T: I64, fake_T: Bool, detector: Detector, random: np.random.Generator
) -> Tracks:
    """Smear the helix of every track and write down its four states."""
    truth = Trajectory.of(record, detector.field).rows(particle_T)
    hits = _hits(truth, detector, _decay_arcs(record, detector.field)[particle_T])
    back_T = truth.to_axis()
    measured = _smeared(record, truth, back_T, particle_T, fake_T, random)
    face_T = truth.to_calorimeter(detector)
    face_T = np.where(np.isfinite(face_T), face_T, hits.last_N)
    arcs_S = [np.zeros(len(back_T)), hits.first_N - back_T, hits.last_N - back_T, face_T - back_T]
    points = [measured.at(arc_T) for arc_T in arcs_S]
    size_T = np.linalg.norm(record.momentum_P3[particle_T], axis=1)
    speed_T = 299.792458 * size_T / record.energy_P[particle_T]
    state_TS = {
        "phi": np.stack([_wrapped(phi_T) for _, phi_T in points], axis=1),
        "omega": np.tile(measured.omega_N[:, None], (1, 4)),
        "tanLambda": np.tile(measured.tan_lambda_N[:, None], (1, 4)),
        "time": np.stack(
            [arc_T * np.hypot(1.0, truth.tan_lambda_N) / speed_T for arc_T in arcs_S], axis=1
        ),
    }
    for axis, name in enumerate("xyz"):
        state_TS[f"referencePoint.{name}"] = np.stack([at[:, axis] for at, _ in points], axis=1)
        state_TS[f"referencePoint.{name}"][:, 0] = 0.0
    x_T, y_T, z_T = measured.start_N3.T
    zero_TS = np.zeros((len(back_T), 4))
    state_TS["D0"], state_TS["Z0"] = zero_TS.copy(), zero_TS
    state_TS["D0"][:, 0] = y_T * np.cos(measured.phi_N) - x_T * np.sin(measured.phi_N)
    state_TS["Z0"][:, 0] = z_T
    ndf_T = np.clip(2 * hits.count_N - 5, 5, 29).astype(np.int32)
    ratio_T = random.gamma(ndf_T / 2.0, 2.0 / ndf_T) * random.lognormal(0.1, 0.4, len(ndf_T))
    ratio_T *= np.where(fake_T, 4.0, 1.0)
    counts = np.bincount(record.event_P[particle_T], minlength=record.events).astype(np.int64)
    loss_T, loss_error_T = measure_loss(size_T, record.mass_P[particle_T], hits.count_N, random)
    return Tracks(
        state_TS=state_TS,
        chi2_T=ratio_T * ndf_T,
        ndf_T=ndf_T,
        loss_T=loss_T,
        loss_error_T=loss_error_T,
        particle_T=np.where(fake_T, -1, particle_T),
        offsets=offsets_of(counts),
    )


def _smeared(
    record: Record,
    truth: Trajectory,
    back_T: F64,
    particle_T: I64,
    fake_T: Bool,
    random: np.random.Generator,
) -> Trajectory:
    """Return the measured helix, started at its closest approach to the beam axis.

    Source: impact parameter goal of CLICdet (arXiv:1812.07337): 5 um (+) 15 um GeV / (p sin^1.5).
    """
    count = len(particle_T)
    point_T3, phi_T = truth.at(back_T)
    momentum_T3 = record.momentum_P3[particle_T]
    size_T = np.linalg.norm(momentum_T3, axis=1)
    sine_T = 1.0 / np.hypot(1.0, truth.tan_lambda_N)
    wrong_T = np.where(random.random(count) < _TAIL_SHARE, 5.0, 1.0)
    relative_T = pt_resolution(record.pdg_P[particle_T], momentum_T3) * wrong_T
    relative_T = np.where(fake_T, 0.5, relative_T)
    omega_T = truth.omega_N * np.abs(1.0 + relative_T * random.normal(size=count))
    impact_T = np.hypot(0.005, 0.015 / (size_T * sine_T**1.5))
    angle_T = np.hypot(1e-4, 1e-3 / (size_T * np.sqrt(sine_T))) * np.where(fake_T, 100.0, 1.0)
    phi_T = phi_T + angle_T * random.normal(size=count)
    d0_T = point_T3[:, 1] * np.cos(phi_T) - point_T3[:, 0] * np.sin(phi_T)
    d0_T = d0_T + impact_T * random.normal(size=count)
    z0_T = point_T3[:, 2] + impact_T / sine_T * random.normal(size=count)
    lambda_T = np.arctan(truth.tan_lambda_N) + angle_T * random.normal(size=count)
    start_T3 = np.stack([-d0_T * np.sin(phi_T), d0_T * np.cos(phi_T), z0_T], axis=1)
    return Trajectory(start_T3, phi_T, omega_T, np.tan(lambda_T))


def pt_resolution(pdg_T: I32, momentum_T3: F64) -> F64:
    """Return sigma(pT) / pT by species and pseudorapidity, shape (T,)."""
    pt_T = np.hypot(momentum_T3[:, 0], momentum_T3[:, 1])
    bin_T = np.digitize(np.abs(np.arcsinh(momentum_T3[:, 2] / pt_T)), _ETA_EDGES)
    size_T = np.abs(pdg_T)
    terms_T2 = np.where(
        (size_T == 11)[:, None],
        _RESOLUTION["electron"][bin_T],
        np.where((size_T == 13)[:, None], _RESOLUTION["muon"][bin_T], _RESOLUTION["hadron"][bin_T]),
    )
    relative: F64 = np.hypot(terms_T2[:, 0] * pt_T, terms_T2[:, 1])
    return relative


def _wrapped(phi_T: F64) -> F64:
    """Return angles in [-pi, pi)."""
    wrapped: F64 = np.mod(phi_T + np.pi, 2.0 * np.pi) - np.pi
    return wrapped

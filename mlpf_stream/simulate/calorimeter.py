"""The calorimeter without cells: every particle becomes a few showers with their energies.

Shape letters: P particles of the record, N particles that shower, D showers of all events,
S subdetectors (ecal, hcal, yoke), 3 coordinates x, y, z.

Source: Delphes card of CLICdet (arXiv:1909.12728) for the resolutions, k4geo CLIC_o3_v14 for the
depths: ECAL 22 radiation lengths and 1 interaction length in 202 mm, HCAL 7.5 in 1590 mm.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64, Bool
from mlpf_stream.simulate.interactions import HOLE_RADIUS, arrives, calorimetric_energy
from mlpf_stream.simulate.record import NO_PARENT, SECONDARY, Record
from mlpf_stream.simulate.trajectory import Trajectory

SUBDETECTORS: Final = ("ecal", "hcal", "yoke")
ECAL, HCAL, YOKE = range(3)
_LAMBDA: Final = 205.0
"""Interaction length of ECAL and HCAL [mm]."""
_HCAL_DEPTH: Final = 240.0
_RADIATION_LENGTH: Final = 9.0
_LEAST_ENERGY: Final = 0.05
_NOISE: Final = 0.3
"""Noise clusters per event."""

# Tuned to full simulation: see `calibration`.
_REACH_LIGHT: Final = (22.0, 3.0)
_REACH_HADRON: Final = 132.0
_REACH_FRAGMENT: Final = 100.0
"""Merging distances [mm]; of photons and electrons with their growth per ln(1 + E / GeV)."""
_WIDTH_LIGHT: Final = 20.0
_WIDTH_HADRON: Final = 100.0
"""Lateral decay lengths of the energy that neighbours pick up [mm]."""
_FRAGMENTS: Final = 0.33
"""Mean number of fragments of a hadron shower per ln(1 + E / 3 GeV)."""
_UNSEEN: Final = 0.65
"""Share of the energy of very soft hadrons that the calorimeter misses."""
_FRAGMENT_AWAY: Final = (75.0, 90.0)
"""Distance of a fragment from the shower axis: least, and mean beyond it [mm]."""


@dataclass(frozen=True, slots=True)
class Showers:
    """D showers: event, row of the particle in the record (`NO_PARENT` for noise), energies [GeV].

    `position_D3` [mm] the energy-weighted centre; `reach_D` [mm] the distance below which two
    showers become one cluster; `width_D` [mm] the lateral decay length of the energy that clusters
    nearby pick up, 0 for those that share nothing.
    """

    event_D: I64
    particle_D: I64
    energy_DS: F64
    position_D3: F64
    reach_D: F64
    width_D: F64

    def rows(self, index: I64) -> "Showers":
        """Return some of the showers."""
        return Showers(
            self.event_D[index],
            self.particle_D[index],
            self.energy_DS[index],
            self.position_D3[index],
            self.reach_D[index],
            self.width_D[index],
        )


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """N particles of one species group at the face: entry point, direction, energy to leave."""

    row_N: I64
    entry_N3: F64
    direction_N3: F64
    energy_N: F64

    def only(self, keep_N: Bool) -> "_Arrivals":
        """Return some of them."""
        return _Arrivals(
            self.row_N[keep_N],
            self.entry_N3[keep_N],
            self.direction_N3[keep_N],
            self.energy_N[keep_N],
        )


def shower(record: Record, detector: Detector, random: np.random.Generator) -> Showers:
    """Return the showers of all visible particles of the record, and noise."""
    arrivals = _arrivals(record, detector)
    size_N = np.abs(record.pdg_P[arrivals.row_N])
    light_N, muon_N = np.isin(size_N, (11, 22)), size_N == 13
    groups = [
        _electromagnetic(record, arrivals.only(light_N), random),
        _muons(record, arrivals.only(muon_N), random),
        *_hadrons(record, arrivals.only(~light_N & ~muon_N), random),
        _noise(record.events, detector, random),
    ]
    return _joined(groups)


def photon_resolution(energy_N: F64, eta_N: F64) -> F64:
    """Return sigma(E) of photons [GeV], shape (N,)."""
    stochastic_N = np.select([eta_N <= 0.78, eta_N <= 0.83], [0.156, 0.175], 0.151)
    sigma: F64 = np.sqrt(stochastic_N**2 * energy_N + (0.01 * energy_N) ** 2)
    return sigma


def hadron_resolution(energy_N: F64, eta_N: F64) -> F64:
    """Return sigma(E) of hadrons [GeV], shape (N,).

    The constant term describes energetic hadrons; taken as it is, it would exceed the energy of
    soft ones, so that it fades in up to 10 GeV.
    """
    bins = [eta_N < 0.3, eta_N < 0.78, eta_N < 1.10]
    constant_N = np.select(bins, [1.38, 1.25, 1.159], 1.09) * np.minimum(energy_N / 10.0, 1.0)
    stochastic_N = np.select(bins, [0.308, 0.322, 0.341], 0.319)
    linear_N = np.select(bins, [0.050, 0.048, 0.049], 0.052)
    variance_N = constant_N**2 + stochastic_N**2 * energy_N + (linear_N * energy_N) ** 2
    sigma: F64 = np.sqrt(variance_N)
    return sigma


def _arrivals(record: Record, detector: Detector) -> _Arrivals:
    """Return what reaches the calorimeter, less the energy that its secondaries carry away."""
    energy_P = calorimetric_energy(record)
    children = np.flatnonzero((record.status_P == SECONDARY) & (record.parent_P != NO_PARENT))
    parents = record.offsets[record.event_P[children]] + record.parent_P[children]
    energy_P = energy_P - np.bincount(parents, energy_P[children], minlength=len(energy_P))
    arc_P, entry_P3 = arrives(record, detector)
    inside_P = np.hypot(entry_P3[:, 0], entry_P3[:, 1]) > HOLE_RADIUS
    seen_P = record.visible_P & np.isfinite(arc_P) & inside_P & (energy_P > _LEAST_ENERGY)
    rows = np.flatnonzero(seen_P)
    direction_N3 = Trajectory.of(record, detector.field).rows(rows).direction(arc_P[rows])
    return _Arrivals(rows, entry_P3[rows], direction_N3, energy_P[rows])


def _electromagnetic(record: Record, at: _Arrivals, random: np.random.Generator) -> Showers:
    """Return one shower per photon or electron."""
    count = len(at.row_N)
    energy_N = _fluctuate(at.energy_N, photon_resolution(at.energy_N, _abs_eta(at)), random)
    leak_N = np.minimum(random.exponential(0.004 * np.log1p(at.energy_N)), 0.3)
    energy_NS = np.stack([energy_N * (1 - leak_N), energy_N * leak_N, np.zeros(count)], axis=1)
    depth_N = _RADIATION_LENGTH * np.maximum(5.1 + np.log(at.energy_N), 1.0)
    depth_N += _RADIATION_LENGTH * random.normal(size=count)
    spread_N = 1.0 + 2.0 / np.sqrt(at.energy_N)
    position_N3 = _displaced(at, np.maximum(depth_N, 1.0), spread_N, random)
    reach_N = _REACH_LIGHT[0] + _REACH_LIGHT[1] * np.log1p(at.energy_N)
    width_N = np.full(count, _WIDTH_LIGHT)
    return Showers(record.event_P[at.row_N], at.row_N, energy_NS, position_N3, reach_N, width_N)


def _muons(record: Record, at: _Arrivals, random: np.random.Generator) -> Showers:
    """Return one minimum-ionising trail per muon; the energetic ones reach the yoke."""
    count = len(at.row_N)
    # Most probable losses of a minimum-ionising particle at normal incidence [GeV].
    loss_NS = np.array([0.30, 1.5, 0.25]) * random.gamma(12.0, 1 / 12.0, (count, 3))
    loss_NS[:, YOKE] *= at.energy_N > 3.0
    room_N = at.energy_N[:, None] - np.concatenate(
        [np.zeros((count, 1)), np.cumsum(loss_NS, axis=1)[:, :-1]], axis=1
    )
    energy_NS = np.clip(loss_NS, 0.0, np.maximum(room_N, 0.0))
    depth_N = np.where(at.energy_N > 2.0, 900.0, 150.0) * random.uniform(0.8, 1.2, count)
    position_N3 = _displaced(at, depth_N, np.full(count, 10.0), random)
    reach_N, width_N = np.full(count, 30.0), np.zeros(count)
    return Showers(record.event_P[at.row_N], at.row_N, energy_NS, position_N3, reach_N, width_N)


def _hadrons(record: Record, at: _Arrivals, random: np.random.Generator) -> list[Showers]:
    """Return one main shower per hadron, and the fragments that break off."""
    count = len(at.row_N)
    # Soft hadrons stop by ionisation and lose their binding energy: they are seen in part.
    seen_N = at.energy_N * (1.0 - _UNSEEN * np.exp(-at.energy_N / 1.5))
    energy_N = _fluctuate(seen_N, hadron_resolution(at.energy_N, _abs_eta(at)), random)
    start_N = random.exponential(size=count)
    length_N = 0.5 + 0.15 * np.log1p(at.energy_N)
    ecal_N = np.where(start_N < 1.0, 1.0 - np.exp((start_N - 1.0) / length_N), 0.0)
    # What does not shower in the ECAL leaves its minimum-ionising trail there.
    trail_N = np.where(record.charge_P[at.row_N] != 0, 0.25, 0.0)
    ecal_N = np.clip(ecal_N + trail_N / np.maximum(energy_N, 1e-3), 0.0, 1.0)
    ecal_N = np.where(energy_N < 0.4, 1.0, ecal_N)
    inside_N = _HCAL_DEPTH + _LAMBDA * np.clip(start_N - 1.0, 0.0, 6.0)
    inside_N += 60.0 + 40.0 * np.log1p(at.energy_N)
    depth_N = ecal_N * np.clip(_LAMBDA * start_N + 40.0, 40.0, 180.0) + (1 - ecal_N) * inside_N
    position_N3 = _displaced(at, depth_N, 6.0 + 14.0 / np.sqrt(at.energy_N), random)
    energy_NS = np.stack([energy_N * ecal_N, energy_N * (1 - ecal_N), np.zeros(count)], axis=1)
    reach_N = np.full(count, _REACH_HADRON)
    width_N = np.full(count, _WIDTH_HADRON)
    event_N = record.event_P[at.row_N]
    main = Showers(event_N, at.row_N, energy_NS, position_N3, reach_N, width_N)
    return _fragmented(main, at, random)


def _fragmented(main: Showers, at: _Arrivals, random: np.random.Generator) -> list[Showers]:
    """Break up to three fragments off every main shower; the sum of energies is kept."""
    mean_N = _FRAGMENTS * np.log1p(at.energy_N / 3.0)
    number_N = np.minimum(random.poisson(mean_N), 3)
    parent = np.repeat(np.arange(len(number_N)), number_N)
    share = random.uniform(0.05, 0.30, len(parent))
    energy = main.energy_DS[parent] * share[:, None]
    # A fragment lies in one subdetector as a rule: it takes its whole share there.
    total = energy.sum(axis=1)
    ecal = random.random(len(parent)) < energy[:, ECAL] / np.maximum(total, 1e-9)
    side = np.where(ecal, ECAL, HCAL)
    total = np.minimum(total, 0.6 * main.energy_DS[parent, side])
    energy_DS = np.zeros_like(energy)
    energy_DS[np.arange(len(parent)), side] = total
    taken_NS = np.stack(
        [np.bincount(parent, energy_DS[:, s], minlength=len(number_N)) for s in range(3)], axis=1
    )
    # Three fragments may ask for more than there is in a subdetector: all shrink alike.
    shrink_NS = np.minimum(1.0, 0.9 * main.energy_DS / np.maximum(taken_NS, 1e-9))
    energy_DS *= shrink_NS[parent]
    kept = replace(main, energy_DS=main.energy_DS - taken_NS * shrink_NS)
    depth = np.where(ecal, random.uniform(30.0, 190.0, len(parent)), 0.0)
    depth += np.where(ecal, 0.0, _HCAL_DEPTH + random.exponential(250.0, len(parent)))
    picked = _Arrivals(
        at.row_N[parent], at.entry_N3[parent], at.direction_N3[parent], at.energy_N[parent]
    )
    away = _FRAGMENT_AWAY[0] + random.exponential(_FRAGMENT_AWAY[1], len(parent))
    position = _displaced(picked, depth, away, random)
    fragments = Showers(
        main.event_D[parent],
        picked.row_N,
        energy_DS,
        position,
        np.full(len(parent), _REACH_FRAGMENT),
        np.zeros(len(parent)),
    )
    return [kept, fragments]


def _noise(events: int, detector: Detector, random: np.random.Generator) -> Showers:
    """Return clusters that no particle made, spread over the barrel."""
    number_E = random.poisson(_NOISE, events)
    event_D = np.repeat(np.arange(events), number_E)
    count = len(event_D)
    phi_D = random.uniform(-np.pi, np.pi, count)
    radius_D = detector.barrel_radius + random.uniform(0.0, 1500.0, count)
    z_D = random.uniform(-detector.endcap_z, detector.endcap_z, count)
    position_D3 = np.stack([radius_D * np.cos(phi_D), radius_D * np.sin(phi_D), z_D], axis=1)
    energy_DS = np.zeros((count, 3))
    ecal_D = radius_D < detector.barrel_radius + _HCAL_DEPTH
    side_D = np.where(ecal_D, ECAL, HCAL)
    energy_DS[np.arange(count), side_D] = 0.12 + random.exponential(0.08, count)
    reach_D, width_D = np.full(count, 30.0), np.zeros(count)
    return Showers(event_D, np.full(count, NO_PARENT), energy_DS, position_D3, reach_D, width_D)


def _fluctuate(energy_N: F64, sigma_N: F64, random: np.random.Generator) -> F64:
    """Return measured energies with this mean and spread, never negative: a Gamma distribution."""
    shape_N = (energy_N / sigma_N) ** 2
    drawn: F64 = random.gamma(shape_N, energy_N / shape_N)
    return drawn


def _displaced(at: _Arrivals, depth_N: F64, spread_N: F64, random: np.random.Generator) -> F64:
    """Return points at a depth behind the entry, moved sideways by about the spread [mm]."""
    away_N3 = random.normal(size=(len(depth_N), 3)) / np.sqrt(2.0)
    along_N = np.sum(away_N3 * at.direction_N3, axis=1)
    away_N3 -= along_N[:, None] * at.direction_N3
    point: F64 = at.entry_N3 + at.direction_N3 * depth_N[:, None] + away_N3 * spread_N[:, None]
    return point


def _abs_eta(at: _Arrivals) -> F64:
    """Return |eta| of the entry points, shape (N,)."""
    x, y, z = at.entry_N3.T
    eta: F64 = np.abs(np.arcsinh(z / np.hypot(x, y)))
    return eta


def _joined(groups: list[Showers]) -> Showers:
    """Join groups of showers, ordered by event."""
    event_D = np.concatenate([group.event_D for group in groups])
    joined = Showers(
        event_D,
        np.concatenate([group.particle_D for group in groups]),
        np.concatenate([group.energy_DS for group in groups]),
        np.concatenate([group.position_D3 for group in groups]),
        np.concatenate([group.reach_D for group in groups]),
        np.concatenate([group.width_D for group in groups]),
    )
    return joined.rows(np.argsort(event_D, kind="stable"))

"""What every particle leaves in the calorimeter, as cores and trails.

Photons and electrons: one core with the Gamma profile. Hadrons: a minimum-ionising trail up to a
random depth, from there neutral pions (cores), a hadronic core, and fragments that fly apart.
Muons: a trail through everything up to the yoke.

Shape letters: N particles, X pieces that belong to them, 3 coordinates x, y, z.

Source: profiles of electromagnetic showers by Grindhammer and Peters (hep-ex/0001020); mean
electromagnetic fraction by Gabriel et al. (NIM A 338 (1994) 336); resolutions from the Delphes
card of CLICdet (arXiv:1909.12728); depths from k4geo CLIC_o3_v14.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import Detector
from mlpf_stream.event import F64, I64, Bool
from mlpf_stream.simulate.arrivals import Arrivals, arrive
from mlpf_stream.simulate.cells import LIGHT, MIP
from mlpf_stream.simulate.components import CORE, TRAIL, Components, Profile, joined
from mlpf_stream.simulate.geometry import (
    ECAL,
    ECAL_BARREL,
    ECAL_ENDCAP,
    ECAL_PITCH,
    HCAL,
    HCAL_BARREL,
    HCAL_ENDCAP,
    HCAL_PITCH,
    YOKE,
    YOKE_BARREL,
    YOKE_ENDCAP,
    YOKE_PITCH,
)
from mlpf_stream.simulate.record import Record

ECAL_DEPTH: Final = 202.0
HCAL_DEPTH: Final = 1590.0
"""Thickness of the calorimeters at normal incidence [mm]."""
INTERACTION_LENGTH: Final = 205.0
"""Nuclear interaction length of ECAL and HCAL [mm]."""
RADIATION_LENGTH: Final = np.array([9.0, 23.0])
"""Radiation length of ECAL and HCAL [mm]."""
CRITICAL_ENERGY: Final = 0.0085
"""Critical energy of the ECAL [GeV]."""

# Tuned to full simulation: see benchmarks/bench_simulation.py.
_SPOT: Final = np.array([0.016, 0.065])
"""Mean energy of a deposit in ECAL and HCAL [GeV]."""
_LIGHT_CORE: Final = np.array([1.3, 6.0])
_LIGHT_TAIL: Final = np.array([8.0, 15.0])
_LIGHT_TAIL_SHARE: Final = 0.35
_HADRON_CORE: Final = np.array([9.0, 12.0])
_HADRON_TAIL: Final = np.array([85.0, 90.0])
_HADRON_TAIL_SHARE: Final = 0.5
"""Radii of the two exponentials in ECAL and HCAL [mm]."""
_LIGHT_RESPONSE: Final = 1.005
_HADRON_RESPONSE: Final = 1.06
"""Calibration: what is lost below threshold and behind the HCAL is put back on average."""
_UNSEEN: Final = 0.65
"""Share of the energy of very soft hadrons that the calorimeter misses."""
_FRAGMENTS: Final = 0.5
"""Mean number of fragments of a hadron shower per ln(1 + E / GeV)."""
_FRAGMENT_SHARE: Final = (0.03, 0.15)
_FRAGMENT_AWAY: Final = (60.0, 130.0)
"""Distance of a fragment from the vertex: least, and mean beyond it [mm]."""
_BACKSCATTER: Final = 0.25
"""Share of fragments that come back to the face."""
_BACKSCATTER_AWAY: Final = 220.0
_NEUTRON_DELAY: Final = 15.0
"""Mean delay of fragments [ns]."""


def shower(record: Record, detector: Detector, random: np.random.Generator) -> Components:
    """Return the pieces of the showers of all visible particles of the record."""
    arrivals = arrive(record, detector)
    light_N, muon_N = np.isin(arrivals.species_N, (11, 22)), arrivals.species_N == 13
    return joined(
        [
            _electromagnetic(arrivals.only(light_N), random),
            *_muons(arrivals.only(muon_N), random),
            *_hadrons(arrivals.only(~light_N & ~muon_N), random),
        ]
    )


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


def _fluctuate(energy_N: F64, sigma_N: F64, random: np.random.Generator) -> F64:
    """Return measured energies with this mean and spread, never negative: a Gamma distribution."""
    shape_N = (energy_N / sigma_N) ** 2
    drawn: F64 = random.gamma(shape_N, energy_N / shape_N)
    return drawn


@dataclass(frozen=True, slots=True)
class _Start:
    """Where pieces begin: whose they are, origin [mm], direction, time [ns], in HCAL or not."""

    owner_X: I64
    origin_X3: F64
    direction_X3: F64
    time_X: F64
    hcal_X: I64


def _core(at: Arrivals, start: _Start, energy_X: F64, profile: Profile, delay_X: F64) -> Components:
    """Return cores of these energies [GeV]."""
    spots_X = np.ceil(energy_X / _SPOT[start.hcal_X]).astype(np.int64)
    return Components(
        event_D=at.event_N[start.owner_X],
        particle_D=at.row_N[start.owner_X],
        shape_D=np.full(len(energy_X), CORE, np.int8),
        energy_D=energy_X,
        spots_D=np.where(energy_X > 0, spots_X, 0),
        origin_D3=start.origin_X3,
        direction_D3=start.direction_X3,
        bend_D3=np.zeros_like(start.direction_X3),
        profile=profile,
        time_D=start.time_X,
        delay_D=delay_X,
    )


def _trail(
    at: Arrivals, begin_N: F64, layers_N: I64, subdetector: int, random: np.random.Generator
) -> Components:
    """Return minimum-ionising trails over some layers, from a depth along the path on [mm]."""
    count = len(at)
    pitch = (ECAL_PITCH, HCAL_PITCH, YOKE_PITCH)[subdetector]
    width = np.full(count, 0.5 if subdetector == ECAL else 2.0)
    mean_N = MIP[subdetector] * layers_N
    spread_N = 1.0 + 0.1 * random.standard_normal(count)
    return Components(
        event_D=at.event_N,
        particle_D=at.row_N,
        shape_D=np.full(count, TRAIL, np.int8),
        energy_D=mean_N * np.clip(spread_N, 0.7, 1.3),
        spots_D=layers_N,
        origin_D3=at.entry_N3,
        direction_D3=at.direction_N3,
        bend_D3=at.bend_N3,
        profile=Profile(
            begin_N, np.ones(count), pitch / at.cosine_N, width, width, np.zeros(count)
        ),
        time_D=at.time_N,
        delay_D=np.zeros(count),
    )


def _electromagnetic(at: Arrivals, random: np.random.Generator) -> Components:
    """Return one core per photon or electron; a photon begins to shower a little later."""
    sigma_N = photon_resolution(at.energy_N, at.abs_eta_N)
    energy_N = _LIGHT_RESPONSE * _fluctuate(at.energy_N, sigma_N, random)
    photon_N = at.species_N == 22
    begin_N = np.where(photon_N, random.exponential(9.0 / 7.0, len(at)), 0.0)
    own = np.arange(len(at), dtype=np.int64)
    start = _Start(own, at.entry_N3, at.direction_N3, at.time_N, np.zeros(len(at), np.int64))
    profile = _light_profile(at.energy_N, start.hcal_X, random)
    profile = profile._replace(start_D=begin_N * RADIATION_LENGTH[ECAL])
    return _core(at, start, energy_N, profile, np.zeros(len(at)))


def _light_profile(energy_X: F64, hcal_X: I64, random: np.random.Generator) -> Profile:
    """Return the profile of electromagnetic showers: maximum at ln(E / E_c) radiation lengths."""
    highest_X = np.maximum(np.log(np.maximum(energy_X, 1e-3) / CRITICAL_ENERGY), 0.5)
    highest_X = highest_X * np.clip(1.0 + 0.12 * random.standard_normal(len(energy_X)), 0.5, 1.6)
    return Profile(
        start_D=np.zeros(len(energy_X)),
        alpha_D=1.0 + 0.5 * highest_X,
        scale_D=2.0 * RADIATION_LENGTH[hcal_X],
        core_D=_LIGHT_CORE[hcal_X],
        tail_D=_LIGHT_TAIL[hcal_X],
        tail_share_D=np.full(len(energy_X), _LIGHT_TAIL_SHARE),
    )


def _ecal_path(at: Arrivals) -> F64:
    """Return the path through the ECAL [mm], shape (N,)."""
    return np.asarray(ECAL_DEPTH / at.cosine_N)


def _gap(at: Arrivals) -> F64:
    """Return the path between ECAL and HCAL [mm], shape (N,)."""
    width_N = np.where(
        at.barrel_N, HCAL_BARREL[0] - ECAL_BARREL[1], HCAL_ENDCAP[0] - ECAL_ENDCAP[1]
    )
    return np.asarray(width_N / at.cosine_N)


def _muons(at: Arrivals, random: np.random.Generator) -> list[Components]:
    """Return a trail per calorimeter; a muon stops where its energy is used up."""
    left_N = at.energy_N.copy()
    trails = []
    behind_N = _ecal_path(at) + _gap(at)
    yoke_N = np.where(at.barrel_N, YOKE_BARREL[0] - ECAL_BARREL[0], YOKE_ENDCAP[0] - ECAL_ENDCAP[0])
    layers_N = np.where(at.barrel_N, 7, 5)
    for subdetector, begin_N, count_N, loss in (
        (ECAL, np.zeros(len(at)), np.full(len(at), 40), MIP[ECAL]),
        (HCAL, behind_N, np.full(len(at), 60), MIP[HCAL]),
        # In the yoke, most energy is lost in the iron between the layers.
        (YOKE, yoke_N / at.cosine_N, layers_N, 0.30),
    ):
        most_N = np.floor(left_N * at.cosine_N / loss).astype(np.int64)
        taken_N = np.minimum(count_N, most_N)
        trails.append(_trail(at, begin_N, taken_N, subdetector, random))
        left_N = np.where(taken_N == count_N, left_N - taken_N * loss / at.cosine_N, 0.0)
    return trails


def _hadrons(at: Arrivals, random: np.random.Generator) -> list[Components]:
    """Return the trail, the core, neutral pions and fragments of every hadron."""
    # Soft hadrons stop by ionisation and lose their binding energy: they are seen in part.
    seen_N = at.energy_N * (1.0 - _UNSEEN * np.exp(-at.energy_N / 1.5))
    sigma_N = hadron_resolution(at.energy_N, at.abs_eta_N)
    energy_N = _HADRON_RESPONSE * _fluctuate(seen_N, sigma_N, random)
    depth_N = random.exponential(INTERACTION_LENGTH, len(at))
    charged_N = at.charge_N != 0
    trails, depth_N, used_N = _hadron_trails(at, energy_N, depth_N, charged_N, random)
    left_N = np.maximum(energy_N - used_N, 0.0)
    vertex = _vertices(at, depth_N)
    pions, in_pions_N = _pions(at, vertex, left_N, random)
    fragments, in_fragments_N = _fragments(at, vertex, left_N - in_pions_N, random)
    rest_N = np.maximum(left_N - in_pions_N - in_fragments_N, 0.0)
    count = len(at)
    profile = Profile(
        start_D=np.zeros(count),
        alpha_D=np.full(count, 1.6),
        scale_D=np.full(count, 0.4 * INTERACTION_LENGTH),
        core_D=_HADRON_CORE[vertex.hcal_X],
        tail_D=_HADRON_TAIL[vertex.hcal_X],
        tail_share_D=np.full(count, _HADRON_TAIL_SHARE),
    )
    core = _core(at, vertex, rest_N, profile, np.full(count, 1.5))
    return [*trails, core, pions, fragments]


def _hadron_trails(
    at: Arrivals, energy_N: F64, depth_N: F64, charged_N: Bool, random: np.random.Generator
) -> tuple[list[Components], F64, F64]:
    """Return trails in ECAL and HCAL up to the depths, depths as reached, and energy used [GeV]."""
    through_N = _ecal_path(at)
    step_N = ECAL_PITCH / at.cosine_N
    most_N = np.floor(energy_N / MIP[ECAL])
    wanted_N = np.floor(np.minimum(depth_N, through_N) / step_N)
    ecal_N = np.where(charged_N, np.minimum(wanted_N, most_N), 0).astype(np.int64)
    stopped_N = charged_N & (wanted_N > most_N)
    left_N = energy_N - ecal_N * MIP[ECAL]
    behind_N = np.clip(depth_N - through_N, 0.0, HCAL_DEPTH / at.cosine_N)
    wanted_N = np.floor(behind_N * at.cosine_N / HCAL_PITCH)
    most_N = np.floor(np.maximum(left_N, 0.0) / MIP[HCAL])
    hcal_N = np.where(charged_N & ~stopped_N, np.minimum(wanted_N, most_N), 0).astype(np.int64)
    trails = [
        _trail(at, np.zeros(len(at)), ecal_N, ECAL, random),
        _trail(at, through_N + _gap(at), hcal_N, HCAL, random),
    ]
    used_N = ecal_N * MIP[ECAL] + hcal_N * MIP[HCAL]
    # What stops by ionisation leaves the rest of its energy at the end of its trail.
    reached_N = np.where(stopped_N, ecal_N * step_N, depth_N)
    return trails, reached_N, used_N


def _vertices(at: Arrivals, depth_N: F64) -> _Start:
    """Return where hadrons interact, at a depth of matter along their path [mm]."""
    through_N = _ecal_path(at)
    behind_N = depth_N > through_N
    way_N = depth_N + np.where(behind_N, _gap(at), 0.0)
    origin_N3, flight_N3 = at.ahead(way_N)
    own = np.arange(len(at), dtype=np.int64)
    time_N = at.time_N + way_N / LIGHT
    return _Start(own, origin_N3, flight_N3, time_N, behind_N.astype(np.int64))


def _pions(
    at: Arrivals, vertex: _Start, left_N: F64, random: np.random.Generator
) -> tuple[Components, F64]:
    """Return the electromagnetic part of hadron showers, and its energy per hadron [GeV]."""
    mean_N = np.clip(1.0 - np.maximum(left_N, 1.0) ** -0.18, 0.02, 0.9)
    # A Beta distribution whose width falls slowly with energy.
    tight_N = 3.0 + 2.0 * np.log1p(left_N)
    share_N = random.beta(mean_N * tight_N, (1.0 - mean_N) * tight_N)
    share_N = np.where(left_N > 0.5, share_N, 0.0)
    number_N = np.where(share_N * left_N > 0.1, 1 + random.poisson(0.5 * np.log1p(left_N)), 0)
    owner = np.repeat(np.arange(len(left_N)), number_N)
    weight = random.exponential(size=len(owner))
    total_N = np.bincount(owner, weight, minlength=len(left_N))
    energy = weight / total_N[owner] * (share_N * left_N)[owner]
    tilt = random.normal(size=(len(owner), 3)) * (0.35 / (1.0 + np.log1p(left_N[owner])))[:, None]
    direction = vertex.direction_X3[owner] + tilt
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    away = random.exponential(0.3 * INTERACTION_LENGTH, len(owner))
    start = _Start(
        owner,
        vertex.origin_X3[owner] + direction * away[:, None],
        direction,
        vertex.time_X[owner] + away / LIGHT,
        vertex.hcal_X[owner],
    )
    profile = _light_profile(energy, start.hcal_X, random)
    pieces = _core(at, start, energy, profile, np.zeros(len(owner)))
    return pieces, np.where(number_N > 0, share_N * left_N, 0.0)


def _fragments(
    at: Arrivals, vertex: _Start, left_N: F64, random: np.random.Generator
) -> tuple[Components, F64]:
    """Return what flies apart from the vertex, and its energy per hadron [GeV]."""
    number_N = np.minimum(random.poisson(_FRAGMENTS * np.log1p(left_N)), 6)
    owner = np.repeat(np.arange(len(left_N)), number_N)
    count = len(owner)
    energy = random.uniform(*_FRAGMENT_SHARE, count) * left_N[owner]
    # Isotropic, with a preference for forward.
    flight = random.normal(size=(count, 3))
    flight /= np.linalg.norm(flight, axis=1)[:, None]
    flight += 0.6 * vertex.direction_X3[owner]
    flight /= np.linalg.norm(flight, axis=1)[:, None]
    away = _FRAGMENT_AWAY[0] + random.exponential(_FRAGMENT_AWAY[1], count)
    origin = vertex.origin_X3[owner] + flight * away[:, None]
    back = random.random(count) < _BACKSCATTER
    origin = np.where(back[:, None], _on_face(at, owner, random), origin)
    forward = np.where(back[:, None], at.direction_N3[owner], flight)
    hcal = np.where(back, 0, vertex.hcal_X[owner])
    start = _Start(owner, origin, forward, vertex.time_X[owner] + away / LIGHT, hcal)
    profile = Profile(
        start_D=np.zeros(count),
        alpha_D=np.full(count, 1.5),
        scale_D=np.array([16.0, 50.0])[hcal],
        core_D=np.array([4.0, 15.0])[hcal],
        tail_D=np.array([10.0, 30.0])[hcal],
        tail_share_D=np.full(count, 0.2),
    )
    pieces = _core(at, start, energy, profile, np.full(count, _NEUTRON_DELAY))
    taken_N: F64 = np.bincount(owner, energy, minlength=len(left_N)).astype(np.float64)
    return pieces, taken_N


def _on_face(at: Arrivals, owner_X: I64, random: np.random.Generator) -> F64:
    """Return points just behind the face, some way beside the entry of a particle [mm]."""
    aside = random.normal(size=(len(owner_X), 3))
    along = np.sum(aside * at.direction_N3[owner_X], axis=1)
    aside -= along[:, None] * at.direction_N3[owner_X]
    aside /= np.maximum(np.linalg.norm(aside, axis=1), 1e-9)[:, None]
    away = random.exponential(_BACKSCATTER_AWAY, len(owner_X))
    deep = random.uniform(20.0, 80.0, len(owner_X))
    point: F64 = at.entry_N3[owner_X] + at.direction_N3[owner_X] * deep[:, None]
    return point + aside * away[:, None]

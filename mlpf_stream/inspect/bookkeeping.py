"""Measures of the truth that hold exactly, derived anew from what is stored.

Shape letters: E events, P particles, R element rows, N entries, M momentum columns.
"""

from typing import Final

import numpy as np

from mlpf_stream.columns import CLASSES, MOMENTUM, TRACK
from mlpf_stream.event import F64, I8, I64, Bool, Events, Particles, Rows
from mlpf_stream.inspect.measures import Measure, Share, share
from mlpf_stream.inspect.ownership import Owned, Ownership, numbers

ROUNDING: Final = 1e-4
"""Largest relative difference of numbers that are equal: they are stored in single precision."""
SPACE: Final = 1e-3
"""Largest abs(sin^2 + cos^2 - 1), and largest p / E - 1, of single precision."""
NEUTRAL: Final = tuple(CLASSES.index(name) for name in ("photon", "neutral_hadron"))
ELECTROMAGNETIC: Final = tuple(CLASSES.index(name) for name in ("photon", "electron"))
CHARGED_HADRON, NEUTRAL_HADRON, PHOTON = (
    CLASSES.index(name) for name in ("charged_hadron", "neutral_hadron", "photon")
)


def number_measures(events: Events) -> tuple[dict[str, Measure], I64]:
    """Return which numbers are finite, and the events that have no other."""
    marks, places = [], []
    for rows, event_R in numbers(events):
        marks.append(np.isfinite(rows).all(axis=1))
        places.append(event_R)
    finite_N, event_N = np.concatenate(marks), np.concatenate(places)
    bad_E = np.bincount(event_N[~finite_N], minlength=len(events)) > 0
    measured: dict[str, Measure] = {"numbers_finite": share(finite_N, event_N, len(events))}
    return measured, np.flatnonzero(~bad_E).astype(np.int64)


def unit_measures(owned: Ownership) -> dict[str, Measure]:
    """Return whether directions are directions, and energies those of real particles."""
    events, found = owned.events, owned.chunk.events
    round_N, place_N = [], []
    for one in owned.elements:
        round_N.append(_round(one.feature("sin_phi"), one.feature("cos_phi")))
        place_N.append(one.event_R)
    shells, shell_events = [], []
    for particles in (found.generator, found.targets):
        round_N.append(_round(particles.column("sin_phi"), particles.column("cos_phi")))
        place_N.append(particles.event_P)
        shells.append(_massive(particles))
        shell_events.append(particles.event_P)
    deposit = owned.deposit
    return {
        "directions_normalised": share(np.concatenate(round_N), np.concatenate(place_N), events),
        "energy_above_momentum": share(
            np.concatenate(shells), np.concatenate(shell_events), events
        ),
        "deposits_positive": share(deposit.feature("energy") > 0, deposit.event_R, events),
    }


def _round(sine_N: Rows, cosine_N: Rows) -> Bool:
    """Return which pairs of sine and cosine are of an angle."""
    return np.asarray(np.abs(np.hypot(sine_N, cosine_N) ** 2 - 1) < SPACE)


def _massive(particles: Particles) -> Bool:
    """Return which particles have positive energy, not below their momentum."""
    energy, pt, eta = (
        particles.column(name).astype(np.float64) for name in ("energy", "pt", "eta")
    )
    return np.asarray((energy > 0) & (pt * np.cosh(eta) <= energy * (1 + SPACE)))


def truth_measures(owned: Ownership) -> dict[str, Measure]:
    """Return whether targets are their particles, or more by what merged into them, and once."""
    events, generator = owned.events, owned.generator
    parts = [_target_marks(one, generator) for one in owned.elements]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    event_N = np.concatenate([one.event_R[one.hosting_R] for one in owned.elements])
    charged_N = joined.pop("charged")
    charge_N, charge_event_N = joined.pop("charge_agrees")[charged_N], event_N[charged_N]
    single_P = owned.targets_P > 0
    all_R = np.concatenate([one.hosting_R[one.target_R] for one in owned.elements])
    all_event = np.concatenate([one.event_R[one.target_R] for one in owned.elements])
    measured: dict[str, Measure] = {
        name: share(marked_N, event_N, events) for name, marked_N in joined.items()
    }
    track = owned.track.hosting_R
    measured["track_targets_are_particles"] = share(
        parts[0]["unmerged"], owned.track.event_R[track], events
    )
    measured["targets_have_particles"] = share(all_R, all_event, events)
    measured["charge_of_particle"] = share(charge_N, charge_event_N, events)
    measured["one_target_per_particle"] = share(
        owned.targets_P[single_P] == 1, generator.event_P[single_P], events
    )
    measured["merged_energy_in_books"] = _merged(owned)
    return measured


def _target_marks(one: Owned, generator: Particles) -> dict[str, Bool]:
    """Return what holds of every target of a kind with a known particle."""
    rows = one.hosting_R
    owner = one.owner_R[rows]
    own_RM = generator.momentum_PM[owner].astype(np.float64)
    target_RM = one.rows.momentum_RM[rows].astype(np.float64)
    energy = MOMENTUM.index("energy")
    expected_R = _host_class(one, generator.class_P[owner])
    charge_R = generator.charge_P[owner]
    same_R = np.abs(target_RM - own_RM) <= ROUNDING * np.maximum(np.abs(own_RM), 1.0)
    return {
        "class_of_host": one.rows.class_R[rows] == expected_R,
        "charged": np.asarray((charge_R != 0) & (one.kind == TRACK)),
        "charge_agrees": one.rows.charge_R[rows] == charge_R,
        "energy_of_particle": target_RM[:, energy] >= own_RM[:, energy] * (1 - ROUNDING),
        "unmerged": np.asarray(same_R.all(axis=1)),
    }


def _host_class(one: Owned, class_R: I8) -> I8:
    """Return the class that particles have on elements of a kind.

    Source: what sits on a track is charged, what sits in a calorimeter is a photon or a neutral
    hadron (Pata et al. 2023, section 2).
    """
    if one.kind == TRACK:
        return np.where(np.isin(class_R, NEUTRAL), CHARGED_HADRON, class_R).astype(np.int8)
    electromagnetic_R = np.isin(class_R, ELECTROMAGNETIC)
    return np.where(electromagnetic_R, PHOTON, NEUTRAL_HADRON).astype(np.int8)


def _merged(owned: Ownership) -> Share:
    """Return in which events what merged into targets is not more than the rest has."""
    events, generator = owned.events, owned.generator
    energy_P = generator.column("energy").astype(np.float64)
    free = owned.targets_P == 0
    free_E = np.bincount(generator.event_P[free], energy_P[free], events)
    surplus_E = np.zeros(events)
    total_E: F64 = np.bincount(generator.event_P, energy_P, events).astype(np.float64)
    for one in owned.elements:
        rows = one.hosting_R
        surplus = one.target("energy")[rows] - energy_P[one.owner_R[rows]]
        surplus_E += np.bincount(one.event_R[rows], surplus, events)
    fits_E = surplus_E <= free_E + ROUNDING * np.maximum(total_E, 1.0)
    return share(fits_E, np.arange(events, dtype=np.int64), events)

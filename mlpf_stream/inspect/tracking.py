"""Measures of tracks against their targets, and of charged particles against their tracks.

Shape letters: P generator particles, R track rows.
"""

from typing import Final

import numpy as np

from mlpf_stream.columns import CLASSES, UNLINKED
from mlpf_stream.event import I64, Bool
from mlpf_stream.inspect.measures import Measure, Values, quotient, share
from mlpf_stream.inspect.ownership import Ownership, angle_between

CURVATURE: Final = 2.99792458e-4
"""pt [GeV] = this * field [T] / abs(omega) [1/mm]."""
PT_BINS: Final = {"soft": (0.5, 2.0), "medium": (2.0, 10.0), "hard": (10.0, np.inf)}
"""Edges of bins in the target's pt [GeV]."""
DIRECTION: Final = 0.1
"""Largest angle between a track and its target [rad]."""
TRACKER_ETA: Final = 2.3
"""What is well inside the acceptance of a tracker, which ends near 2.5."""
LEAST_PT: Final = 0.5
"""Least pt of what surely makes a track [GeV]."""


def tracking_measures(owned: Ownership) -> dict[str, Measure]:
    """Return how tracks agree with field, targets and charged particles."""
    track, events = owned.track, owned.events
    pt, omega = track.feature("pt"), track.feature("omega")
    field_R = pt * np.abs(omega) / CURVATURE
    charged_R = _on_charged(owned)
    linked_R = track.rows.class_R != UNLINKED
    known_R = _known_charged(owned) & linked_R
    measured: dict[str, Measure] = {
        "field_of_tracks": Values(field_R / owned.chunk.field, track.event_R, events),
        "tracks_linked": share(linked_R, track.event_R, events),
        "tracks_with_target": share(track.target_R[known_R], track.event_R[known_R], events),
        "charge_of_curvature": share(
            np.sign(omega[charged_R]) == track.rows.charge_R[charged_R],
            track.event_R[charged_R],
            events,
        ),
        "track_direction": _direction(owned, charged_R & (track.target("pt") > LEAST_PT)),
        "tracks_per_charged": quotient(track.event_R, _trackable(owned), events),
    }
    return measured | _momentum(owned, charged_R)


def _momentum(owned: Ownership, charged_R: Bool) -> dict[str, Measure]:
    """Return track pt / target pt in bins."""
    track = owned.track
    target_pt = track.target("pt")
    ratio_R = track.feature("pt") / np.maximum(target_pt, 1e-9)
    measured: dict[str, Measure] = {}
    for name, (low, high) in PT_BINS.items():
        rows = charged_R & (target_pt >= low) & (target_pt < high)
        measured[f"track_pt_{name}"] = Values(ratio_R[rows], track.event_R[rows], owned.events)
    return measured


def _known_charged(owned: Ownership) -> Bool:
    """Return the tracks whose particle is charged."""
    charge_P = owned.generator.charge_P
    track = owned.track
    charged_R: Bool = np.zeros(len(track.owner_R), np.bool_)
    known_R = track.owner_R >= 0
    charged_R[known_R] = charge_P[track.owner_R[known_R]] != 0
    return charged_R


def _on_charged(owned: Ownership) -> Bool:
    """Return the tracks whose target is a charged particle: not half of a conversion."""
    return np.asarray(_known_charged(owned) & owned.track.target_R)


def _direction(owned: Ownership, rows: Bool) -> Measure:
    """Return how many tracks point where their target flies."""
    track = owned.track
    eta = track.feature("eta")[rows]
    vector_R3 = np.stack(
        [track.feature("cos_phi")[rows], track.feature("sin_phi")[rows], np.sinh(eta)], axis=1
    )
    angle_R = angle_between(vector_R3, track.rows.momentum_RM[rows])
    return share(angle_R < DIRECTION, track.event_R[rows], owned.events)


def _trackable(owned: Ownership) -> I64:
    """Return the events of the charged particles that should make a track."""
    generator = owned.generator
    here_P = (generator.charge_P != 0) & (np.abs(generator.column("eta")) < TRACKER_ETA)
    here_P &= generator.column("pt") > LEAST_PT
    event_P: I64 = generator.event_P[here_P]
    return event_P


LEAST_ENERGY: Final = {
    "charged_hadron": 1.0, "neutral_hadron": 2.0, "photon": 1.0, "electron": 1.0, "muon": 3.0
}  # fmt: skip
"""Least energy of particles that a detector should see [GeV], by class."""


def class_measures(owned: Ownership) -> dict[str, Measure]:
    """Return, class by class, which particles are a target, and which of those keep their class."""
    generator = owned.generator
    fiducial_P = np.abs(generator.column("eta")) < TRACKER_ETA
    fiducial_P &= generator.column("pt") > LEAST_PT
    measured: dict[str, Measure] = {}
    for number, name in enumerate(CLASSES[1:], start=1):
        least = LEAST_ENERGY[name]
        here_P = fiducial_P & (generator.class_P == number) & (generator.column("energy") > least)
        found_P = here_P & (owned.targets_P > 0)
        measured[f"matched_{name}"] = share(
            found_P[here_P], generator.event_P[here_P], owned.events
        )
        measured[f"kept_{name}"] = share(
            owned.host_class_P[found_P] == number, generator.event_P[found_P], owned.events
        )
    return measured

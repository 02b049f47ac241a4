"""Candidates of the baseline that the file carries, and the field that they were made with.

Shape letters: P particles, M momentum columns. Units: GeV, T.
"""

from typing import Final

import numpy as np

from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.elements import PT_PER_FIELD_RADIUS
from mlpf_stream.edm4hep.leaves import PFO_LEAVES, PFOS, STATES, TRACK_LEAVES, TRACKS, Leaf
from mlpf_stream.edm4hep.particles import classes_of, momentum_columns
from mlpf_stream.edm4hep.relations import rows_of, slices
from mlpf_stream.event import Particles

_MEASURING: Final = (
    *(f"{TRACKS}.{name}" for name in ("chi2", "trackStates_begin", "trackStates_end")),
    *(f"{PFOS}.{name}" for name in ("charge", "momentum.x", "momentum.y")),
    *(f"{PFOS}.{name}" for name in ("tracks_begin", "tracks_end")),
    f"{STATES}.omega",
    "_PandoraPFOs_tracks.index",
)
FIELD_LEAVES: Final[tuple[Leaf, ...]] = tuple(
    leaf for leaf in (*TRACK_LEAVES, *PFO_LEAVES) if leaf.name in _MEASURING
)
"""What `measure_field` reads."""
MIN_FIELD_TRACKS: Final = 5
"""Fewest single-track candidates that measure the field."""


def has_candidates(collections: Collections) -> bool:
    """Return whether the file holds particle-flow candidates."""
    return f"{PFOS}.energy" in collections


def build_candidates(collections: Collections) -> Particles:
    """Return the particle-flow candidates of every event; none where the file has no collection.

    Raises:
        SchemaError: the collection is stored in part.
    """
    if not has_candidates(collections):
        return Particles.empty(collections.events)
    members = ("momentum.x", "momentum.y", "momentum.z", "energy")
    vector = [collections[f"{PFOS}.{name}"].values.astype(np.float64) for name in members]
    charge = collections[f"{PFOS}.charge"].values.astype(np.float64)
    pdg = collections[f"{PFOS}.PDG"].values.astype(np.int64)
    return Particles(
        classes_of(pdg, charge),
        np.sign(charge).astype(np.int8),
        momentum_columns(np.stack(vector, axis=1)),
        collections[f"{PFOS}.energy"].offsets,
    )


def measure_field(collections: Collections) -> float | None:
    """Return the field [T] that the candidates were made with, None where too few tell.

    It is the median of pt |omega| / 2.99792458e-4 over charged candidates with a single track.

    Source: curvature of a unit charge in a solenoid field, pt = 0.299792458 B R.
    """
    needed = (f"{PFOS}.momentum.x", "_PandoraPFOs_tracks.index", f"{STATES}.omega")
    if any(leaf not in collections for leaf in needed):
        return None
    tracks_K = slices(collections, f"{PFOS}.tracks", "_PandoraPFOs_tracks.index")
    track = rows_of(collections["_PandoraPFOs_tracks.index"], collections[f"{TRACKS}.chi2"])
    charge = collections[f"{PFOS}.charge"].values
    single_K = np.bincount(tracks_K.parent_K, minlength=len(charge))[tracks_K.parent_K] == 1
    states_K = slices(collections, f"{TRACKS}.trackStates", f"{STATES}.omega")
    first_K = np.flatnonzero(np.diff(states_K.parent_K, prepend=-1))
    omega = np.zeros(len(collections[f"{TRACKS}.chi2"].values))
    values = collections[f"{STATES}.omega"].values.astype(np.float64)
    omega[states_K.parent_K[first_K]] = values[states_K.child_K[first_K]]
    keep_K = single_K & (track[tracks_K.child_K] >= 0) & (charge[tracks_K.parent_K] != 0)
    pfo, row = tracks_K.parent_K[keep_K], track[tracks_K.child_K[keep_K]]
    px, py = (collections[f"{PFOS}.momentum.{axis}"].values.astype(np.float64) for axis in "xy")
    field = np.hypot(px, py)[pfo] * np.abs(omega[row]) / PT_PER_FIELD_RADIUS
    field = field[np.isfinite(field) & (field > 0)]
    # To the millitesla: files made with one field then agree on it exactly.
    return round(float(np.median(field)), 3) if len(field) >= MIN_FIELD_TRACKS else None

"""Tracks, clusters and hits to input features, all events at once.

Shape letters: R element rows of one kind, F features, K pairs. Units: GeV, mm, ns, T.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from mlpf_stream.columns import (
    CLUSTER,
    HIT,
    MODE_KINDS,
    SUBDETECTORS,
    TRACK,
    Detector,
    ElementKind,
    Mode,
)
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.edm4hep.hit_features import hit_features
from mlpf_stream.edm4hep.hits import Cells
from mlpf_stream.edm4hep.leaves import CLUSTERS, STATE_AT_FIRST_HIT, STATES, TRACKS
from mlpf_stream.edm4hep.relations import rows_of, slices
from mlpf_stream.event import F32, F64, I8, I64

PT_PER_FIELD_RADIUS: Final = 2.99792458e-4
"""Transverse momentum [GeV] of a unit charge per field [T] and radius of curvature [mm]."""

_SUBDETECTOR_ENERGIES: Final = "_PandoraClusters_subdetectorEnergies"
_CALORIMETERS: Final = SUBDETECTORS[:3]
_HIT_ENERGY: Final = tuple(f"energy_{name}" for name in _CALORIMETERS)
_STATE: Final = ("D0", "phi", "omega", "Z0", "tanLambda")
_HIT_SPREAD: Final = ("sigma_x", "sigma_y", "sigma_z")


@dataclass(frozen=True, slots=True)
class ElementArrays:
    """Features of one element kind: `x_RF` in the kind's column order, `offsets` (E + 1,)."""

    x_RF: F32
    offsets: I64


@dataclass(frozen=True, slots=True)
class ElementSet:
    """All elements of some events.

    `arrays` by kind name in packed-row order; `missing_features` lists `kind.column` of features
    that are zero because their inputs are not stored, or not everywhere; `dangling_R` counts per
    cluster row the hits that point at nothing stored (shape (clusters,), empty without clusters).
    """

    arrays: Mapping[str, ElementArrays]
    missing_features: tuple[str, ...]
    dangling_R: I64


def build_elements(
    collections: Collections,
    detector: Detector,
    field: float,
    mode: Mode = "clusters",
    cells: Cells | None = None,
) -> ElementSet:
    """Return the features of all elements of a mode in a solenoid field [T].

    Values that are not finite stay so: the caller decides about their event. Overflow of float32
    becomes infinite. `cells` are the hits of the collections, where they were looked up before.

    Raises:
        SchemaError: a leaf that every reconstructed file has is absent.
        EventError: a track or cluster refers to rows that its event does not have.
    """
    cells = cells or Cells(collections, detector)
    arrays: dict[str, ElementArrays] = {}
    missing: tuple[str, ...] = ()
    dangling_R = np.zeros(0, np.int64)
    with np.errstate(all="ignore"):
        for kind in MODE_KINDS[mode]:
            if kind is TRACK:
                columns, lacking = _tracks(collections, field)
                arrays[kind.name] = _arrays(collections, kind, columns, f"{TRACKS}.chi2")
            elif kind is CLUSTER:
                columns, lacking, dangling_R = _clusters(collections, cells)
                arrays[kind.name] = _arrays(collections, kind, columns, f"{CLUSTERS}.energy")
            elif kind is HIT:
                x_RF, lacking = hit_features(collections, cells)
                arrays[kind.name] = ElementArrays(x_RF, cells.elements.offsets)
            missing += lacking
    return ElementSet(arrays, missing, dangling_R)


def _arrays(
    collections: Collections, kind: ElementKind, columns: Mapping[str, F64], leaf: str
) -> ElementArrays:
    """Stack named columns in the order of the kind."""
    stacked = [columns[name] for name in kind.names]
    return ElementArrays(np.stack(stacked, axis=1).astype(np.float32), collections[leaf].offsets)


def _column(collections: Collections, leaf: str) -> F64:
    """Return one leaf of all events as float64."""
    return collections[leaf].values.astype(np.float64)


def _tracks(collections: Collections, field: float) -> tuple[dict[str, F64], tuple[str, ...]]:
    """Return the columns of all tracks and those that are missing.

    Source: helix parameters in L3 convention, pt = 0.299792458 |B / omega| with omega in 1/m
    (T. Kraemer, LC-DET-2006-004).
    """
    chi2 = _column(collections, f"{TRACKS}.chi2")
    state, missing = _state_at_begin(collections, len(chi2))
    pt = PT_PER_FIELD_RADIUS * np.abs(field / state["omega"])
    ionisation, missing_dedx = _ionisation(collections, len(chi2))
    radius, missing_radius = _innermost_radius(collections, len(chi2))
    columns = {
        "elemtype": np.full(len(chi2), float(TRACK.code)),
        "pt": pt,
        "eta": np.arcsinh(state["tanLambda"]),
        "sin_phi": np.sin(state["phi"]),
        "cos_phi": np.cos(state["phi"]),
        "p": pt * np.hypot(1.0, state["tanLambda"]),
        "chi2": chi2,
        "ndf": _column(collections, f"{TRACKS}.ndf"),
        **ionisation,
        "radius_of_innermost_hit": radius,
        "tan_lambda": state["tanLambda"],
        "d0": state["D0"],
        "omega": state["omega"],
        "z0": state["Z0"],
        "time": state["time"],
    }
    return columns, missing + missing_dedx + missing_radius


def _state_at_begin(
    collections: Collections, tracks: int
) -> tuple[dict[str, F64], tuple[str, ...]]:
    """Return the parameters of the first state of every track, the one at the interaction point.

    A track without any state gets NaN, so that its event is skipped and counted.
    """
    columns = {name: np.full(tracks, np.nan) for name in (*_STATE, "time")}
    timed = f"{STATES}.time" in collections
    if not timed:
        columns["time"] = np.zeros(tracks)
    if tracks:
        pairs = slices(collections, f"{TRACKS}.trackStates", f"{STATES}.omega")
        first_K = np.flatnonzero(np.diff(pairs.parent_K, prepend=-1))
        for name in (*_STATE, "time") if timed else _STATE:
            values = _column(collections, f"{STATES}.{name}")
            columns[name][pairs.parent_K[first_K]] = values[pairs.child_K[first_K]]
    return columns, () if timed else (f"{TRACK.name}.time",)


def _ionisation(collections: Collections, tracks: int) -> tuple[dict[str, F64], tuple[str, ...]]:
    """Return dE/dx and its error from the newer collection or the older members of tracks."""
    names = {"dedx": ("dQdx.value", "dEdx"), "dedx_error": ("dQdx.error", "dEdxError")}
    columns, missing = {}, []
    for column, (new, old) in names.items():
        columns[column] = np.zeros(tracks)
        if f"SiTracks_Refitted_dQdx.{new}" in collections:
            values = _column(collections, f"SiTracks_Refitted_dQdx.{new}")
            rows = _ionisation_rows(collections)
            columns[column][rows[rows >= 0]] = values[rows >= 0]
        elif f"{TRACKS}.{old}" in collections:
            columns[column] = _column(collections, f"{TRACKS}.{old}")
        else:
            missing.append(f"{TRACK.name}.{column}")
    return columns, tuple(missing)


def _ionisation_rows(collections: Collections) -> I64:
    """Return the track row of every dQ/dx: as related, else in the order of tracks."""
    tracks = collections[f"{TRACKS}.chi2"]
    relation = "_SiTracks_Refitted_dQdx_track.index"
    if relation in collections:
        return rows_of(collections[relation], tracks)
    same = np.array_equal(collections["SiTracks_Refitted_dQdx.dQdx.value"].offsets, tracks.offsets)
    rows = len(collections["SiTracks_Refitted_dQdx.dQdx.value"].values)
    return np.arange(rows, dtype=np.int64) if same else np.full(rows, -1, np.int64)


def _innermost_radius(collections: Collections, tracks: int) -> tuple[F64, tuple[str, ...]]:
    """Return the distance of the first hit from the beam axis [mm], 0 where it is not known."""
    radius = np.zeros(tracks)
    if f"{TRACKS}.radiusOfInnermostHit" in collections:
        return _column(collections, f"{TRACKS}.radiusOfInnermostHit"), ()
    leaf = f"{STATES}.referencePoint.x"
    if leaf not in collections or f"{STATES}.location" not in collections:
        return radius, (f"{TRACK.name}.radius_of_innermost_hit",)
    pairs = slices(collections, f"{TRACKS}.trackStates", leaf)
    at_first_K = collections[f"{STATES}.location"].values[pairs.child_K] == STATE_AT_FIRST_HIT
    child = pairs.child_K[at_first_K]
    x, y = (_column(collections, f"{STATES}.referencePoint.{axis}")[child] for axis in "xy")
    radius[pairs.parent_K[at_first_K]] = np.hypot(x, y)
    return radius, ()


def _clusters(
    collections: Collections, cells: Cells
) -> tuple[dict[str, F64], tuple[str, ...], I64]:
    """Return the columns of all clusters, those that are missing, and dangling hits per cluster."""
    energy = _column(collections, f"{CLUSTERS}.energy")
    theta = _column(collections, f"{CLUSTERS}.iTheta")
    phi = _column(collections, f"{CLUSTERS}.iPhi")
    tangent = np.tan(theta / 2)
    eta = np.where(tangent > 0, -np.log(np.where(tangent > 0, tangent, 1.0)), 0.0)
    begin, end = (_column(collections, f"{CLUSTERS}.hits_{side}") for side in ("begin", "end"))
    shapes, missing, dangling_R = _shapes(collections, cells, len(energy))
    columns = {
        "elemtype": np.full(len(energy), float(CLUSTER.code)),
        "et": np.abs(energy * np.sin(theta)),
        "eta": eta,
        "sin_phi": np.sin(phi),
        "cos_phi": np.cos(phi),
        "energy": energy,
        **{axis: _column(collections, f"{CLUSTERS}.position.{axis}") for axis in "xyz"},
        "theta": theta,
        "num_hits": end - begin,
        **shapes,
    }
    return columns, missing, dangling_R


def _shapes(
    collections: Collections, cells: Cells, clusters: int
) -> tuple[dict[str, F64], tuple[str, ...], I64]:
    """Return energies by subdetector and the spread of hits, from the best that is stored.

    Hit sums where all hits of a cluster are stored, else its subdetector energies, else zero.
    """
    shapes = _stored_energies(collections, clusters)
    known = tuple(shapes)
    shapes.update(
        {name: np.zeros(clusters) for name in (*_HIT_ENERGY, *_HIT_SPREAD) if name not in known}
    )
    dangling_R = np.zeros(clusters, np.int64)
    if "_PandoraClusters_hits.collectionID" in collections:
        pairs = cells.of_clusters
        dangling_R = np.bincount(pairs.cluster_K[pairs.hit_K < 0], minlength=clusters)
        if cells.hits.sources:
            complete_R = dangling_R == 0
            for name, column in _hit_shapes(collections, cells, clusters).items():
                shapes[name] = np.where(complete_R | (name not in known), column, shapes[name])
            known = (*_HIT_ENERGY, *_HIT_SPREAD)
    missing = tuple(f"{CLUSTER.name}.{name}" for name in shapes if name not in known)
    return shapes, missing, dangling_R.astype(np.int64)


def _stored_energies(collections: Collections, clusters: int) -> dict[str, F64]:
    """Return the subdetector energies of clusters: ecal, hcal, and the sum of all others.

    Source: order of the subdetector energies in key4hep DDMarlinPandora cluster conversion: ecal,
    hcal, yoke, lcal, lhcal, bcal.
    """
    if _SUBDETECTOR_ENERGIES not in collections:
        return {}
    pairs = slices(collections, f"{CLUSTERS}.subdetectorEnergies", _SUBDETECTOR_ENERGIES)
    value = _column(collections, _SUBDETECTOR_ENERGIES)[pairs.child_K]
    begin = collections[f"{CLUSTERS}.subdetectorEnergies_begin"]
    first_R = np.searchsorted(pairs.parent_K, np.arange(len(begin.values)))
    order_K = np.minimum(np.arange(len(value)) - first_R[pairs.parent_K], len(_CALORIMETERS) - 1)
    energies: dict[str, F64] = {}
    for code, name in enumerate(_HIT_ENERGY):
        weight_K = np.where(order_K == code, value, 0.0)
        total_R = np.bincount(pairs.parent_K, weights=weight_K, minlength=clusters)
        energies[name] = total_R.astype(np.float64)
    return energies


def _hit_shapes(collections: Collections, cells: Cells, clusters: int) -> dict[str, F64]:
    """Return hit energy sums by subdetector and energy-weighted widths of stored hits."""
    pairs, hits = cells.of_clusters.stored, cells.hits
    position = (hits.column(collections, f"position.{axis}", "float32") for axis in "xyz")
    columns = _HitColumns(cells.energy_H, hits.subdetector_H, *position)
    energy_RS, variance_R3 = _sum_hits(columns, pairs.cluster_K, pairs.hit_K, clusters)
    spread_R3 = np.sqrt(np.maximum(variance_R3, 0.0))
    return {
        **dict(zip(_HIT_ENERGY, energy_RS.T, strict=True)),
        **dict(zip(_HIT_SPREAD, spread_R3.T, strict=True)),
    }


class _HitColumns(NamedTuple):
    """What the shapes of clusters are made of, (H,)."""

    energy: F64
    subdetector: I8
    x: F32
    y: F32
    z: F32


@compiled()
def _sum_hits(hit: _HitColumns, cluster_K: I64, hit_K: I64, clusters: int) -> tuple[F64, F64]:
    """Return energies by subdetector and energy-weighted variances of x, y, z of every cluster."""
    energy_RS, mean_R3 = np.zeros((clusters, 3), np.float64), np.zeros((clusters, 3), np.float64)
    for k in range(len(cluster_K)):
        cluster, at = cluster_K[k], hit_K[k]
        energy = hit.energy[at]
        energy_RS[cluster, hit.subdetector[at]] += energy
        mean_R3[cluster, 0] += energy * np.float64(hit.x[at])
        mean_R3[cluster, 1] += energy * np.float64(hit.y[at])
        mean_R3[cluster, 2] += energy * np.float64(hit.z[at])
    norm_R = np.ones(clusters, np.float64)
    for cluster in range(clusters):
        total = energy_RS[cluster, 0] + energy_RS[cluster, 1] + energy_RS[cluster, 2]
        norm_R[cluster] = total if total > 0 else 1.0
        mean_R3[cluster] /= norm_R[cluster]
    # Two passes: positions are metres and widths millimetres.
    variance_R3 = np.zeros((clusters, 3), np.float64)
    for k in range(len(cluster_K)):
        cluster, at = cluster_K[k], hit_K[k]
        energy = hit.energy[at]
        x, y, z = (
            hit.x[at] - mean_R3[cluster, 0],
            hit.y[at] - mean_R3[cluster, 1],
            hit.z[at] - mean_R3[cluster, 2],
        )
        variance_R3[cluster, 0] += energy * x * x
        variance_R3[cluster, 1] += energy * y * y
        variance_R3[cluster, 2] += energy * z * z
    for cluster in range(clusters):
        variance_R3[cluster] /= norm_R[cluster]
    return energy_RS, variance_R3

"""The truth of every event: generator particles, and the target of every element.

The published definition (Pata et al. 2023; jpata/particleflow key4hep post-processing) with every
deposit accounted for: merging adds four-vectors, nothing is overwritten or counted twice. Unlike
there, only deposits in elements count: where clusters are the inputs, hits outside them do not.

Shape letters: N MC rows, R element rows, V visible particles, M momentum columns. Units: GeV.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import (
    CLASSES,
    MOMENTUM,
    NO_PARTICLE,
    TRACK,
    UNLINKED,
    Detector,
    ElementKind,
    Mode,
)
from mlpf_stream.edm4hep.accounts import TruthCounts, Vision, check_accounts, count_truth
from mlpf_stream.edm4hep.assignment import MIN_TRACK_WEIGHT, assign
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.deposits import Deposits, read_deposits
from mlpf_stream.edm4hep.hits import Cells
from mlpf_stream.edm4hep.leaves import TRACKS
from mlpf_stream.edm4hep.links import track_links
from mlpf_stream.edm4hep.pairs import Pairs
from mlpf_stream.edm4hep.particles import momentum_columns
from mlpf_stream.edm4hep.record import Record, owned_deposits, owned_shares, read_record
from mlpf_stream.event import F32, F64, I8, I32, I64, Bool, Particles, offsets_of

MIN_ENERGY_SHARE: Final = 0.10
"""A stable particle is visible if it deposits more than this share of its energy,"""
MIN_CHARGED_DEPOSIT: Final = 0.5
"""or if it is charged and deposits more than this [GeV]."""
REACHED_DETECTOR: Final = 0x0F000000
"""Bits 24 to 27 of `simulatorStatus`: stopped, left, decayed in calorimeter or in tracker."""

_PHOTON: Final = CLASSES.index("photon")
_ELECTRON: Final = CLASSES.index("electron")
_CHARGED: Final = CLASSES.index("charged_hadron")
_NEUTRAL: Final = CLASSES.index("neutral_hadron")


@dataclass(frozen=True, slots=True)
class TargetArrays:
    """Targets of one element kind; fields as in `event.Elements`."""

    class_R: I8
    charge_R: I8
    momentum_RM: F32
    particle_R: I32


@dataclass(frozen=True, slots=True)
class Targets:
    """Truth of some events: targets by kind name, counts by event.

    `finite_E` is false where a number of the MC record or of the links of an event is not finite;
    such an event has no targets.
    """

    generator: Particles
    arrays: Mapping[str, TargetArrays]
    counts: TruthCounts
    finite_E: Bool


def build_targets(
    collections: Collections,
    detector: Detector,
    track_charge_R: I8,
    mode: Mode = "clusters",
    cells: Cells | None = None,
) -> Targets:
    """Return generator particles and the targets of all elements of a mode.

    `track_charge_R` is the sign of the charge by the curvature of each track, for neutral
    particles that sit on one; `cells` are the hits, where they were looked up before.

    Raises:
        SchemaError: the file has no truth links.
        EventError: an event's relations contradict themselves, or its energy is not accounted for.
    """
    with np.errstate(all="ignore"):
        deposits = read_deposits(collections, detector, mode, cells)
        shares = track_links(collections)
        record = read_record(collections, deposits, shares)
        tracks, owned = owned_shares(record, shares), owned_deposits(record, deposits)
        seen = _see(record, tracks, owned, deposits.kind)
        listed_N = _listed(record, seen)
        name = deposits.kind.name
        arrays = {
            TRACK.name: _track_targets(record, seen, track_charge_R),
            name: _deposit_targets(record, seen, len(deposits.total_R)),
        }
        check_accounts(
            collections, record, seen, deposits, _target_energy(collections, arrays, deposits)
        )
        listing_N, rows_V = _listing(record, listed_N), seen.visible_V
        _number(arrays[TRACK.name], tracks, (rows_V, seen.hosts.track_V), listing_N)
        _number(arrays[name], owned, (rows_V, seen.hosts.deposit_V), listing_N)
    linked_R = np.bincount(shares.from_L, minlength=len(track_charge_R)) > 0
    arrays[TRACK.name].class_R[~linked_R] = UNLINKED
    counts = count_truth(collections, record, seen, (deposits, owned, linked_R))
    return Targets(_generator(record, listed_N), arrays, counts, record.finite_E)


def _see(record: Record, tracks: Pairs, owned: Pairs, kind: ElementKind) -> Vision:
    """Return the visible particles, by event and falling energy, each with its host.

    Source: visibility as published (jpata/particleflow key4hep post-processing).
    """
    rows = len(record.event_N)
    deposit_N = np.bincount(owned.particle_K, weights=owned.value_K, minlength=rows)
    share_N = np.zeros(rows)
    np.maximum.at(share_N, tracks.particle_K, tracks.value_K)
    energy_N = record.vector_N4[:, 3]
    seen_N = deposit_N > MIN_ENERGY_SHARE * energy_N
    seen_N |= (deposit_N > MIN_CHARGED_DEPOSIT) & (record.charge_N != 0)
    seen_N |= share_N >= MIN_TRACK_WEIGHT
    seen_N = (seen_N & record.ancestry.stable_N) | record.ancestry.surrogate_N
    visible_V = np.flatnonzero(seen_N & record.finite_E[record.event_N])
    order_V = np.lexsort((visible_V, -energy_N[visible_V], record.event_N[visible_V]))
    visible_V = visible_V[order_V]
    hosts = assign(visible_V, tracks, owned, kind)
    # Added one by one, never assigned: many particles may merge into one owner.
    vector_V4 = record.vector_N4[visible_V]
    lost_V = np.flatnonzero(hosts.into_V >= 0)
    np.add.at(vector_V4, hosts.into_V[lost_V], record.vector_N4[visible_V[lost_V]])
    return Vision(visible_V, hosts, vector_V4)


def _listed(record: Record, seen: Vision) -> Bool:
    """Return the MC rows that are generator particles of their event.

    Reference particles: stable, no neutrino, seen by the simulation, not represented by a
    surrogate; and all visible particles.
    """
    reached_N = (record.simulator_status_N & REACHED_DETECTOR) != 0
    listed_N: Bool = record.ancestry.stable_N & reached_N & ~record.ancestry.replaced_N
    listed_N[seen.visible_V] = True
    return listed_N


def _listing(record: Record, listed_N: Bool) -> I64:
    """Return the index of every MC row in the generator particles of its event, -1 if not there."""
    before_N = np.concatenate([np.zeros(1, np.int64), np.cumsum(listed_N)])
    first_N = before_N[record.offsets[record.event_N]]
    return np.where(listed_N, before_N[:-1] - first_N, NO_PARTICLE)


def _generator(record: Record, listed_N: Bool) -> Particles:
    """Return the listed MC rows as particles."""
    counts_E = np.bincount(record.event_N[listed_N], minlength=len(record.offsets) - 1)
    return Particles(
        record.class_N[listed_N],
        record.charge_N[listed_N],
        momentum_columns(record.vector_N4[listed_N]),
        offsets_of(counts_E.astype(np.int64)),
    )


def _track_targets(record: Record, seen: Vision, track_charge_R: I8) -> TargetArrays:
    """Return the targets of tracks: what sits on a track is charged."""
    on_V = np.flatnonzero(seen.hosts.track_V >= 0)
    host = seen.hosts.track_V[on_V]
    class_V, charge_V = record.class_N[seen.visible_V[on_V]], record.charge_N[seen.visible_V[on_V]]
    neutral_V = np.isin(class_V, (_PHOTON, _NEUTRAL))
    targets = _no_targets(len(track_charge_R))
    targets.class_R[host] = np.where(neutral_V, _CHARGED, class_V)
    targets.charge_R[host] = np.where(neutral_V, track_charge_R[host], charge_V)
    targets.momentum_RM[host] = momentum_columns(seen.vector_V4[on_V])
    return targets


def _deposit_targets(record: Record, seen: Vision, rows: int) -> TargetArrays:
    """Return the targets of clusters or hits: a photon or a neutral hadron, and no charge."""
    on_V = np.flatnonzero(seen.hosts.deposit_V >= 0)
    host = seen.hosts.deposit_V[on_V]
    electromagnetic_V = np.isin(record.class_N[seen.visible_V[on_V]], (_PHOTON, _ELECTRON))
    targets = _no_targets(rows)
    targets.class_R[host] = np.where(electromagnetic_V, _PHOTON, _NEUTRAL)
    targets.momentum_RM[host] = momentum_columns(seen.vector_V4[on_V])
    return targets


def _target_energy(
    collections: Collections, arrays: Mapping[str, TargetArrays], deposits: Deposits
) -> F64:
    """Return the energy of all targets of every event [GeV], shape (E,)."""
    energy_E = np.zeros(collections.events)
    of_tracks = collections[f"{TRACKS}.chi2"].offsets
    for name, edges in ((TRACK.name, of_tracks), (deposits.kind.name, deposits.offsets)):
        hosts = np.flatnonzero(arrays[name].class_R > 0)
        energy = arrays[name].momentum_RM[hosts, MOMENTUM.index("energy")]
        event = np.searchsorted(edges, hosts, side="right") - 1
        energy_E += np.bincount(event, weights=energy, minlength=collections.events)
    return energy_E


def _no_targets(rows: int) -> TargetArrays:
    """Return elements of class none."""
    return TargetArrays(
        np.zeros(rows, np.int8),
        np.zeros(rows, np.int8),
        np.zeros((rows, len(MOMENTUM)), np.float32),
        np.full(rows, NO_PARTICLE, np.int32),
    )


def _number(targets: TargetArrays, pairs: Pairs, hosted: tuple[I64, I64], listing_N: I64) -> None:
    """Fill in the particle of every element: its target, else its largest listed contributor.

    `hosted` are the visible MC rows and the element that hosts each, -1 for none.
    """
    pairs.put_largest(listing_N, targets.particle_R)
    visible_V, host_V = hosted
    on_V = np.flatnonzero(host_V >= 0)
    targets.particle_R[host_V[on_V]] = listing_N[visible_V[on_V]]

"""The books of the truth: what became of every particle and every GeV, checked per event.

Shape letters: E events, N MC rows, V visible particles, R rows of clusters or hits, K pairs.
Units: GeV.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.edm4hep.assignment import Hosts, Pairs
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.deposits import Deposits
from mlpf_stream.edm4hep.leaves import TRACKS
from mlpf_stream.edm4hep.record import Record
from mlpf_stream.edm4hep.relations import event_of
from mlpf_stream.errors import EventError
from mlpf_stream.event import F64, I64, Bool

SHARED: Final = 0.1
"""A cluster or hit is shared if two particles each gave at least this part of its linked energy."""
FATES: Final = 4
"""What becomes of a particle: nothing (it is invisible), a target, merged, dropped."""
TOLERANCE: Final = 1e-6
"""Largest relative imbalance of the accounts of an event."""


@dataclass(frozen=True, slots=True)
class Vision:
    """Visible particles as MC rows, their hosts, and four-vectors after merging, shape (V, 4)."""

    visible_V: I64
    hosts: Hosts
    vector_V4: F64

    @property
    def hosted_V(self) -> Bool:
        """Which visible particles are targets."""
        hosted_V: Bool = (self.hosts.track_V >= 0) | (self.hosts.deposit_V >= 0)
        return hosted_V

    @property
    def merged_V(self) -> Bool:
        """Which visible particles were added to another one."""
        merged_V: Bool = self.hosts.into_V >= 0
        return merged_V

    @property
    def dropped_V(self) -> Bool:
        """Which visible particles are neither."""
        dropped_V: Bool = ~(self.hosted_V | self.merged_V)
        return dropped_V


@dataclass(frozen=True, slots=True)
class TruthCounts:
    """What became of the truth of each event, all (E,); `dropped_energy` in GeV.

    In hit mode, hits stand where the names say clusters.
    """

    targets: I64
    merged: I64
    dropped: I64
    dropped_energy: F64
    unlinked_tracks: I64
    unlinked_clusters: I64
    clusters_shared: I64
    clusters_without_target: I64


def check_accounts(
    collections: Collections, record: Record, seen: Vision, deposits: Deposits, target_E: F64
) -> None:
    """Check that no energy got lost or was counted twice, in clusters or hits and in particles.

    Energy of clusters or hits = deposits of targets + of merged + of dropped + of invisible
    particles and of nobody + unlinked. Energy of visible particles = energy of targets + dropped
    energy, where `target_E` is the energy of the targets as the elements of every event carry it.

    Raises:
        EventError: an account of an event does not balance.
    """
    event_V = record.event_N[seen.visible_V]
    energy_V = record.vector_N4[seen.visible_V, 3]
    events = collections.events
    before_E = _per_event(event_V, energy_V, events)
    dropped_E = _per_event(event_V, np.where(seen.dropped_V, energy_V, 0.0), events)
    account = ("visible particles", before_E, target_E + dropped_E)
    _balance(collections, account, record.finite_E)

    event_R = deposits.event_R
    total_E = _per_event(event_R, deposits.total_R, events)
    booked_E = _booked_energy(record, seen, deposits, events)
    booked_E += _per_event(event_R, deposits.unlinked_R, events)
    _balance(collections, (f"{deposits.kind.name}s", total_E, booked_E), record.finite_E)


def count_truth(
    collections: Collections, record: Record, seen: Vision, links: tuple[Deposits, Pairs, Bool]
) -> TruthCounts:
    """Count targets, merged and dropped particles, shared and unlinked elements of each event.

    `links` are the deposits of MC rows, those of owners, and which tracks are linked.
    """
    deposits, owned, linked_R = links
    events = collections.events
    event_V = record.event_N[seen.visible_V]
    host_V = seen.hosts.deposit_V
    bare_R = np.ones(len(deposits.total_R), np.bool_)
    bare_R[deposits.element_K] = False
    bare = np.flatnonzero(bare_R)
    hosting_E = _count(event_V, host_V >= 0, events)
    dropped_V = np.where(seen.dropped_V, record.vector_N4[seen.visible_V, 3], 0.0)
    return TruthCounts(
        targets=_count(event_V, seen.hosted_V, events),
        merged=_count(event_V, seen.merged_V, events),
        dropped=_count(event_V, seen.dropped_V, events),
        dropped_energy=_per_event(event_V, dropped_V, events),
        unlinked_tracks=_count(event_of(collections[f"{TRACKS}.chi2"]), ~linked_R, events),
        unlinked_clusters=_tally(deposits.event_R[bare], events),
        clusters_shared=_tally(deposits.event_R[_shared(deposits, owned)], events),
        clusters_without_target=np.diff(deposits.offsets) - hosting_E,
    )


def _shared(deposits: Deposits, owned: Pairs) -> I64:
    """Return the elements of which two owners hold a large part each."""
    rows = len(deposits.total_R)
    among_K = owned.sharing
    energy_R = np.bincount(deposits.element_K, weights=deposits.energy_K, minlength=rows)
    element_K = owned.element_K[among_K]
    large_K = owned.value_K[among_K] >= SHARED * energy_R[element_K]
    return np.flatnonzero(np.bincount(element_K[large_K], minlength=rows) >= 2)


def _booked_energy(record: Record, seen: Vision, deposits: Deposits, events: int) -> F64:
    """Return the deposits of each event, added up by what became of the particle that left them."""
    rows = len(record.event_N)
    fate_N = np.zeros(rows, np.int64)
    for fate, marked_V in enumerate((seen.hosted_V, seen.merged_V, seen.dropped_V), start=1):
        fate_N[seen.visible_V[marked_V]] = fate
    owner_N = record.owner_N
    fate_N = np.where(owner_N >= 0, fate_N[owner_N], 0)
    left_N = np.bincount(deposits.particle_K, weights=deposits.energy_K, minlength=rows)
    slot_N = record.event_N * FATES + fate_N
    booked = np.bincount(slot_N, weights=left_N, minlength=events * FATES)
    booked_E: F64 = booked.astype(np.float64).reshape(events, FATES).sum(axis=1)
    return booked_E


def _balance(collections: Collections, account: tuple[str, F64, F64], finite_E: Bool) -> None:
    """Raise where the two sides of an account differ in an event with finite numbers."""
    what, total_E, booked_E = account
    off_E = np.abs(total_E - booked_E) > TOLERANCE * np.maximum(np.abs(total_E), TOLERANCE)
    wrong = np.flatnonzero(off_E & finite_E)
    if len(wrong):
        event = int(wrong[0])
        reason = (
            f"energy of {what} is {total_E[event]:.9g} GeV but {booked_E[event]:.9g} GeV are "
            "accounted for; this is a mistake in the truth definition, report it with the file"
        )
        raise EventError(collections.source, event, reason)


def _per_event(event_K: I64, value_K: F64, events: int) -> F64:
    """Add up values by event."""
    return np.bincount(event_K, weights=value_K, minlength=events).astype(np.float64)


def _count(event_K: I64, marked_K: Bool, events: int) -> I64:
    """Count marked rows by event."""
    return _tally(event_K[marked_K], events)


def _tally(event_K: I64, events: int) -> I64:
    """Count rows by event."""
    return np.bincount(event_K, minlength=events).astype(np.int64)

"""The books of the truth: what became of every particle and every GeV, checked per event.

Shape letters: E events, N MC rows, V visible particles, R rows of clusters or hits, K pairs.
Units: GeV.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.edm4hep.assignment import Hosts
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.compiled import compiled
from mlpf_stream.edm4hep.deposits import Deposits
from mlpf_stream.edm4hep.leaves import TRACKS
from mlpf_stream.edm4hep.pairs import Columns, Pairs
from mlpf_stream.edm4hep.record import Record
from mlpf_stream.edm4hep.relations import event_of
from mlpf_stream.errors import EventError
from mlpf_stream.event import F64, I64, Bool

SHARED: Final = 0.1
"""A cluster or hit is shared if two particles each gave at least this part of its linked energy."""
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

    booked_E = _per_event(record.event_N, record.left_N, events) + deposits.unlinked_E
    account = (f"{deposits.kind.name}s", deposits.total_E, booked_E)
    _balance(collections, account, record.finite_E)


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
    columns = Columns(deposits.particle_K, deposits.element_K, deposits.energy_K)
    bare_E, shared_E = _count_elements(columns, owned.columns, deposits.offsets)
    hosting_E = _count(event_V, host_V >= 0, events)
    dropped_V = np.where(seen.dropped_V, record.vector_N4[seen.visible_V, 3], 0.0)
    return TruthCounts(
        targets=_count(event_V, seen.hosted_V, events),
        merged=_count(event_V, seen.merged_V, events),
        dropped=_count(event_V, seen.dropped_V, events),
        dropped_energy=_per_event(event_V, dropped_V, events),
        unlinked_tracks=_count(event_of(collections[f"{TRACKS}.chi2"]), ~linked_R, events),
        unlinked_clusters=bare_E,
        clusters_shared=shared_E,
        clusters_without_target=np.diff(deposits.offsets) - hosting_E,
    )


@compiled()
def _count_elements(deposits: Columns, owned: Columns, offsets: I64) -> tuple[I64, I64]:
    """Count by event the elements without a link, and those of which two owners hold much."""
    rows, events = offsets[-1], len(offsets) - 1
    energy_R, links_R = np.zeros(rows, np.float64), np.zeros(rows, np.int32)
    for k in range(len(deposits.value_K)):
        energy_R[deposits.element_K[k]] += deposits.value_K[k]
        links_R[deposits.element_K[k]] += 1
    large_R = np.zeros(rows, np.int32)
    for k in range(len(owned.value_K)):
        element = owned.element_K[k]
        large_R[element] += owned.value_K[k] >= SHARED * energy_R[element]
    bare_E, shared_E = np.zeros(events, np.int64), np.zeros(events, np.int64)
    for event in range(events):
        for row in range(offsets[event], offsets[event + 1]):
            bare_E[event] += links_R[row] == 0
            shared_E[event] += large_R[row] >= 2
    return bare_E, shared_E


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

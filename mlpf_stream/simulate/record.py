"""The Monte Carlo record: particles of many events with their parents, before any detector.

Shape letters: E events, P particles of all events end to end.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from mlpf_stream.columns import NEUTRINOS
from mlpf_stream.event import F64, I32, I64, Bool, Rows, offsets_of

FINAL: Final = 1
DECAYED: Final = 2
SECONDARY: Final = 0
"""Generator status of final particles, of decayed ones, and of those the detector creates."""

NO_PARENT: Final = -1

# Source: bits of edm4hep::MCParticle::simulatorStatus.
STOPPED: Final = 1 << 24
LEFT_DETECTOR: Final = 1 << 25
DECAYED_IN_CALORIMETER: Final = 1 << 26
DECAYED_IN_TRACKER: Final = 1 << 27
CREATED_IN_SIMULATION: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Record:
    """Particles of E events: event `e` owns the rows `offsets[e]:offsets[e + 1]`.

    `charge_P` [e], `mass_P` [GeV], `momentum_P3` [GeV], `vertex_P3` [mm] production vertex,
    `status_P` generator status, `simulator_P` EDM4HEP simulator bits, `parent_P` the parent's row
    within its event or `NO_PARENT`.
    """

    pdg_P: I32
    charge_P: F64
    mass_P: F64
    momentum_P3: F64
    vertex_P3: F64
    status_P: I32
    simulator_P: I32
    parent_P: I64
    offsets: I64

    @property
    def events(self) -> int:
        """Number of events E."""
        return len(self.offsets) - 1

    @property
    def event_P(self) -> I64:
        """Event number of every particle, shape (P,)."""
        return np.repeat(np.arange(self.events, dtype=np.int64), np.diff(self.offsets))

    @property
    def row_P(self) -> I64:
        """Row of every particle within its event, shape (P,)."""
        return np.arange(len(self.pdg_P), dtype=np.int64) - self.offsets[self.event_P]

    @property
    def energy_P(self) -> F64:
        """Energy [GeV], shape (P,)."""
        total: F64 = np.sqrt(np.sum(self.momentum_P3**2, axis=1) + self.mass_P**2)
        return total

    @property
    def visible_P(self) -> Bool:
        """Mark particles that a detector can see: neither decayed nor a neutrino, shape (P,)."""
        seen: Bool = (self.status_P != DECAYED) & ~np.isin(np.abs(self.pdg_P), NEUTRINOS)
        return seen

    def with_secondaries(self, extra: "Record", event_X: I64) -> "Record":
        """Return the record with the rows of `extra` put at the end of their events.

        Rows that exist keep their place within their event, so parents stay valid. `event_X` is
        the event of every extra row; the offsets of `extra` are not read.
        """
        event = np.concatenate([self.event_P, event_X])
        order = np.argsort(event, kind="stable")
        names = [field.name for field in fields(self) if field.name != "offsets"]
        columns: dict[str, Rows] = {
            name: np.concatenate([getattr(self, name), getattr(extra, name)])[order]
            for name in names
        }
        offsets = offsets_of(np.bincount(event, minlength=self.events).astype(np.int64))
        return Record(**columns, offsets=offsets)

"""The MC record with its owners: four-vectors, classes, and who every deposit belongs to.

Shape letters: E events, N MC rows, K pairs. Units: GeV.
"""

from dataclasses import dataclass

import numpy as np

from mlpf_stream.edm4hep.ancestry import Ancestry, fold
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.deposits import Deposits
from mlpf_stream.edm4hep.leaves import MC
from mlpf_stream.edm4hep.pairs import Columns, Pairs, add_up
from mlpf_stream.edm4hep.particles import classes_of
from mlpf_stream.edm4hep.relations import Links, event_of
from mlpf_stream.event import F64, I8, I64, Bool


@dataclass(frozen=True, slots=True)
class Record:
    """All MC rows of some events.

    `vector_N4` px, py, pz, energy [GeV]; `class_N` class index; `charge_N` sign of the charge;
    `left_N` energy [GeV] that each row left in elements;
    `event_N` event of every row; `offsets` (E + 1,); `finite_E` false where a number of the record
    or of the truth links of an event is not finite: such events own nothing.
    """

    vector_N4: F64
    class_N: I8
    charge_N: I8
    left_N: F64
    simulator_status_N: I64
    event_N: I64
    offsets: I64
    ancestry: Ancestry
    finite_E: Bool

    @property
    def owner_N(self) -> I64:
        """Row of the particle that owns the deposits of every row, -1 for nobody."""
        return np.where(self.finite_E[self.event_N], self.ancestry.owner_N, -1)


def read_record(collections: Collections, deposits: Deposits, shares: Links) -> Record:
    """Return the MC record, folded by the deposits and track links of its rows.

    Raises:
        SchemaError: a leaf of the MC record is absent.
        EventError: a particle asks for daughters outside its event.
    """
    pdg = collections[f"{MC}.PDG"]
    momentum = [collections[f"{MC}.momentum.{axis}"].values.astype(np.float64) for axis in "xyz"]
    mass = collections[f"{MC}.mass"].values.astype(np.float64)
    energy = np.sqrt(sum((part**2 for part in momentum), start=mass**2))
    charge = collections[f"{MC}.charge"].values.astype(np.float64)
    left_N, own_N = deposits.by_particle(len(mass))
    own_N[shares.to_L] = True
    vector_N4 = np.stack([*momentum, energy], axis=1)
    return Record(
        vector_N4=vector_N4,
        class_N=classes_of(pdg.values.astype(np.int64), charge),
        charge_N=np.sign(np.nan_to_num(charge)).astype(np.int8),
        left_N=left_N,
        simulator_status_N=collections[f"{MC}.simulatorStatus"].values.astype(np.int64),
        event_N=event_of(pdg),
        offsets=pdg.offsets,
        ancestry=fold(collections, own_N),
        finite_E=_finite_events(collections, (vector_N4, left_N), deposits, shares),
    )


def owned_shares(record: Record, shares: Links) -> Pairs:
    """Return the shares of tracks by owner."""
    return _owned(record, Columns(shares.to_L, shares.from_L, shares.weight_L))


def owned_deposits(record: Record, deposits: Deposits) -> Pairs:
    """Return the deposits by owner."""
    return _owned(record, Columns(deposits.particle_K, deposits.element_K, deposits.energy_K))


def _owned(record: Record, parts: Columns) -> Pairs:
    """Return what the owners of particles contribute to elements, by event."""
    return add_up(parts, record.owner_N, record.event_N, len(record.offsets) - 1)


def _finite_events(
    collections: Collections, of_rows: tuple[F64, F64], deposits: Deposits, shares: Links
) -> Bool:
    """Return which events have only finite numbers in their record and links.

    `of_rows` are the four-vectors of all rows and what each left: a sum is finite if its terms are.
    """
    vector_N4, left_N = of_rows
    finite_E = np.isfinite(deposits.total_E)
    event_N = event_of(collections[f"{MC}.PDG"])
    # In the precision of datasets: what overflows there is not finite either.
    finite_E[event_N[~np.isfinite(vector_N4.astype(np.float32)).all(axis=1)]] = False
    finite_E[event_N[~np.isfinite(left_N)]] = False
    finite_E[event_N[shares.to_L[~np.isfinite(shares.weight_L)]]] = False
    return finite_E

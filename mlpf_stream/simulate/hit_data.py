"""Simulated hits and clusters as EDM4HEP collections: hits by calorimeter, who made them, members.

Shape letters: H hits, C clusters, K contributions, G members of clusters, all events end to end.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.edm4hep.leaves import CLUSTER_LINKS, CLUSTERS, HIT_LINKS
from mlpf_stream.event import I64, Jagged, Rows, offsets_of
from mlpf_stream.simulate.cells import Cells
from mlpf_stream.simulate.clustering import Clusters
from mlpf_stream.simulate.columnar import begin_end, jagged, links_to_particles
from mlpf_stream.simulate.geometry import COLLECTIONS
from mlpf_stream.simulate.record import Record

HIT_IDS: Final = {name: 10 + code for code, name in enumerate(COLLECTIONS)}
"""Collection ids of the hit collections."""
SUBDETECTORS_STORED: Final = 6
"""ecal, hcal, yoke and three forward calorimeters that are not simulated."""

# Source: CHT of Marlin: calorimeter type (em, had, muon) + 10 id (ecal 1, hcal 2, yoke 3)
# + 1000 layout (any 0, barrel 1, endcap 2, plug 3, ring 4) + 10000 layer.
_TYPE: Final = np.array([1010, 2010, 3010, 1021, 2021, 4021, 32])


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where every hit lies in the file: collection id and row in its collection of its event."""

    event_H: I64
    number_H: I64
    row_H: I64


def hits(cells: Cells, record: Record) -> dict[str, Jagged]:
    """Return the hit collections and the links from hits to MC particles."""
    places = _places(cells)
    leaves: dict[str, Jagged] = {}
    type_H = _TYPE[cells.collection_H] + 10000 * cells.layer_H.astype(np.int64)
    for code, name in enumerate(COLLECTIONS):
        own = np.flatnonzero(cells.collection_H == code)
        counts_E = np.bincount(places.event_H[own], minlength=len(cells.offsets) - 1)
        columns: dict[str, Rows] = {
            "energy": cells.energy_H[own],
            **{f"position.{axis}": cells.position_H3[own, i] for i, axis in enumerate("xyz")},
            "time": cells.time_H[own],
            "type": type_H[own],
        }
        leaves |= jagged(name, columns, offsets_of(counts_E.astype(np.int64)))
    weight_K = cells.energy_K / np.maximum(cells.energy_H[cells.hit_K], 1e-12)
    ends = (places.number_H[cells.hit_K], places.row_H[cells.hit_K])
    event_K = places.event_H[cells.hit_K]
    return leaves | links_to_particles(
        HIT_LINKS, ends, (cells.particle_K, record.offsets), event_K, weight_K
    )


def clusters(found: Clusters, cells: Cells, record: Record) -> dict[str, Jagged]:
    """Return clusters, their energies by subdetector, their hits, and their links."""
    offsets, energy_C = found.offsets, found.energy_C
    x, y, z = found.position_C3.T
    stored = np.zeros((len(energy_C), SUBDETECTORS_STORED))
    stored[:, : found.energy_CS.shape[1]] = found.energy_CS
    number_C = np.full(len(energy_C), SUBDETECTORS_STORED)
    columns: dict[str, Rows] = {
        "energy": energy_C,
        "position.x": x,
        "position.y": y,
        "position.z": z,
        "iTheta": np.arctan2(np.hypot(x, y), z),
        "iPhi": np.arctan2(y, x),
        **begin_end("hits", found.hits_C, offsets),
        **begin_end("subdetectorEnergies", number_C, offsets),
    }
    leaves = jagged(CLUSTERS, columns, offsets)
    leaves["_PandoraClusters_subdetectorEnergies"] = Jagged(
        stored.ravel(), offsets * SUBDETECTORS_STORED
    )
    event_C = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    event_K = event_C[found.cluster_K]
    ends = (None, found.cluster_K - offsets[event_K])
    weight_K = found.energy_K / energy_C[found.cluster_K]
    return (
        leaves
        | _members(found, cells)
        | links_to_particles(
            CLUSTER_LINKS, ends, (found.particle_K, record.offsets), event_K, weight_K
        )
    )


def _members(found: Clusters, cells: Cells) -> dict[str, Jagged]:
    """Return the hits of every cluster, in the order of clusters."""
    places = _places(cells)
    inside = np.flatnonzero(found.cluster_H >= 0)
    member_G = inside[np.argsort(found.cluster_H[inside], kind="stable")]
    counts_E = np.bincount(places.event_H[inside], minlength=len(found.offsets) - 1)
    offsets = offsets_of(counts_E.astype(np.int64))
    columns = {"index": places.row_H[member_G], "collectionID": places.number_H[member_G]}
    return jagged("_PandoraClusters_hits", columns, offsets)


def _places(cells: Cells) -> _Rows:
    """Return where every hit lies in the file."""
    event_H = np.repeat(np.arange(len(cells.offsets) - 1), np.diff(cells.offsets))
    group_H = event_H * len(COLLECTIONS) + cells.collection_H
    # Hits are ordered by event and collection.
    groups = (len(cells.offsets) - 1) * len(COLLECTIONS)
    starts = offsets_of(np.bincount(group_H, minlength=groups).astype(np.int64))
    ids = np.array(list(HIT_IDS.values()))
    return _Rows(event_H, ids[cells.collection_H], np.arange(len(group_H)) - starts[group_H])

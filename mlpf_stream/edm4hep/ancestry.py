"""Which particle every row of the MC record belongs to: showers fold up to what started them.

Shape letters: N MC rows over all events, K parent-daughter edges.

Source: jpata/particleflow key4hep post-processing; surrogates by its pull request 490.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mlpf_stream.columns import NEUTRINOS
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.leaves import MC
from mlpf_stream.edm4hep.relations import rows_of, slices
from mlpf_stream.event import I64, Bool

MAX_GENERATIONS: Final = 8
"""How far apart nested surrogates may be to be recognised as nested."""
STABLE: Final = 1
SIMULATED: Final = 0
"""Codes of `generatorStatus`: final state of the generator, made by the simulation."""

_NOBODY: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Ancestry:
    """The owner of every MC row, and which rows are owners.

    `owner_N` is the row of the particle to which the deposits of a row belong, -1 for nobody;
    `stable_N` marks owners of status 1, `surrogate_N` those that stand in for a decayed status-1
    particle; `replaced_N` marks rows below a surrogate, which it represents.
    """

    owner_N: I64
    stable_N: Bool
    surrogate_N: Bool
    replaced_N: Bool


@dataclass(frozen=True, slots=True)
class _Edges:
    """Parent and daughter rows of the MC record."""

    parent_K: I64
    daughter_K: I64

    def reversed(self) -> "_Edges":
        """Return the same edges from below."""
        return _Edges(self.daughter_K, self.parent_K)

    def into(self, allowed_N: Bool) -> "_Edges":
        """Return the edges whose daughter is allowed."""
        keep_K = allowed_N[self.daughter_K]
        return _Edges(self.parent_K[keep_K], self.daughter_K[keep_K])


def fold(collections: Collections, deposits_N: Bool) -> Ancestry:
    """Return the owner of every MC row, given which rows left deposits themselves.

    A row belongs to its outermost status-1 ancestor that is no neutrino, or to itself. Rows
    without one belong to a *surrogate*: the nearest particle of the generator (or, without one,
    the first of the simulation) above them, if it or the shower below it left deposits and no
    status-1 particle below it did; of nested ones the deepest. Everything else belongs to nobody.
    Cycles and several parents are tolerated: the smallest row wins.

    Raises:
        SchemaError: the relation to daughters is not stored.
        EventError: a particle asks for daughters outside its event.
    """
    status_N = collections[f"{MC}.generatorStatus"].values
    neutrino_N = np.isin(np.abs(collections[f"{MC}.PDG"].values), NEUTRINOS)
    edges = _read_edges(collections)
    owner_N = _stable_owners(edges, (status_N == STABLE) & ~neutrino_N)
    stable_N = owner_N == np.arange(len(owner_N))
    free_N = owner_N == _NOBODY
    stem_N = _stems(edges, free_N, status_N == SIMULATED)
    surrogate_N = _surrogates(edges, (owner_N, stem_N), deposits_N, free_N & (status_N != STABLE))
    replaced_N = _below(edges, surrogate_N) & ~surrogate_N
    represented_N = (stem_N != _NOBODY) & surrogate_N[np.minimum(stem_N, len(stem_N) - 1)]
    result_N = np.where(free_N, np.where(represented_N, stem_N, -1), owner_N)
    return Ancestry(result_N, stable_N, surrogate_N, replaced_N)


def _read_edges(collections: Collections) -> _Edges:
    """Return all edges, from daughters and, where stored, from parents."""
    relation = "_MCParticles_daughters.index"
    down = slices(collections, f"{MC}.daughters", relation)
    rows = rows_of(collections[relation], collections[f"{MC}.PDG"])
    parents, daughters = [down.parent_K], [rows[down.child_K]]
    relation = "_MCParticles_parents.index"
    if relation in collections:
        up = slices(collections, f"{MC}.parents", relation)
        rows = rows_of(collections[relation], collections[f"{MC}.PDG"])
        parents.append(rows[up.child_K])
        daughters.append(up.parent_K)
    parent_K, daughter_K = np.concatenate(parents), np.concatenate(daughters)
    keep_K = (parent_K >= 0) & (daughter_K >= 0) & (parent_K != daughter_K)
    return _Edges(parent_K[keep_K], daughter_K[keep_K])


def _spread(edges: _Edges, label_N: I64, generations: int | None = None) -> I64:
    """Hand labels down until nothing changes: every row gets the smallest label above or on it."""
    label_N = label_N.copy()
    limit = len(label_N) if generations is None else generations
    for _ in range(limit):
        better_K = label_N[edges.parent_K] < label_N[edges.daughter_K]
        if not better_K.any():
            break
        # Taken at once: a label moves one generation per round.
        label_K = label_N[edges.parent_K[better_K]]
        np.minimum.at(label_N, edges.daughter_K[better_K], label_K)
    return label_N


def _below(edges: _Edges, seed_N: Bool, generations: int | None = None) -> Bool:
    """Return the rows that have a seed strictly above them, within `generations`."""
    label_N = np.full(len(seed_N), 1, np.int64)
    label_N[edges.daughter_K[seed_N[edges.parent_K]]] = 0
    below_N: Bool = _spread(edges, label_N, None if generations is None else generations - 1) == 0
    return below_N


def _labels(seed_N: Bool) -> I64:
    """Return every seed labelled with its own row, the rest with nobody."""
    return np.where(seed_N, np.arange(len(seed_N), dtype=np.int64), _NOBODY)


def _stable_owners(edges: _Edges, stable_N: Bool) -> I64:
    """Return the outermost stable row above or on every row."""
    outermost_N = stable_N & ~_below(edges, stable_N)
    owner_N = _spread(edges, _labels(outermost_N))
    # Stable particles that are each other's ancestors have no outermost one: each owns itself.
    cyclic_N = stable_N & (owner_N == _NOBODY)
    return _spread(edges, np.minimum(owner_N, _labels(cyclic_N))) if cyclic_N.any() else owner_N


def _stems(edges: _Edges, free_N: Bool, simulated_N: Bool) -> I64:
    """Return the nearest row of the generator above or on every free row."""
    orphan_N = np.ones(len(free_N), np.bool_)
    orphan_N[edges.daughter_K] = False
    seed_N = free_N & (~simulated_N | orphan_N)
    return _spread(edges.into(free_N & ~seed_N), _labels(seed_N))


def _surrogates(edges: _Edges, labels: tuple[I64, I64], deposits_N: Bool, eligible_N: Bool) -> Bool:
    """Return the eligible stems that left deposits in place of all status-1 particles below."""
    owner_N, stem_N = labels
    deposited_N = np.zeros(len(owner_N), np.bool_)
    for label_N in (owner_N, stem_N):
        deposited_N[label_N[deposits_N & (label_N != _NOBODY)]] = True
    up = edges.reversed()
    served_N = _below(up, deposited_N & (owner_N != _NOBODY))
    candidate_N = eligible_N & deposited_N & ~served_N
    return candidate_N & ~_below(up, candidate_N, MAX_GENERATIONS)

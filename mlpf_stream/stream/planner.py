"""The plans of one dataset for one rank, each made once."""

import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mlpf_stream.columns import Split
from mlpf_stream.config import StreamConfig
from mlpf_stream.errors import ConfigError
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.stream.plan import PlanSpec, PlanTable, plan_digest, plan_epoch
from mlpf_stream.stream.rank_plan import RankPlan


class Planner:
    """Makes plans from a dataset's index and keeps the newest few by digest.

    The reader's thread and the loop both ask it.
    """

    KEPT = 4

    def __init__(
        self,
        index: DatasetIndex,
        stream: StreamConfig,
        seed: int,
        micro_batches: range,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._index = index
        self._weights = mixing_weights(index, weights or {})
        self._spec = PlanSpec(
            seed=seed,
            epoch=0,
            micro_batches=stream.micro_batches,
            row_budget=stream.row_budget,
            window_bytes=int(stream.window_mb * 1e6),
            layout=stream.layout,
            buckets=stream.buckets,
        )
        self._micro_batches = micro_batches
        self._plans: dict[str, RankPlan] = {}
        self._lock = threading.Lock()

    def rank_plan(self, split: Split, epoch: int) -> RankPlan:
        """Return this rank's part of the plan of one epoch; weights act on split train only."""
        weights = self._weights if split == "train" else ()
        spec = replace(self._spec, split=split, epoch=epoch, weights=weights)
        digest = plan_digest(self._index.digest, spec)
        with self._lock:
            if digest not in self._plans:
                plan = plan_epoch(plan_table(self._index, split), spec)
                self._plans[digest] = RankPlan(plan, self._micro_batches)
                for old in list(self._plans)[: -self.KEPT]:
                    del self._plans[old]
            return self._plans[digest]


def plan_table(index: DatasetIndex, split: Split) -> PlanTable:
    """Return the columns of a dataset's index that a plan is made of."""
    names = index.process_names
    return PlanTable(
        digest=index.digest,
        keys=index.keys,
        length=index.length,
        particles=index.particles,
        pack=index.pack,
        chosen=index.in_split(split),
        pack_bytes=np.array([place.entry.bytes for place in index.packs], np.int64),
        pack_process=np.array([names.index(p.entry.process) for p in index.packs], np.int64),
        process_names=names,
    )


def mixing_weights(
    index: DatasetIndex, chosen: Mapping[str, float]
) -> tuple[tuple[str, float], ...]:
    """Return the mixing weights that differ from 1, by process; `chosen` go before the manifest's.

    Raises:
        ConfigError: a weight is chosen for a process that the dataset does not have.
    """
    known = {entry.name: entry.weight for entry in index.manifest.processes}
    if unknown := sorted(set(chosen) - set(known)):
        names = ", ".join(sorted(known))
        raise ConfigError(f"expected data.weights of {names}, found {', '.join(unknown)}")
    weights = {**known, **chosen}
    return tuple((name, weights[name]) for name in known if weights[name] != 1.0)

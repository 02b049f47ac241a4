"""The plans of one dataset, each made once."""

from dataclasses import replace

from mlpf_stream.columns import Split
from mlpf_stream.config import StreamConfig
from mlpf_stream.shards.index import DatasetIndex
from mlpf_stream.stream.plan import Plan, PlanSpec, plan_digest, plan_epoch
from mlpf_stream.stream.steps import mixing_weights, plan_table


class Planner:
    """Makes plans from a dataset's index and keeps the newest few by digest."""

    KEPT = 4

    def __init__(self, index: DatasetIndex, stream: StreamConfig, seed: int) -> None:
        self._index = index
        self._spec = PlanSpec(
            seed=seed,
            epoch=0,
            micro_batches=stream.micro_batches,
            row_budget=stream.row_budget,
            window_bytes=int(stream.window_mb * 1e6),
        )
        self._plans: dict[str, Plan] = {}

    def plan(self, split: Split, epoch: int) -> Plan:
        """Return the plan of one epoch of a split; mixing weights act on split train only."""
        weights = mixing_weights(self._index) if split == "train" else ()
        spec = replace(self._spec, split=split, epoch=epoch, weights=weights)
        digest = plan_digest(self._index.digest, spec)
        if digest not in self._plans:
            self._plans[digest] = plan_epoch(plan_table(self._index, split), spec)
            for old in list(self._plans)[: -self.KEPT]:
                del self._plans[old]
        return self._plans[digest]

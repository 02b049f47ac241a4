"""The ranks of a run, and the little they tell each other besides gradients.

Everything is summed in rank order, so that the same run gives the same bits whatever the network
between the ranks does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from mlpf_stream.errors import TrainingError
from mlpf_stream.event import F64


@dataclass(frozen=True, slots=True)
class World:
    """This rank among all ranks; the process group exists already where there are several."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def gather(self, values: Sequence[float]) -> F64:
        """Return the values of every rank, shape (ranks, values)."""
        own = torch.tensor(values, dtype=torch.float64, device=self.device)
        if self.size == 1:
            return np.asarray(own.cpu().numpy()[None])
        parts = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(parts, own)
        return np.asarray(torch.stack(parts).cpu().numpy())

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over the ranks, added in rank order."""
        return [sum(column) for column in self.gather(values).T.tolist()]

    def any(self, flag: bool) -> bool:
        """Return whether any rank says yes."""
        return bool(self.gather([float(flag)]).any())

    def check_same(self, digest: str, what: str) -> None:
        """Make sure that all ranks hold the same.

        Raises:
            TrainingError: they do not; names the ranks.
        """
        halves = [int(digest[:8], 16), int(digest[8:16], 16)]
        found = self.gather([float(half) for half in halves])
        apart = np.flatnonzero((found != found[0]).any(axis=1))
        if len(apart):
            msg = (
                f"expected the same {what} on all {self.size} ranks, found others than rank 0's on "
                f"rank {', '.join(map(str, apart))}; resume from the newest checkpoint, and look "
                "for ranks with other hardware, threads or versions"
            )
            raise TrainingError(msg)


def replicate(network: nn.Module, world: World, *, deterministic: bool) -> nn.Module:
    """Return the network as this rank's replica: gradients are averaged over the ranks.

    `deterministic` adds the gradients in rank order. Without it, and with more than two ranks, the
    order follows the buckets of DDP, which it forms anew after a restart.
    """
    if world.size == 1:
        return network
    replica = DistributedDataParallel(network, broadcast_buffers=False)
    if deterministic:
        replica.register_comm_hook(world, _mean_in_rank_order)
    return replica


def _mean_in_rank_order(world: World, bucket: GradBucket) -> Future[Tensor]:
    """Average a bucket of gradients so that each element is added in rank order.

    Which elements share a bucket then makes no difference.
    """
    own = bucket.buffer()
    parts = [torch.empty_like(own) for _ in range(world.size)]
    done = distributed.all_gather(parts, own, async_op=True).get_future()
    mean: Future[Tensor] = done.then(lambda _: _ordered_mean(parts))
    return mean


def _ordered_mean(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total / len(parts)

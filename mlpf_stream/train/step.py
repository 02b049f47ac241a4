"""One global step of one rank: forward, backward, clip, update."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mlpf_stream.config import LossConfig, TrainConfig
from mlpf_stream.errors import NonFiniteLossError
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.loss import LossSums, StepTotals, batch_loss, step_loss
from mlpf_stream.models.network import Network, split_by_decay
from mlpf_stream.stream.steps import Step
from mlpf_stream.train.world import World, replicate


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one step measured: mean losses, the gradient norm before clipping, the learning rate."""

    loss: float
    classification: float
    charge: float
    regression: float
    gradient_norm: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Learner:
    """A network, its replica on this rank, and what changes its weights."""

    network: Network
    replica: nn.Module
    optimizer: torch.optim.AdamW
    world: World
    config: TrainConfig
    weights: LossConfig


def build_learner(
    network: Network, world: World, config: TrainConfig, weights: LossConfig
) -> Learner:
    """Return a learner for a network that lies on the rank's device already."""
    replica = replicate(network, world, deterministic=config.deterministic)
    optimizer = build_optimizer(network, config)
    return Learner(network, replica, optimizer, world, config, weights)


def build_optimizer(network: Network, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW that shrinks matrices only."""
    decayed, kept = split_by_decay(network)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def one_cycle(step: int, config: TrainConfig) -> float:
    """Return the learning rate of a global step: cosine up to the peak, cosine down to zero.

    A pure function of the step, so a resumed run has the right rate without any state.

    Source: Smith and Topin, "Super-convergence" (2018), with cosine annealing.
    """
    rising = max(1.0, config.warmup_fraction * config.steps)
    if step < rising:
        low, high, part = config.learning_rate / 25, config.learning_rate, step / rising
    else:
        left = max(1.0, config.steps - rising)
        low, high, part = config.learning_rate, config.learning_rate * 1e-4, (step - rising) / left
    return low + (high - low) * 0.5 * (1.0 - math.cos(math.pi * min(part, 1.0)))


def train_step(learner: Learner, step: Step, number: int) -> StepMetrics:
    """Update the network with one global step; `number` counts steps since the run began.

    Raises:
        NonFiniteLossError: the loss or its gradient is not finite; the network is untouched.
    """
    learner.optimizer.zero_grad(set_to_none=True)
    own = backward(learner, step)
    norm = float(nn.utils.clip_grad_norm_(learner.network.parameters(), learner.config.clip_norm))
    # One exchange a step: what this rank measured, for the journal and for judging it.
    sums = learner.world.gather(own)
    finite = np.isfinite(sums).all(axis=1)
    if not (finite.all() and math.isfinite(norm)):
        raise NonFiniteLossError(number, int(np.argmin(finite)), step.keys)
    rate = one_cycle(number, learner.config)
    for group in learner.optimizer.param_groups:
        group["lr"] = rate
    learner.optimizer.step()
    rows, particles = max(step.rows_of_step, 1), max(step.particles_of_step, 1)
    classification, charge, regression = (
        sum(column) / count
        for column, count in zip(sums.T.tolist(), (rows, particles, particles), strict=True)
    )
    weights = learner.weights
    loss = (
        weights.classification * classification
        + weights.charge * charge
        + weights.regression * regression
    )
    return StepMetrics(loss, classification, charge, regression, norm, rate)


def backward(learner: Learner, step: Step) -> list[float]:
    """Add the gradients of a step, averaged over the ranks; return this rank's loss sums.

    A rank whose micro-batches are all empty takes part with one of them, whose gradient is zero.
    """
    totals = StepTotals(step.rows_of_step, step.particles_of_step, learner.world.size)
    micros = [micro for micro in step.batches if micro.rows] or list(step.batches[:1])
    sums = torch.zeros(3, device=learner.world.device)
    for micro in micros:
        with _exchange(learner.replica, last=micro is micros[-1]):
            parts = _losses(learner, learner.replica, micro)
            step_loss(parts, totals, learner.weights).backward()  # type: ignore[no-untyped-call]
        sums += torch.stack(parts).detach()
    found: list[float] = sums.tolist()
    return found


@torch.no_grad()
def valid_step(learner: Learner, step: Step) -> list[float]:
    """Return this rank's summed class, charge and regression losses of one step."""
    sums = torch.zeros(3, device=learner.world.device)
    for micro in step.batches:
        if micro.rows:
            sums += torch.stack(_losses(learner, learner.network, micro))
    found: list[float] = sums.tolist()
    return found


def _losses(learner: Learner, network: nn.Module, micro: Batch) -> LossSums:
    """Run the network on one micro-batch in the recipe's precision."""
    batch = micro.to(learner.world.device)
    half = learner.config.precision == "bf16"
    with torch.autocast(learner.world.device.type, torch.bfloat16, enabled=half):
        return batch_loss(network(batch), batch, learner.weights)


@contextmanager
def _exchange(replica: nn.Module, *, last: bool) -> Iterator[None]:
    """Let the ranks exchange gradients with the last micro-batch of a step only."""
    if last or not isinstance(replica, DistributedDataParallel):
        yield
    else:
        with replica.no_sync():
            yield

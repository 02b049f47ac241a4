"""One global step of one rank: forward, backward, clip, update."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from mlpf_stream.config import LossConfig, TrainConfig
from mlpf_stream.errors import NonFiniteLossError
from mlpf_stream.models.loss import StepTotals, batch_loss, step_loss
from mlpf_stream.models.network import Network, split_by_decay
from mlpf_stream.stream.steps import Step


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """What one step measured: mean losses, the gradient norm before clipping, the learning rate."""

    loss: float
    classification: float
    charge: float
    regression: float
    gradient_norm: float
    learning_rate: float


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


def train_step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    step: Step,
    number: int,
    config: TrainConfig,
    weights: LossConfig,
) -> StepMetrics:
    """Update the network with one global step; `number` counts steps since the run began.

    Raises:
        NonFiniteLossError: the loss or its gradient is not finite; the network is untouched.
    """
    device = next(network.parameters()).device
    totals = StepTotals(step.rows_of_step, step.particles_of_step)
    optimizer.zero_grad(set_to_none=True)
    sums = torch.zeros(3, device=device)
    for micro in step.batches:
        if micro.rows == 0:
            continue
        batch = micro.to(device)
        parts = batch_loss(network(batch), batch, weights)
        step_loss(parts, totals, weights).backward()  # type: ignore[no-untyped-call]
        sums += torch.stack(parts).detach()
    norm = nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    rows, particles = max(totals.rows, 1), max(totals.particles, 1)
    classification, charge, regression = (
        sums / sums.new_tensor([rows, particles, particles])
    ).tolist()
    loss = (
        weights.classification * classification
        + weights.charge * charge
        + weights.regression * regression
    )
    if not (math.isfinite(loss) and math.isfinite(float(norm))):
        raise NonFiniteLossError(number, 0, step.keys)
    rate = one_cycle(number, config)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return StepMetrics(loss, classification, charge, regression, float(norm), rate)


@torch.no_grad()
def valid_step(network: Network, step: Step, weights: LossConfig) -> tuple[float, float, float]:
    """Return the summed class, charge and regression losses of one step."""
    device = next(network.parameters()).device
    sums = torch.zeros(3, device=device)
    for micro in step.batches:
        if micro.rows:
            batch = micro.to(device)
            sums += torch.stack(batch_loss(network(batch), batch, weights))
    classification, charge, regression = sums.tolist()
    return classification, charge, regression

"""The training objective as sums, so that batches, micro-batches and ranks simply add.

Class: focal loss over every row that may teach. Charge: cross-entropy, and momentum: Huber, both
over rows with a particle. The step divides by totals that the plan knows beforehand, never by a
count in the batch: W ranks then equal one rank.

Source: focal loss, Lin et al. 2017 (arXiv:1708.02002); Huber 1964.
Shape letters: T packed rows, K classes, Q charges, M momentum columns.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mlpf_stream.config import LossConfig
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.heads import Prediction, momentum_targets
from mlpf_stream.models.precision import full_precision


class LossSums(NamedTuple):
    """Unweighted loss sums of some rows, 0-dimensional tensors."""

    classification: Tensor
    charge: Tensor
    regression: Tensor


class StepTotals(NamedTuple):
    """Rows that teach a class (class >= 0) and rows with a particle (class > 0) in a global step.

    Over all micro-batches of all ranks, from the plan; `world` is the number of ranks whose
    gradients are averaged.
    """

    rows: int
    particles: int
    world: int = 1


def batch_loss(prediction: Prediction, batch: Batch, weights: LossConfig) -> LossSums:
    """Sum the losses of one micro-batch, in float32 under autocast too."""
    with full_precision(prediction.logits_TK):
        return _sums(Prediction(*(part.float() for part in prediction)), batch, weights)


def _sums(prediction: Prediction, batch: Batch, weights: LossConfig) -> LossSums:
    """Sum the losses of a float32 prediction."""
    teaches_T = batch.class_T >= 0
    particle_T = batch.class_T > 0
    focal_T = _focal(prediction.logits_TK, batch.class_T.clamp(min=0), weights.focal_gamma)
    charge_T = functional.cross_entropy(
        prediction.charge_TQ, batch.charge_T.clamp(-1, 1) + 1, reduction="none"
    )
    target_TM = momentum_targets(batch.momentum_TM, batch.x_TF, batch.kind_T)
    huber_TM = functional.huber_loss(
        prediction.momentum_TM, target_TM, reduction="none", delta=weights.huber_delta
    )
    zero = focal_T.new_zeros(())
    return LossSums(
        torch.where(teaches_T, focal_T, zero).sum(),
        torch.where(particle_T, charge_T, zero).sum(),
        torch.where(particle_T[:, None], huber_TM, zero).sum(),
    )


def step_loss(sums: LossSums, totals: StepTotals, weights: LossConfig) -> Tensor:
    """Return what this rank back-propagates for one micro-batch of the step, 0-dimensional.

    total = world * (class / rows + (charge + regression) / particles), each with its weight.
    """
    rows, particles = max(totals.rows, 1), max(totals.particles, 1)
    per_row = sums.classification * (weights.classification / rows)
    per_particle = sums.charge * weights.charge + sums.regression * weights.regression
    return totals.world * (per_row + per_particle / particles)


def _focal(logits_TK: Tensor, class_T: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p of the true class, shape (T,)."""
    log_p_T = functional.log_softmax(logits_TK, dim=1).gather(1, class_T[:, None])[:, 0]
    miss_T = (-torch.expm1(log_p_T)).clamp(min=1e-7)
    return -miss_T.pow(gamma) * log_p_T

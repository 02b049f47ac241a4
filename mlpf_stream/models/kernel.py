"""The learnt graph inside a block: who listens to whom, and the messages.

W_ij = softmax over j of (q_i k_j / sqrt(C) - sharpness_h |s_i - s_j|^2), nothing from pads.

Shape letters: B blocks, W slots of a block, H heads, C width of a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from mlpf_stream.models.precision import full_precision

_PAD_DISTANCE = 1e12  # finite: a block of nothing but pads must not divide zero by zero


def distance_bias(s_BW3: Tensor, sharpness_H: Tensor, real_BW: Tensor) -> Tensor:
    """Return -sharpness_h |s_i - s_j|^2, hugely negative where j is a pad, shape (B, H, W, W).

    Differences are taken directly in float32: |a|^2 + |b|^2 - 2 a b cancels.
    """
    bias_BHWW: Tensor = _DistanceBias.apply(  # type: ignore[no-untyped-call]
        s_BW3, sharpness_H, real_BW
    )
    return bias_BHWW


def attend(q_BHWC: Tensor, k_BHWC: Tensor, v_BHWC: Tensor, bias_BHWW: Tensor) -> Tensor:
    """Return softmax(q k / sqrt(C) + bias) v, shape (B, H, W, C); the softmax is in float32."""
    shape = q_BHWC.shape
    q, k, v = (part.reshape(-1, *shape[2:]) for part in (q_BHWC, k_BHWC, v_BHWC))
    logits = torch.baddbmm(bias_BHWW.flatten(0, 1), q, k.transpose(1, 2), alpha=shape[3] ** -0.5)
    return torch.bmm(torch.softmax(logits.float(), dim=-1).to(v.dtype), v).view(shape)


class _DistanceBias(torch.autograd.Function):
    """Keeps one distance per pair for the backward pass instead of three differences."""

    @staticmethod
    def forward(ctx: FunctionCtx, s_BW3: Tensor, sharpness_H: Tensor, real_BW: Tensor) -> Tensor:
        far_BW = torch.where(real_BW, 0.0, _PAD_DISTANCE)
        square_BWW = far_BW[:, None, :].repeat(1, s_BW3.shape[1], 1)
        for axis_BW in s_BW3.unbind(2):
            apart_BWW = axis_BW[:, :, None] - axis_BW[:, None, :]
            square_BWW.addcmul_(apart_BWW, apart_BWW)
        ctx.save_for_backward(s_BW3, sharpness_H, square_BWW)
        return square_BWW[:, None] * -sharpness_H[:, None, None]

    @staticmethod
    def backward(ctx: Any, grad_BHWW: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        s_BW3, sharpness_H, square_BWW = ctx.saved_tensors
        with full_precision(s_BW3):
            grad_H = -torch.einsum("bhij,bij->h", grad_BHWW, square_BWW)
            grad_BWW = -torch.einsum("bhij,h->bij", grad_BHWW, sharpness_H)
            both_BWW = grad_BWW + grad_BWW.transpose(1, 2)
            pull_BW3 = both_BWW.sum(2, keepdim=True) * s_BW3 - torch.bmm(both_BWW, s_BW3)
        return 2 * pull_BW3, grad_H, None

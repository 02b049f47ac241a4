"""Root-mean-square normalisation in float32, with its gradient written out.

The composed form costs twice the time on a CPU, and a layer normalises three times.
Source: RMSNorm, Zhang and Sennrich 2019 (arXiv:1910.07467).

Shape letters: D normalised width; leading dimensions are free.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

_EPS = 1e-6


def normalise(x_D: Tensor) -> Tensor:
    """Return x / sqrt(mean(x^2) + 1e-6) over the last dimension, float32; 0 for 0."""
    unit_D: Tensor = _Normalise.apply(x_D.float())  # type: ignore[no-untyped-call]
    return unit_D


class RmsNorm(nn.Module):
    """Normalise the last dimension, then scale each component by a learnt weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x_D: Tensor) -> Tensor:
        """Return the normalised input, float32."""
        return normalise(x_D) * self.weight


class _Normalise(torch.autograd.Function):
    """With y = r x, r = 1 / rms: dx = r (dy - y mean(y dy))."""

    @staticmethod
    def forward(ctx: FunctionCtx, x_D: Tensor) -> Tensor:
        length_1 = torch.linalg.vector_norm(x_D, dim=-1, keepdim=True)
        inverse_1 = (length_1.square() / x_D.shape[-1] + _EPS).rsqrt()
        unit_D: Tensor = x_D * inverse_1
        ctx.save_for_backward(unit_D, inverse_1)
        return unit_D

    @staticmethod
    def backward(ctx: Any, grad_D: Tensor) -> Tensor:  # noqa: ANN401
        unit_D, inverse_1 = ctx.saved_tensors
        mean_1 = torch.linalg.vecdot(grad_D, unit_D)[..., None] / unit_D.shape[-1]
        gain_D: Tensor = torch.addcmul(grad_D, unit_D, mean_1, value=-1) * inverse_1
        return gain_D

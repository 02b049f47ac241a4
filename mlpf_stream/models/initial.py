"""Initial weights: every layer starts with outputs of unit size, residual branches smaller.

Source: truncated normal with residual branches scaled by 1 / sqrt(2 L), Radford et al. 2019.
"""

import torch
from torch import Tensor, nn


def spread(linear: nn.Linear, factor: float = 1.0) -> None:
    """Fill the weight with a truncated normal of width factor / sqrt(inputs), the bias with 0."""
    std = factor * linear.in_features**-0.5
    nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def random_rotation() -> Tensor:
    """Return a random rotation of space, shape (3, 3): orthogonal, determinant +1."""
    q_33, r_33 = torch.linalg.qr(torch.randn(3, 3))
    q_33 = q_33 * torch.sign(torch.diagonal(r_33))
    rotation_33: Tensor = q_33 * torch.sign(torch.linalg.det(q_33))
    return rotation_33

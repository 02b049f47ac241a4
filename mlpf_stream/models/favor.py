"""Softmax attention over a whole event at linear cost, by positive orthogonal random features.

exp(q k) is the mean over random directions w of exp(w q - |q|^2 / 2) exp(w k - |k|^2 / 2). With a
fixed set of directions the sum over keys no longer depends on the query: an event has one matrix
of sums, made of the sums of its blocks, and every query reads it. Queries and keys have a fixed
length, so exponents are bounded and need no stabiliser that would couple the elements.

Source: FAVOR+, Choromanski et al. 2021 (arXiv:2009.14794), sections 2.3 and 2.4.

Shape letters: B blocks, W slots of a block, H heads, C width of a head, R random directions,
P = H * W, N = B * H.
"""

import math

import torch
from torch import Tensor

from mlpf_stream.models.precision import full_precision

_FLOOR = 1e-6  # of a feature: no key is ever quite invisible
_MIN_WEIGHT = 1e-6  # of all keys of a query; only blocks of nothing but pads have less


def orthogonal_directions(directions: int, width: int) -> Tensor:
    """Return normal random directions, orthogonal in groups of `width`, shape (C, R).

    Each column alone is distributed like a standard normal vector; orthogonality lowers the
    variance of the kernel. Drawn from torch's global generator.
    """
    groups = -(-directions // width)
    rotation_GCC, upper_GCC = torch.linalg.qr(torch.randn(groups, width, width))
    # With these signs the rotations are uniformly distributed.
    rotation_GCC = rotation_GCC * torch.diagonal(upper_GCC, dim1=1, dim2=2).sign()[:, None]
    length_R = torch.linalg.vector_norm(torch.randn(directions, width), dim=1)
    unit_CR = rotation_GCC.transpose(0, 1).reshape(width, -1)[:, :directions]
    scaled_CR: Tensor = unit_CR * length_R
    return scaled_CR


def positive_features(x_BHWC: Tensor, directions_CR: Tensor) -> Tensor:
    """Return features whose products estimate exp(x y), shape (B, H, W, R), always float32."""
    with full_precision(x_BHWC):
        x_BPC = x_BHWC.float().flatten(1, 2)
        half_BP1 = 0.5 * (x_BPC.square().sum(2, keepdim=True) + math.log(directions_CR.shape[1]))
        # One product per block, not one for all rows: its shape, hence its rounding, is then the
        # same whatever the other events of the batch.
        each_BCR = directions_CR.expand(len(x_BPC), -1, -1)
        features_BPR = torch.exp(torch.baddbmm(-half_BP1, x_BPC, each_BCR)) + _FLOOR
    return features_BPR.view(*x_BHWC.shape[:3], -1)


def attend_event(
    query_BHWR: Tensor, key_BHWR: Tensor, v_BHWC: Tensor, event_B: Tensor, real_BW: Tensor
) -> Tensor:
    """Return the mean of v over the keys of each query's event, weighted by query * key.

    Shape (B, H, W, C), dtype of v. `event_B` numbers the event of each block, 0 .. B - 1; pads
    neither give nor take. The total weight stays in float32 under autocast.
    """
    real_BHW1 = real_BW[:, None, :, None].expand(*v_BHWC.shape[:3], 1)
    query_NWR, key_NRW = query_BHWR.flatten(0, 1), key_BHWR.flatten(0, 1).transpose(1, 2)
    sums_NRC = torch.bmm(key_NRW, (v_BHWC * real_BHW1).flatten(0, 1)).float()
    message_NWC = torch.bmm(query_NWR, _over_event(sums_NRC, event_B))
    with full_precision(query_NWR):
        total_NR1 = torch.bmm(key_NRW, real_BHW1.flatten(0, 1).float())
        weight_NW1 = torch.bmm(query_NWR, _over_event(total_NR1, event_B))
        mean_NWC = message_NWC.float() / weight_NW1.clamp(min=_MIN_WEIGHT)
    return mean_NWC.to(v_BHWC.dtype).view(v_BHWC.shape)


def _over_event(part_NRX: Tensor, event_B: Tensor) -> Tensor:
    """Give every block the sum over all blocks of its event, per head, shape (N, R, ...).

    Blocks are added in their order, so the sum does not depend on the other events.
    """
    part_BX = part_NRX.reshape(len(event_B), -1)
    sums_EX = torch.zeros_like(part_BX).index_add(0, event_B, part_BX)
    return sums_EX.index_select(0, event_B).view(part_NRX.shape)

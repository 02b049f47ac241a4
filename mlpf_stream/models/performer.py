"""The Performer: every element listens to its whole event, at linear cost.

A layer is pre-norm attention by random features and a feed-forward part on the residual stream.
Elements have no order, so there is no positional encoding: directions are features like others.
Blocks only carry the sums; how rows are shared out among the blocks of an event does not matter.

Source: Choromanski et al. 2021 (arXiv:2009.14794). Queries and keys are normalised to a learnt
length instead of being stabilised by a maximum, and the random directions stay as first drawn.

Shape letters: T packed rows, S slots, B blocks, W slots of a block, H heads, C width of a head,
D = H * C embedding width, R random directions.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mlpf_stream.config import PerformerConfig
from mlpf_stream.models.favor import attend_event, orthogonal_directions, positive_features
from mlpf_stream.models.feed_forward import FeedForward
from mlpf_stream.models.initial import spread
from mlpf_stream.models.layout import Layout
from mlpf_stream.models.norm import RmsNorm, normalise
from mlpf_stream.models.precision import full_precision
from mlpf_stream.models.sort_tile import Tiling, tiling, to_rows, to_slots

_FIRST_SQUARE = 1.0  # |q|^2 = |k|^2 of a fresh network
_MAX_SQUARE = 4.0  # beyond it the variance of the features drowns the signal


class Sharing(NamedTuple):
    """How one batch is shared out: its tiling, the event of each block, where slots hold rows."""

    tiles: Tiling
    event_B: Tensor
    real_BW: Tensor


@torch.no_grad()
def share_out(layout: Layout) -> Sharing:
    """Put the rows of each event, in their order, into its blocks.

    Events are numbered 0 .. B - 1 by their blocks, since an event without rows has none.
    """
    order_T = torch.argsort(layout.event_T, stable=True)
    tiles = tiling(order_T, layout)
    event_B = layout.event_T[tiles.row_of_slot_S.view(layout.real_BW.shape)[:, 0]]
    first_B = torch.ones_like(event_B)
    first_B[1:] = event_B[1:] != event_B[:-1]
    return Sharing(tiles, torch.cumsum(first_B, 0) - 1, layout.real_BW)


class FavorBlock(nn.Module):
    """Attention of every element to its whole event, the first branch of a layer."""

    directions_CR: Tensor

    def __init__(self, config: PerformerConfig) -> None:
        super().__init__()
        self.width, self.heads = config.width, config.heads
        head_width = config.width // config.heads
        self.norm = RmsNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        start = math.log(_FIRST_SQUARE / (_MAX_SQUARE - _FIRST_SQUARE))
        self.temperature_H = nn.Parameter(torch.full((config.heads,), start))
        self.register_buffer("directions_CR", orthogonal_directions(config.features, head_width))
        self.out = nn.Linear(config.width, config.width)
        spread(self.qkv)
        spread(self.out, (2 * config.layers) ** -0.5)

    def forward(self, x_TD: Tensor, sharing: Sharing) -> Tensor:
        """Return what the residual stream gains, shape (T, D)."""
        tiles, event_B, real_BW = sharing
        qkv_SG = to_slots(self.qkv(self.norm(x_TD)), tiles)
        qkv_BW3HC = qkv_SG.view(*real_BW.shape, 3, self.heads, -1)
        q_BHWC, k_BHWC, v_BHWC = qkv_BW3HC.permute(2, 0, 3, 1, 4).unbind(0)
        message_BHWC = attend_event(
            positive_features(self._of_learnt_length(q_BHWC), self.directions_CR),
            positive_features(self._of_learnt_length(k_BHWC), self.directions_CR),
            v_BHWC,
            event_B,
            real_BW,
        )
        message_SD = message_BHWC.transpose(1, 2).reshape(-1, self.width)
        gain_TD: Tensor = self.out(to_rows(message_SD, tiles))
        return gain_TD

    def _of_learnt_length(self, x_BHWC: Tensor) -> Tensor:
        """Return vectors with the head's |x|^2, between 0 and 4, float32."""
        with full_precision(x_BHWC):
            square_H = _MAX_SQUARE * torch.sigmoid(self.temperature_H)
            length_H11 = (square_H / x_BHWC.shape[3]).sqrt()[:, None, None]
            return normalise(x_BHWC) * length_H11


class PerformerLayer(nn.Module):
    """An attention branch and a feed-forward branch on the residual stream."""

    def __init__(self, config: PerformerConfig) -> None:
        super().__init__()
        self.attention = FavorBlock(config)
        self.feed_forward = FeedForward(config.width, config.expansion, config.layers)

    def forward(self, x_TD: Tensor, sharing: Sharing) -> Tensor:
        """Return the residual stream after this layer, shape (T, D)."""
        x_TD = x_TD + self.attention(x_TD, sharing)
        y_TD: Tensor = x_TD + self.feed_forward(x_TD)
        return y_TD


class Performer(nn.Module):
    """The stack of attention layers between the encoder and the head."""

    def __init__(self, config: PerformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PerformerLayer(config) for _ in range(config.layers))

    def forward(self, x_TD: Tensor, geo_T3: Tensor, layout: Layout) -> Tensor:  # noqa: ARG002
        """Return embeddings that know their event, shape (T, D)."""
        sharing = share_out(layout)
        for layer in self.layers:
            x_TD = layer(x_TD, sharing)
        return x_TD

"""The LSH graph network: learnt coordinates hash elements into blocks, a learnt graph inside each.

A layer moves every element to learnt coordinates s, which start as its direction at the
calorimeter, tiles the plane into blocks of an event by sorting (the locality-sensitive hash), and
exchanges messages inside each block over the graph softmax(q k / sqrt(d) - exp(g) |s_i - s_j|^2).
The sort has no gradient; the distance in the graph has, so the hash learns through it.
Cost grows linearly with the number of elements: blocks have a fixed size.

Source: Pata et al. 2021 (arXiv:2101.08578) for the learnable graph in locality-sensitive bins;
a row-normalised Gaussian graph on normalised embeddings is softmax attention.

Shape letters: T packed rows, S slots, B blocks, W slots of a block, H heads, C width of a head,
D = H * C embedding width, G = 2 D.
"""

import torch
from torch import Tensor, nn

from mlpf_stream.config import LshGnnConfig
from mlpf_stream.models.feed_forward import FeedForward
from mlpf_stream.models.initial import random_rotation, spread
from mlpf_stream.models.kernel import attend, distance_bias
from mlpf_stream.models.layout import Layout
from mlpf_stream.models.norm import RmsNorm, normalise
from mlpf_stream.models.precision import full_precision
from mlpf_stream.models.sort_tile import Tiling, sort_tile, tiling, to_rows, to_slots

_GAIN_RANGE = (-2.0, 5.0)  # g_h: from nearly global heads to heads of about 0.1 rad


class GraphBlock(nn.Module):
    """One round of hashing and messages, the first branch of a layer."""

    def __init__(self, config: LshGnnConfig) -> None:
        super().__init__()
        self.width, self.heads = config.width, config.heads
        self.norm = RmsNorm(config.width)
        self.shift = nn.Linear(config.width, 3, bias=False)
        self.rotation = nn.Parameter(random_rotation())
        self.sharpness_H = nn.Parameter(torch.linspace(*_GAIN_RANGE, config.heads))
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.scale_2C = nn.Parameter(torch.ones(2, config.width // config.heads))
        self.out = nn.Linear(config.width, config.width)
        nn.init.trunc_normal_(self.shift.weight, std=0.02)
        spread(self.qkv)
        spread(self.out, (2 * config.layers) ** -0.5)

    def forward(self, x_TD: Tensor, geo_T3: Tensor, layout: Layout) -> Tensor:
        """Return what the residual stream gains, shape (T, D)."""
        h_TD = self.norm(x_TD)
        s_T3 = self.coordinates(h_TD, geo_T3)
        tiles = tiling(sort_tile(s_T3, layout), layout)
        message_SD = self._messages(h_TD, s_T3, tiles, layout)
        gain_TD: Tensor = self.out(to_rows(message_SD, tiles))
        return gain_TD

    def coordinates(self, h_TD: Tensor, geo_T3: Tensor) -> Tensor:
        """Return the learnt coordinates of normalised rows, shape (T, 3), always float32."""
        with full_precision(h_TD):
            s_T3: Tensor = (geo_T3 + self.shift(h_TD.float())) @ self.rotation
        return s_T3

    def _messages(self, h_TD: Tensor, s_T3: Tensor, tiles: Tiling, layout: Layout) -> Tensor:
        """Pass messages inside each block, shape (S, D)."""
        # Linear layers see T rows, not S slots: their shape, hence their rounding, is then the
        # same whatever the other events of the batch.
        qk_TG, v_TD = self.qkv(h_TD).split([2 * self.width, self.width], dim=1)
        unit_T2HC = normalise(qk_TG.view(len(h_TD), 2, self.heads, -1)) * self.scale_2C[:, None]
        blocked = (layout.blocks, layout.block)
        qk_BW2HC = to_slots(unit_T2HC.flatten(1), tiles).view(*blocked, 2, self.heads, -1)
        v_BWHC = to_slots(v_TD, tiles).view(*blocked, self.heads, -1)
        q_BHWC, k_BHWC = qk_BW2HC.permute(2, 0, 3, 1, 4).to(v_TD.dtype).unbind(0)
        s_BW3 = to_slots(s_T3, tiles).view(*blocked, 3)
        bias_BHWW = distance_bias(s_BW3, self.sharpness_H.exp(), layout.real_BW)
        message_BHWC = attend(q_BHWC, k_BHWC, v_BWHC.transpose(1, 2), bias_BHWW)
        return message_BHWC.transpose(1, 2).reshape(-1, self.width)


class GraphLayer(nn.Module):
    """A graph branch and a feed-forward branch on the residual stream."""

    def __init__(self, config: LshGnnConfig) -> None:
        super().__init__()
        self.graph = GraphBlock(config)
        self.feed_forward = FeedForward(config.width, config.expansion, config.layers)

    def forward(self, x_TD: Tensor, geo_T3: Tensor, layout: Layout) -> Tensor:
        """Return the residual stream after this layer, shape (T, D)."""
        x_TD = x_TD + self.graph(x_TD, geo_T3, layout)
        y_TD: Tensor = x_TD + self.feed_forward(x_TD)
        return y_TD


class LshGnn(nn.Module):
    """The stack of graph layers between the encoder and the head."""

    def __init__(self, config: LshGnnConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GraphLayer(config) for _ in range(config.layers))

    def forward(self, x_TD: Tensor, geo_T3: Tensor, layout: Layout) -> Tensor:
        """Return embeddings that know their neighbourhood, shape (T, D)."""
        for layer in self.layers:
            x_TD = layer(x_TD, geo_T3, layout)
        return x_TD

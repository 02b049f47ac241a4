"""The per-element network: the same depth of thought without any look at the neighbours.

It is the floor that a graph network must beat.
Shape letters: T packed rows, D embedding width.
"""

from torch import Tensor, nn

from mlpf_stream.config import MlpConfig
from mlpf_stream.models.feed_forward import FeedForward
from mlpf_stream.models.layout import Layout


class Mlp(nn.Module):
    """Residual feed-forward layers between the encoder and the head."""

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            FeedForward(config.width, config.expansion, config.layers) for _ in range(config.layers)
        )

    def forward(self, x_TD: Tensor, geo_T3: Tensor, layout: Layout) -> Tensor:  # noqa: ARG002
        """Return embeddings, shape (T, D); direction and layout are not looked at."""
        for layer in self.layers:
            x_TD = x_TD + layer(x_TD)
        return x_TD

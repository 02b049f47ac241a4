"""The part of a layer that looks at each row alone.

Shape letters: T packed rows, D embedding width.
"""

from torch import Tensor, nn

from mlpf_stream.models.initial import spread
from mlpf_stream.models.norm import RmsNorm


class FeedForward(nn.Module):
    """Pre-norm branch of a residual layer: RMSNorm, Linear up, GELU, Linear down."""

    def __init__(self, width: int, expansion: int, layers: int) -> None:
        super().__init__()
        self.norm = RmsNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        spread(self.up)
        spread(self.down, (2 * layers) ** -0.5)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Return what the residual stream gains, shape (T, D)."""
        gain_TD: Tensor = self.down(nn.functional.gelu(self.up(self.norm(x_TD))))
        return gain_TD

"""A whole network: geometry, encoder, body, head.

Shape letters: T packed rows, F features of the widest kind.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from mlpf_stream.columns import KINDS, Detector
from mlpf_stream.config import LshGnnConfig, ModelConfig, PerformerConfig
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.encoder import Encoder, FeatureStatistics
from mlpf_stream.models.geometry import directions
from mlpf_stream.models.heads import Head, Prediction
from mlpf_stream.models.layout import Layout
from mlpf_stream.models.lsh_gnn import LshGnn
from mlpf_stream.models.mlp import Mlp
from mlpf_stream.models.performer import Performer

_NEVER_DECAYED = ("norm", "scale", "sharpness", "rotation", "temperature", "types", "bias")


class Network(nn.Module):
    """Packed rows in, one prediction per row out; knows its own config, detector and kinds."""

    def __init__(
        self,
        config: ModelConfig,
        statistics: FeatureStatistics,
        detector: Detector,
        prior: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.detector = detector
        self.kinds = tuple(KINDS[name] for name in statistics.kinds)
        self.encoder = Encoder(statistics, config.width)
        self.body = _body(config)
        self.head = Head(config.width, prior)

    def forward(self, batch: Batch) -> Prediction:
        """Predict class, charge and momentum of every row of a batch, tail included."""
        return self.predict(batch.x_TF, batch.kind_T, batch.layout)

    def predict(self, x_TF: Tensor, kind_T: Tensor, layout: Layout) -> Prediction:
        """Predict from bare tensors, see `Batch` for their meaning."""
        geo_T3 = directions(x_TF, kind_T, self.detector)
        embedded_TD = self.encoder(x_TF, kind_T, geo_T3)
        prediction: Prediction = self.head(self.body(embedded_TD, geo_T3, layout))
        return prediction

    @property
    def parameter_count(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def build_network(
    config: ModelConfig,
    statistics: FeatureStatistics,
    detector: Detector,
    prior: Sequence[float] | None = None,
) -> Network:
    """Build a network with fresh weights from torch's global generator: seed it first.

    `prior` is the fraction of each class among the rows; it sets the first class biases.
    """
    return Network(config, statistics, detector, prior)


def _body(config: ModelConfig) -> LshGnn | Performer | Mlp:
    """Build the part between encoder and head that the kind of the config names."""
    if isinstance(config, LshGnnConfig):
        return LshGnn(config)
    if isinstance(config, PerformerConfig):
        return Performer(config)
    return Mlp(config)


def split_by_decay(network: Network) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters that weight decay may shrink, and those that it must not touch.

    Norms, biases, type embeddings, sharpness, rotations and temperatures are of the second sort.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        exempt = any(word in name for word in _NEVER_DECAYED)
        (kept if exempt else decayed).append(parameter)
    return decayed, kept

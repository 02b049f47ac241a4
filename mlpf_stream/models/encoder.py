"""From features to embeddings: one first layer per element kind, with the dataset's statistics.

Columns enter standardised; those flagged `log` in `columns` enter also as standardised logarithms;
all are squeezed softly beyond a few sigma. The direction at the calorimeter enters as it is.
Every kind's layer sees all rows and the kind selects: shapes never depend on the data, so neither
does the result for a row.

Shape letters: T packed rows, F features of the widest kind, K features of one kind, L its
logarithmic features, D embedding width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlpf_stream.columns import KINDS, LOG_OFFSET, ElementKind
from mlpf_stream.models.initial import spread
from mlpf_stream.models.precision import full_precision

F32 = npt.NDArray[np.float32]

_SQUEEZE = 3.0  # sigma; beyond this a feature grows like its logarithm
_MAX_SIGMA = 1e4
_MAX_VALUE = 1e18
_DIRECTION = 3  # eta, sin phi, cos phi


@dataclass(frozen=True, slots=True)
class KindStatistics:
    """Mean and standard deviation of every column of one kind, shape (K,) float32.

    The `log` pair belongs to log(max(x, 0) + LOG_OFFSET) and is read for logarithmic columns only.
    """

    mean_K: F32
    std_K: F32
    log_mean_K: F32
    log_std_K: F32


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Statistics by kind name, for the kinds that the network shall know."""

    kinds: Mapping[str, KindStatistics]

    def __post_init__(self) -> None:
        """Put the kinds into the dictionary's order, in which networks hold their parameters.

        The order of parameters decides the last bit of the gradient norm, so it must not depend on
        where the statistics come from.
        """
        ordered = {name: self.kinds[name] for name in KINDS if name in self.kinds}
        object.__setattr__(self, "kinds", ordered)

    @classmethod
    def neutral(cls, names: tuple[str, ...] = tuple(KINDS)) -> "FeatureStatistics":
        """Return mean 0 and standard deviation 1: features enter as they are."""
        return cls({name: _neutral(KINDS[name].width) for name in names})


class KindLayer(nn.Module):
    """First layer of one kind: standardise, squeeze, Linear to D."""

    mean_K: Tensor
    scale_K: Tensor
    log_mean_L: Tensor
    log_scale_L: Tensor

    def __init__(self, kind: ElementKind, statistics: KindStatistics, width: int) -> None:
        super().__init__()
        self.width = kind.width
        self.logs = [number for number, column in enumerate(kind.columns) if column.log]
        self.register_buffer("mean_K", _tensor(statistics.mean_K, kind))
        self.register_buffer("scale_K", _scale(statistics.mean_K, statistics.std_K, kind))
        log_scale_K = _scale(statistics.log_mean_K, statistics.log_std_K, kind)
        self.register_buffer("log_mean_L", _tensor(statistics.log_mean_K, kind)[self.logs])
        self.register_buffer("log_scale_L", log_scale_K[self.logs])
        self.linear = nn.Linear(kind.width + len(self.logs) + _DIRECTION, width)
        spread(self.linear)

    def forward(self, x_TF: Tensor, geo_T3: Tensor) -> Tensor:
        """Embed all rows as if they were of this kind, shape (T, D), always float32."""
        with full_precision(x_TF):
            x_TK = x_TF[:, : self.width].clamp(-_MAX_VALUE, _MAX_VALUE)
            x_TL = torch.stack([x_TK[:, number] for number in self.logs], dim=1)
            log_TL = torch.log(x_TL.clamp(min=0.0) + LOG_OFFSET)
            linear_TK = _squeeze((x_TK - self.mean_K) * self.scale_K)
            log_TL = _squeeze((log_TL - self.log_mean_L) * self.log_scale_L)
            embedded: Tensor = self.linear(torch.cat([linear_TK, log_TL, geo_T3], dim=1))
        return embedded


class Encoder(nn.Module):
    """Embed rows of all kinds: a first layer per kind, GELU, a shared layer, a type embedding."""

    def __init__(self, statistics: FeatureStatistics, width: int) -> None:
        super().__init__()
        self.codes = {name: KINDS[name].code for name in statistics.kinds}
        self.first = nn.ModuleDict(
            {
                name: KindLayer(KINDS[name], values, width)
                for name, values in statistics.kinds.items()
            }
        )
        self.types = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(width) * 0.02) for name in statistics.kinds}
        )
        self.second = nn.Linear(width, width)
        spread(self.second)

    def forward(self, x_TF: Tensor, kind_T: Tensor, geo_T3: Tensor) -> Tensor:
        """Return embeddings, shape (T, D); tail rows (kind 0) have no features."""
        shape = (x_TF.shape[0], self.second.in_features)
        h_TD = x_TF.new_zeros(shape)
        type_TD = x_TF.new_zeros(shape)
        for name, code in self.codes.items():
            own_T1 = (kind_T == code)[:, None]
            h_TD = torch.where(own_T1, self.first[name](x_TF, geo_T3), h_TD)
            type_TD = torch.where(own_T1, self.types[name], type_TD)
        embedded: Tensor = self.second(nn.functional.gelu(h_TD)) + type_TD
        return embedded


def _squeeze(z: Tensor) -> Tensor:
    """Leave a few sigma as they are and let outliers grow like their logarithm."""
    return _SQUEEZE * torch.asinh(z.clamp(-_MAX_SIGMA, _MAX_SIGMA) / _SQUEEZE)


def _tensor(values_K: F32, kind: ElementKind) -> Tensor:
    """Return checked statistics as a tensor.

    Raises:
        ValueError: not one finite value per column.
    """
    values = np.array(values_K, dtype=np.float32)
    if values.shape != (kind.width,) or not np.isfinite(values).all():
        raise ValueError(
            f"expected {kind.width} finite statistics for kind {kind.name!r}, "
            f"found shape {values.shape}: {values.tolist()}"
        )
    return torch.from_numpy(values)


def _scale(mean_K: F32, std_K: F32, kind: ElementKind) -> Tensor:
    """Return 1 / std, and 0 for columns that never vary: they tell nothing."""
    mean, std = _tensor(mean_K, kind), _tensor(std_K, kind)
    varies = std > 1e-6 * mean.abs() + 1e-12
    return torch.where(varies, 1.0 / std.clamp(min=1e-12), torch.zeros_like(std))


def _neutral(width: int) -> KindStatistics:
    """Return statistics that change nothing."""
    zeros, ones = np.zeros(width, np.float32), np.ones(width, np.float32)
    return KindStatistics(zeros, ones, zeros, ones)

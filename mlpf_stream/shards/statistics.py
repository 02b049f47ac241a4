"""Running mean, deviation and range of every feature, exact to rounding in any grouping.

Source: pairwise update of Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
computing sample variances" (1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlpf_stream.columns import LOG_OFFSET, ElementKind
from mlpf_stream.event import F32, F64
from mlpf_stream.manifest import FeatureEntry


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and summed squared deviation of F features."""

    count: int
    mean_F: F64
    square_F: F64

    @classmethod
    def of(cls, x_RF: F64) -> "Moments":
        """Return the moments of rows (R, F)."""
        if not len(x_RF):
            zero = np.zeros(x_RF.shape[1])
            return cls(0, zero, zero)
        mean_F = x_RF.mean(axis=0)
        return cls(len(x_RF), mean_F, ((x_RF - mean_F) ** 2).sum(axis=0))

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of rows together."""
        count = self.count + other.count
        if not count:
            return self
        delta_F = other.mean_F - self.mean_F
        mean_F = self.mean_F + delta_F * (other.count / count)
        between_F = delta_F**2 * (self.count * other.count / count)
        return Moments(count, mean_F, self.square_F + other.square_F + between_F)

    @property
    def std_F(self) -> F64:
        """Standard deviation, 0 for a constant feature."""
        return np.asarray(np.sqrt(self.square_F / max(self.count, 1)))


class FeatureStatistics:
    """Accumulates the statistics of one element kind."""

    def __init__(self, kind: ElementKind) -> None:
        self._kind = kind
        empty = np.zeros((0, kind.width))
        self._linear = Moments.of(empty)
        self._log = Moments.of(empty)
        self._min_F = np.full(kind.width, np.inf)
        self._max_F = np.full(kind.width, -np.inf)

    def add(self, x_RF: F32) -> None:
        """Count rows in."""
        if not len(x_RF):
            return
        x = x_RF.astype(np.float64)
        self._linear = self._linear.merge(Moments.of(x))
        self._log = self._log.merge(Moments.of(np.log(np.maximum(x, 0.0) + LOG_OFFSET)))
        self._min_F = np.minimum(self._min_F, x.min(axis=0))
        self._max_F = np.maximum(self._max_F, x.max(axis=0))

    def entries(self) -> Sequence[FeatureEntry]:
        """Return one manifest entry per feature; without rows all numbers are 0."""
        empty = self._linear.count == 0
        low_F = np.zeros(self._kind.width) if empty else self._min_F
        high_F = np.zeros(self._kind.width) if empty else self._max_F
        return [
            FeatureEntry(
                name=column.name,
                unit=column.unit,
                count=self._linear.count,
                mean=float(self._linear.mean_F[i]),
                std=float(self._linear.std_F[i]),
                min=float(low_F[i]),
                max=float(high_F[i]),
                log_mean=float(self._log.mean_F[i]),
                log_std=float(self._log.std_F[i]),
            )
            for i, column in enumerate(self._kind.columns)
        ]

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

BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and summed squared deviation of F features."""

    count: int
    mean_F: F64
    square_F: F64

    @classmethod
    def none(cls, width: int) -> "Moments":
        """Return the moments of no rows."""
        zero = np.zeros(width)
        return cls(0, zero, zero)

    @classmethod
    def of(cls, x_FR: F64) -> "Moments":
        """Return the moments of columns (F, R) with at least one row, which are overwritten."""
        mean_F = x_FR.mean(axis=1)
        x_FR -= mean_F[:, None]
        return cls(x_FR.shape[1], mean_F, np.einsum("fr,fr->f", x_FR, x_FR))

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
        self._linear = Moments.none(kind.width)
        self._logs = [i for i, column in enumerate(kind.columns) if column.log]
        self._log = Moments.none(len(self._logs))
        self._min_F = np.full(kind.width, np.inf)
        self._max_F = np.full(kind.width, -np.inf)

    def add(self, x_RF: F32) -> None:
        """Count rows in, some thousand at a time and by column: all passes stay in the cache."""
        for start in range(0, len(x_RF), BLOCK_ROWS):
            stored_FR = np.ascontiguousarray(x_RF[start : start + BLOCK_ROWS].T)
            self._min_F = np.minimum(self._min_F, stored_FR.min(axis=1))
            self._max_F = np.maximum(self._max_F, stored_FR.max(axis=1))
            x_FR = stored_FR.astype(np.float64)
            log_LR = np.maximum(x_FR[self._logs], 0.0)
            log_LR += LOG_OFFSET
            np.log(log_LR, out=log_LR)
            self._linear = self._linear.merge(Moments.of(x_FR))
            self._log = self._log.merge(Moments.of(log_LR))

    def entries(self) -> Sequence[FeatureEntry]:
        """Return one manifest entry per feature; without rows all numbers are 0.

        So are those of the logarithm where the network does not see it.
        """
        empty = self._linear.count == 0
        low_F = np.zeros(self._kind.width) if empty else self._min_F
        high_F = np.zeros(self._kind.width) if empty else self._max_F
        log_mean_F, log_std_F = np.zeros(self._kind.width), np.zeros(self._kind.width)
        log_mean_F[self._logs], log_std_F[self._logs] = self._log.mean_F, self._log.std_F
        return [
            FeatureEntry(
                name=column.name,
                unit=column.unit,
                count=self._linear.count,
                mean=float(self._linear.mean_F[i]),
                std=float(self._linear.std_F[i]),
                min=float(low_F[i]),
                max=float(high_F[i]),
                log_mean=float(log_mean_F[i]),
                log_std=float(log_std_F[i]),
            )
            for i, column in enumerate(self._kind.columns)
        ]

"""Numbers that change over the steps of a run, made fit to be looked at. N: points."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

POINTS: Final = 300
"""Most points of a line: more cannot be seen."""
SMOOTHING: Final = 40
"""The running mean is over one part in so many of the points."""


@dataclass(frozen=True, slots=True)
class Series:
    """Finite values at rising steps."""

    step_N: F64
    value_N: F64

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float | None]]) -> Self:
        """Keep the pairs whose value is a finite number."""
        kept = [(s, v) for s, v in pairs if v is not None and math.isfinite(v)]
        table = np.array(kept, np.float64).reshape(-1, 2)
        return cls(table[:, 0], table[:, 1])

    def __len__(self) -> int:
        return len(self.step_N)

    @property
    def final(self) -> float | None:
        """Return the mean over the last tenth of the points, at least three where there are."""
        tail = self.value_N[-max(3, len(self) // 10) :]
        return float(tail.mean()) if len(tail) else None

    @property
    def last(self) -> float | None:
        """Return the last value."""
        return float(self.value_N[-1]) if len(self) else None

    @property
    def highest(self) -> float | None:
        """Return the greatest value."""
        return float(self.value_N.max()) if len(self) else None

    def smooth(self) -> "Series":
        """Return the running mean around every point; near the ends over as much as there is."""
        count = len(self)
        place_N = np.arange(count)
        half_N = np.minimum(count // (2 * SMOOTHING), np.minimum(place_N, count - 1 - place_N))
        sum_N = np.concatenate(([0.0], np.cumsum(self.value_N)))
        mean_N = (sum_N[place_N + half_N + 1] - sum_N[place_N - half_N]) / (2 * half_N + 1)
        return Series(self.step_N, mean_N).thin()

    def thin(self) -> "Series":
        """Keep at most `POINTS` points, the first and the last among them."""
        if len(self) <= POINTS:
            return self
        kept = np.unique(np.linspace(0, len(self) - 1, POINTS).round().astype(np.int64))
        return Series(self.step_N[kept], self.value_N[kept])

    def envelope(self) -> "Series":
        """Return a line through the lowest and highest value of neighbours: no outlier is lost."""
        if len(self) <= 2 * POINTS:
            return self
        step_P = np.array_split(self.step_N, POINTS)
        value_P = np.array_split(self.value_N, POINTS)
        step_2P = [step for part in step_P for step in (part[0], part[-1])]
        value_2P = [value for part in value_P for value in (part.min(), part.max())]
        return Series(np.array(step_2P), np.array(value_2P))

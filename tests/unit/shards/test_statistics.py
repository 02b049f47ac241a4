"""Feature statistics: exact in any grouping."""

import numpy as np
import pytest

from mlpf_stream.columns import CLUSTER
from mlpf_stream.shards.statistics import FeatureStatistics


def test_grouping_does_not_change_the_result():
    rng = np.random.default_rng(0)
    x_RF = rng.lognormal(2.0, 1.0, (5000, CLUSTER.width)).astype(np.float32)
    grouped = FeatureStatistics(CLUSTER)
    for part in np.split(x_RF, [3, 700, 701, 4000]):
        grouped.add(part)
    entries = grouped.entries()
    for i, entry in enumerate(entries):
        column = x_RF[:, i].astype(np.float64)
        assert entry.mean == pytest.approx(column.mean(), rel=1e-10)
        assert entry.std == pytest.approx(column.std(), rel=1e-10)
        assert (entry.min, entry.max) == (column.min(), column.max())
        log = np.log(column + 1e-3) if CLUSTER.columns[i].log else np.zeros(1)
        assert entry.log_mean == pytest.approx(log.mean(), rel=1e-10)
        assert entry.log_std == pytest.approx(log.std(), rel=1e-10)
        assert entry.count == 5000


def test_no_rows_is_all_zero():
    assert {entry.mean for entry in FeatureStatistics(CLUSTER).entries()} == {0.0}

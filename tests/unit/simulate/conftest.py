"""Simulated events that several tests look at."""

import numpy as np
import pytest

from mlpf_stream.columns import DETECTORS
from mlpf_stream.event import offsets_of
from mlpf_stream.simulate.cells import deposit
from mlpf_stream.simulate.clustering import cluster
from mlpf_stream.simulate.event_data import Simulated
from mlpf_stream.simulate.guns import shoot
from mlpf_stream.simulate.interactions import interact
from mlpf_stream.simulate.record import FINAL, NO_PARENT, Record
from mlpf_stream.simulate.showers import shower
from mlpf_stream.simulate.tracker import track

CLIC = DETECTORS["clic"]


def make_record(momentum_P3, charge_P, vertex_P3=None, pdg=211):
    momentum_P3 = np.asarray(momentum_P3, dtype=np.float64)
    count = len(momentum_P3)
    return Record(
        pdg_P=np.full(count, pdg, np.int32),
        charge_P=np.asarray(charge_P, dtype=np.float64),
        mass_P=np.full(count, 0.13957),
        momentum_P3=momentum_P3,
        vertex_P3=np.zeros((count, 3)) if vertex_P3 is None else np.asarray(vertex_P3, float),
        status_P=np.full(count, FINAL, np.int32),
        simulator_P=np.zeros(count, np.int32),
        parent_P=np.full(count, NO_PARENT, np.int64),
        offsets=offsets_of(np.array([count])),
    )


@pytest.fixture(scope="session")
def record_of():
    """Return a function that makes one event of particles with given momenta and charges."""
    return make_record


@pytest.fixture(scope="session")
def fire():
    """Return a function that simulates a gun up to its clusters."""

    def run(name, events, multiplicity, seed=1):
        random = np.random.default_rng(seed)
        record = interact(shoot(name, events, multiplicity, random), CLIC, random)
        tracks = track(record, CLIC, random)
        cells = deposit(shower(record, CLIC, random), events, random)
        return Simulated(record, tracks, cells, cluster(cells))

    return run


@pytest.fixture(scope="session")
def pions(fire):
    """20 events of 100 charged pions."""
    return fire("gun-pi", 20, 100)

"""Events with plausible features, packed or padded into batches."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from mlpf_stream.columns import CLUSTER, DETECTORS, HIT, TRACK
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.layout import build_layout, padded_layout

CLIC = DETECTORS["clic"]


@dataclass(frozen=True)
class Event:
    """Rows of one event with their targets."""

    x_RF: torch.Tensor
    kind_R: torch.Tensor
    class_R: torch.Tensor
    charge_R: torch.Tensor
    momentum_RM: torch.Tensor

    def permuted(self, order_R):
        return Event(*(getattr(self, name)[order_R] for name in self.__dataclass_fields__))


def make_event(rows, seed):
    """Half tracks, a quarter clusters, a quarter hits, uniform in phi, normal in eta."""
    rng = np.random.default_rng(seed)
    tracks, hits = rows // 2, rows // 4
    clusters = rows - tracks - hits
    eta, phi = rng.normal(0, 1, rows), rng.uniform(-np.pi, np.pi, rows)
    pt = 0.3 + rng.exponential(3.0, rows)
    energy = pt * np.cosh(eta)
    x = np.zeros((rows, CLUSTER.width), np.float32)
    shared = [("eta", eta), ("sin_phi", np.sin(phi)), ("cos_phi", np.cos(phi))]
    sign = rng.choice([-1.0, 1.0], rows)
    track = [("elemtype", 1.0), ("pt", pt), ("p", energy), ("tan_lambda", np.sinh(eta))]
    track += [("omega", sign * 3e-4 * CLIC.field / pt), ("chi2", rng.uniform(0, 30, rows))]
    cluster = [("elemtype", 2.0), ("et", pt), ("energy", energy), ("num_hits", 10 * pt)]
    place = [("x", 1600 * np.cos(phi)), ("y", 1600 * np.sin(phi)), ("z", 1600 * np.sinh(eta))]
    hit = [("elemtype", 3.0), ("et", pt / 20), ("energy", energy / 20), ("subdetector", 1.0)]
    hit += [("time", rng.exponential(2.0, rows)), ("type", rng.integers(0, 40, rows) * 10_000)]
    for kind, where, columns in (
        (TRACK, slice(0, tracks), shared + track),
        (CLUSTER, slice(tracks, rows - hits), shared + cluster + place),
        (HIT, slice(rows - hits, rows), shared + hit + place),
    ):
        for name, values in columns:
            x[where, kind.index(name)] = np.broadcast_to(values, (rows,))[where]
    label = rng.integers(-1, 6, rows)
    momentum = np.stack([pt, eta, np.sin(phi), np.cos(phi), energy], 1) * 1.05
    momentum[label <= 0] = 0.0
    return Event(
        torch.from_numpy(x),
        torch.tensor([TRACK.code] * tracks + [CLUSTER.code] * clusters + [HIT.code] * hits),
        torch.from_numpy(label),
        torch.from_numpy(np.where(label > 0, rng.integers(-1, 2, rows), 0)),
        torch.from_numpy(momentum.astype(np.float32)),
    )


def pack(events, rows, block=64, blocks=None):
    """Pack events into one batch of `rows` rows."""
    sizes = [len(event.kind_R) for event in events]
    tail = rows - sum(sizes)

    def join(name, fill):
        parts = [getattr(event, name) for event in events]
        empty = parts[0].new_full((tail, *parts[0].shape[1:]), fill)
        return torch.cat([*parts, empty])

    return Batch(
        join("x_RF", 0),
        join("kind_R", 0),
        build_layout(sizes, rows, block, blocks),
        join("class_R", -1),
        join("charge_R", 0),
        join("momentum_RM", 0),
        tuple(f"test-0-{number}" for number in range(len(events))),
        sum(sizes),
    )


def pad(events, places, length, block=64, blocks=None):
    """The batch of `pack` with each event moved to its own place of `length` rows."""
    batch = pack(events, places * length, block)
    sizes = [len(event.kind_R) for event in events]
    layout = padded_layout(sizes, places, length, block, blocks)
    from_T = torch.argsort(layout.event_T, stable=True)

    def move(packed_T):
        moved_T = torch.empty_like(packed_T)
        moved_T[from_T] = packed_T
        return moved_T

    names = ("x_TF", "kind_T", "class_T", "charge_T", "momentum_TM")
    return replace(batch, layout=layout, **{name: move(getattr(batch, name)) for name in names})


@pytest.fixture
def event_of():
    return make_event


@pytest.fixture
def pack_events():
    return pack


@pytest.fixture
def pad_events():
    return pad

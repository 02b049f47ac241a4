"""A padded batch says of every row what the packed batch says, and teaches the same."""

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LossConfig, LshGnnConfig, MlpConfig, PerformerConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.loss import StepTotals, batch_loss, step_loss
from mlpf_stream.models.network import build_network

SIZES = (150, 1, 64, 0, 190)
PLACES, LENGTH = 6, 200  # one place stays empty
KINDS = [
    LshGnnConfig(width=64, layers=3),
    PerformerConfig(width=64, layers=3),
    MlpConfig(width=64, layers=3),
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda config: config.kind)
def network(request):
    torch.manual_seed(5)
    built = build_network(request.param, FeatureStatistics.neutral(), DETECTORS["clic"])
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return built


def batches(event_of, pack_events, pad_events):
    events = [event_of(size, seed=size) for size in SIZES]
    return pack_events(events, PLACES * LENGTH), pad_events(events, PLACES, LENGTH)


def real_rows(network, batch):
    """Predictions of all real rows, events in order, all outputs side by side."""
    out_TN = torch.cat(network(batch), dim=1)
    order_T = torch.argsort(batch.layout.event_T, stable=True)[: sum(SIZES)]
    return out_TN[order_T]


def test_the_padded_batch_is_spread_out(event_of, pack_events, pad_events):
    packed, padded = batches(event_of, pack_events, pad_events)
    assert padded.layout.rows == packed.layout.rows
    real_T = padded.layout.event_T < len(SIZES)
    assert torch.equal(real_T, padded.kind_T > 0)
    filled = [*SIZES] + [0] * (PLACES - len(SIZES))
    assert real_T.view(PLACES, LENGTH).sum(1).tolist() == filled


@torch.no_grad()
def test_predictions_equal_those_of_the_packed_batch_bit_for_bit(
    network, event_of, pack_events, pad_events
):
    packed, padded = batches(event_of, pack_events, pad_events)
    expected = real_rows(network, packed)
    assert expected.std() > 0.1
    assert torch.equal(real_rows(network, padded), expected)


@torch.no_grad()
def test_content_of_pads_and_of_empty_places_changes_nothing(network, event_of, pad_events):
    batch = pad_events([event_of(size, seed=size) for size in SIZES], PLACES, LENGTH)
    clean = real_rows(network, batch)
    pad_T = batch.layout.event_T == len(SIZES)
    batch.x_TF[pad_T] = 1e6 * torch.randn_like(batch.x_TF[pad_T])
    batch.kind_T[pad_T] = 1
    assert torch.equal(real_rows(network, batch), clean)


@torch.no_grad()
def test_length_of_the_bucket_changes_next_to_nothing(network, event_of, pad_events):
    event = event_of(150, seed=1)
    short, long = (
        torch.cat(network(pad_events([event], 2, length)), dim=1)[:150] for length in (150, 600)
    )
    assert (short - long).abs().flatten().quantile(0.999) <= 1e-5


def test_gradients_equal_those_of_the_packed_batch(network, event_of, pack_events, pad_events):
    grads = []
    for batch in batches(event_of, pack_events, pad_events):
        sums = batch_loss(network(batch), batch, LossConfig())
        loss = step_loss(sums, StepTotals(batch.rows, batch.rows), LossConfig())
        grads.append(torch.autograd.grad(loss, list(network.parameters())))
    for packed, padded in zip(*grads, strict=True):
        # Weight gradients add up rows in another order: rounding, no more.
        assert (packed - padded).norm() <= 1e-5 * packed.norm()

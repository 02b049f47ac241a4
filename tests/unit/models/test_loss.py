"""Loss sums add over batches, and W ranks equal one rank."""

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LossConfig, LshGnnConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.heads import Prediction
from mlpf_stream.models.loss import StepTotals, batch_loss, step_loss
from mlpf_stream.models.network import build_network

WEIGHTS = LossConfig()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    built = build_network(
        LshGnnConfig(width=32, layers=1, heads=2), FeatureStatistics.neutral(), DETECTORS["clic"]
    )
    torch.nn.init.normal_(built.head.out.weight, std=0.3)
    return built


def test_sums_of_two_batches_are_those_of_one(network, event_of, pack_events):
    events = [event_of(90, 1), event_of(60, 2), event_of(45, 3)]
    whole = pack_events(events, 256)
    parts = [pack_events(events[:1], 128), pack_events(events[1:], 128)]
    one = batch_loss(network(whole), whole, WEIGHTS)
    many = [batch_loss(network(part), part, WEIGHTS) for part in parts]
    for total, *pieces in zip(one, *many, strict=True):
        torch.testing.assert_close(total, sum(pieces), rtol=1e-5, atol=1e-4)


def test_two_ranks_averaged_equal_one_rank(network, event_of, pack_events):
    batches = [pack_events([event_of(size, size)], 128) for size in (90, 33)]
    rows = sum(int((batch.class_T >= 0).sum()) for batch in batches)
    particles = sum(int((batch.class_T > 0).sum()) for batch in batches)
    sums = [batch_loss(network(batch), batch, WEIGHTS) for batch in batches]
    alone = sum(step_loss(part, StepTotals(rows, particles), WEIGHTS) for part in sums)
    ranks = [step_loss(part, StepTotals(rows, particles, world=2), WEIGHTS) for part in sums]
    torch.testing.assert_close(sum(ranks) / 2, alone)


def test_tail_and_unlinked_rows_teach_nothing(event_of, pack_events):
    batch = pack_events([event_of(40, 4)], 64)
    out_TN = torch.randn(64, 14, requires_grad=True)
    sums = batch_loss(Prediction(*out_TN.split([6, 3, 5], 1)), batch, WEIGHTS)
    sum(sums).backward()
    assert not out_TN.grad[batch.class_T < 0].any()
    none = batch.class_T == 0
    assert out_TN.grad[none, :6].any()
    assert not out_TN.grad[none, 6:].any()
    assert out_TN.grad[batch.class_T > 0].abs().sum(0).all()


def test_focal_with_gamma_zero_is_cross_entropy(event_of, pack_events):
    batch = pack_events([event_of(40, 5)], 40)
    logits_TK = torch.randn(40, 6)
    prediction = Prediction(logits_TK, torch.zeros(40, 3), torch.zeros(40, 5))
    sums = batch_loss(prediction, batch, LossConfig(focal_gamma=0.0))
    expected = torch.nn.functional.cross_entropy(
        logits_TK, batch.class_T, ignore_index=-1, reduction="sum"
    )
    torch.testing.assert_close(sums.classification, expected)


def test_a_batch_without_particles_has_a_finite_loss_and_gradient(event_of, pack_events):
    batch = pack_events([event_of(0, 1)], 32)
    out_TN = torch.full((32, 14), 1e4, requires_grad=True)
    sums = batch_loss(Prediction(*out_TN.split([6, 3, 5], 1)), batch, WEIGHTS)
    loss = step_loss(sums, StepTotals(rows=0, particles=0), WEIGHTS)
    loss.backward()
    assert loss.item() == 0.0
    assert not out_TN.grad.any()

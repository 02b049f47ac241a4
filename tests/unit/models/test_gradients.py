"""Gradients: finite, complete, and equal to those of plain operations."""

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LossConfig, LshGnnConfig, MlpConfig, PerformerConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.kernel import attend, distance_bias
from mlpf_stream.models.layout import build_layout
from mlpf_stream.models.loss import StepTotals, batch_loss, step_loss
from mlpf_stream.models.network import build_network, split_by_decay
from mlpf_stream.models.norm import normalise
from mlpf_stream.models.sort_tile import sort_tile, tiling, to_rows, to_slots

SMALL = LshGnnConfig(width=32, layers=2, heads=2, block=16)
PERFORMER = PerformerConfig(width=32, layers=2, heads=2, features=24, block=16)
KINDS = [SMALL, PERFORMER, MlpConfig(width=32, layers=2)]
every_kind = pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)


def learn(network, batch):
    """One backward pass; returns the loss."""
    weights = LossConfig()
    sums = batch_loss(network(batch), batch, weights)
    loss = step_loss(sums, StepTotals(rows=batch.rows, particles=batch.rows), weights)
    loss.backward()
    return loss.item()


@every_kind
def test_every_parameter_learns(config, event_of, pack_events):
    torch.manual_seed(0)
    network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
    torch.nn.init.normal_(network.head.out.weight, std=0.1)
    learn(network, pack_events([event_of(100, 1), event_of(40, 2)], 160, block=16))
    silent = [name for name, p in network.named_parameters() if not p.grad.abs().sum() > 0]
    assert not silent
    learnt = {
        "lsh_gnn": ("graph.shift.weight", "graph.rotation", "graph.sharpness_H"),
        "performer": ("attention.temperature_H", "attention.qkv.weight"),
        "mlp": ("up.weight",),
    }
    names = dict(network.named_parameters())
    assert all(f"body.layers.0.{name}" in names for name in learnt[config.kind])


@every_kind
def test_gradients_are_finite_with_empty_blocks_and_an_all_tail_batch(
    config, event_of, pack_events
):
    torch.manual_seed(0)
    for events in ([event_of(17, 1)], []):
        network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
        source = events or [event_of(0, 1)]
        learn(network, pack_events(source, 64, block=16, blocks=12))
        for name, parameter in network.named_parameters():
            assert torch.isfinite(parameter.grad).all(), name


@every_kind
def test_backward_is_deterministic(config, event_of, pack_events):
    batch = pack_events([event_of(100, 1), event_of(40, 2)], 160, block=16)
    grads = []
    for _ in range(2):
        torch.manual_seed(0)
        network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
        learn(network, batch)
        grads.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


@every_kind
def test_a_few_steps_lower_the_loss(config, event_of, pack_events):
    torch.manual_seed(0)
    network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
    decayed, kept = split_by_decay(network)
    optimiser = torch.optim.AdamW([{"params": decayed}, {"params": kept, "weight_decay": 0}], 2e-3)
    batch = pack_events([event_of(100, 1)], 100, block=16)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        losses.append(learn(network, batch))
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("config", "names_spared"),
    [
        (SMALL, {"rotation", "sharpness_H", "scale_2C", "bias"}),
        (PERFORMER, {"temperature_H", "bias"}),
    ],
    ids=["lsh_gnn", "performer"],
)
def test_decay_spares_geometry_temperature_and_norms(config, names_spared):
    network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
    decayed, kept = split_by_decay(network)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert len(decayed) + len(kept) == len(names)
    spared = {names[id(parameter)].rpartition(".")[2] for parameter in kept}
    assert names_spared <= spared
    assert all(parameter.ndim == 2 for parameter in decayed)


def test_gathers_have_the_gradient_of_plain_indexing():
    layout = build_layout([21, 9], rows=40, block=8, blocks=9)
    tiles = tiling(sort_tile(torch.randn(40, 3), layout), layout)
    x_TD = torch.randn(40, 5, requires_grad=True)
    weight_SD = torch.randn(72, 5) * tiles.real_S[:, None]
    (to_slots(x_TD, tiles) * weight_SD).sum().backward()
    ours, x_TD.grad = x_TD.grad, None
    (x_TD[tiles.row_of_slot_S] * weight_SD).sum().backward()
    assert torch.equal(ours, x_TD.grad)
    y_SD = torch.randn(72, 5, requires_grad=True)
    (to_rows(y_SD, tiles) * weight_SD[:40]).sum().backward()
    ours, y_SD.grad = y_SD.grad, None
    (y_SD[tiles.slot_of_row_T] * weight_SD[:40]).sum().backward()
    assert torch.equal(ours, y_SD.grad)
    assert torch.equal(to_rows(to_slots(x_TD, tiles), tiles), x_TD)


def test_normalise_has_the_gradient_of_the_composed_form():
    x_TD = torch.randn(6, 4, 10, requires_grad=True)
    weight = torch.randn(6, 4, 10)
    (normalise(x_TD) * weight).sum().backward()
    ours, x_TD.grad = x_TD.grad, None
    (torch.nn.functional.rms_norm(x_TD, (10,), eps=1e-6) * weight).sum().backward()
    torch.testing.assert_close(ours, x_TD.grad, rtol=1e-5, atol=1e-6)
    assert torch.equal(normalise(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_distance_bias_has_the_gradient_of_the_composed_form():
    torch.manual_seed(0)
    real_BW = build_layout([13, 5], 24, 8).real_BW
    blocks = len(real_BW)
    s_BW3 = torch.randn(blocks, 8, 3, requires_grad=True)
    sharp_H = torch.tensor([0.5, 20.0], requires_grad=True)
    q, k, v = torch.randn(3, blocks, 2, 8, 4)
    weight = torch.randn(blocks, 2, 8, 4) * real_BW[:, None, :, None]
    grads = []
    for composed in (False, True):
        if composed:
            square = (s_BW3[:, :, None] - s_BW3[:, None]).square().sum(-1)
            bias = -sharp_H[:, None, None] * square[:, None]
            bias = bias.masked_fill(~real_BW[:, None, None, :], -1e9)
        else:
            bias = distance_bias(s_BW3, sharp_H, real_BW)
        out = attend(q, k, v, bias)
        grads.append((out, *torch.autograd.grad((out * weight).sum(), [s_BW3, sharp_H])))
    for ours, plain in zip(*grads, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_distance_is_exact_far_from_the_origin():
    s_BW3 = torch.tensor([[[1000.0, 0, 0], [1000.125, 0, 0]]])
    bias = distance_bias(s_BW3, torch.ones(1), torch.ones(1, 2, dtype=torch.bool))
    assert bias[0, 0, 0, 1] == -(0.125**2)

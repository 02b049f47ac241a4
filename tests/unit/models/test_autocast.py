"""bfloat16 autocast: close to float32, float32 where it matters, and it learns."""

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LossConfig, LshGnnConfig, MlpConfig, PerformerConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.geometry import directions
from mlpf_stream.models.heads import Prediction
from mlpf_stream.models.kernel import attend, distance_bias
from mlpf_stream.models.loss import StepTotals, batch_loss, step_loss
from mlpf_stream.models.network import build_network

WEIGHTS = LossConfig()
KINDS = [
    LshGnnConfig(width=64, layers=3),
    PerformerConfig(width=64, layers=3),
    MlpConfig(width=64, layers=3),
]
bfloat16 = torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.fixture(params=KINDS, ids=lambda config: config.kind)
def network(request):
    torch.manual_seed(5)
    built = build_network(request.param, FeatureStatistics.neutral(), DETECTORS["clic"])
    torch.nn.init.normal_(built.head.out.weight, std=0.1)
    return built


@pytest.fixture
def batch(event_of, pack_events):
    return pack_events([event_of(150, 1), event_of(90, 2), event_of(3, 3)], 256, blocks=9)


def loss_of(network, batch):
    sums = batch_loss(network(batch), batch, WEIGHTS)
    return step_loss(sums, StepTotals(batch.rows, batch.rows), WEIGHTS)


def distance(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def test_predictions_are_float32_and_close(network, batch):
    exact = torch.cat(network(batch), dim=1)[: batch.rows]
    with bfloat16:
        prediction = network(batch)
    assert {part.dtype for part in prediction} == {torch.float32}
    near = torch.cat(prediction, dim=1)[: batch.rows]
    assert 0 < distance(near, exact) < 0.02
    assert (near != near.bfloat16()).any()  # not float32 in name only


def test_gradients_are_finite_and_point_the_same_way(network, batch):
    grads = []
    for context in (torch.autocast("cpu", enabled=False), bfloat16):
        network.zero_grad()
        with context:
            loss = loss_of(network, batch)
        assert loss.dtype == torch.float32
        loss.backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad.dtype == torch.float32, name
            assert torch.isfinite(parameter.grad).all(), name
        grads.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert distance(grads[1], grads[0]) < 0.05


def test_gradient_of_the_distance_is_exact_inside_the_context_too():
    torch.manual_seed(0)
    real_BW = torch.ones(2, 8, dtype=torch.bool)
    grads = []
    for context in (torch.autocast("cpu", enabled=False), bfloat16):
        s_BW3 = (100.0 + torch.randn(2, 8, 3, generator=torch.manual_seed(1))).requires_grad_()
        with context:
            bias_BHWW = distance_bias(s_BW3, torch.ones(2), real_BW)
            (bias_BHWW * torch.linspace(0, 1, 8)).sum().backward()
        grads.append(s_BW3.grad)
    assert torch.equal(*grads)


def test_a_few_steps_lower_the_loss_as_in_float32(network, batch):
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    last = []
    for enabled in (False, True):
        network.load_state_dict(fresh)
        optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
        losses = []
        for _ in range(15):
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                loss = loss_of(network, batch)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
        last.append(losses[-1])
    assert last[1] == pytest.approx(last[0], rel=0.05)


def test_the_loss_of_a_prediction_is_the_same_inside(batch):
    out_TN = torch.randn(batch.layout.rows, 14)
    prediction = Prediction(*out_TN.split([6, 3, 5], dim=1))
    exact = batch_loss(prediction, batch, WEIGHTS)
    with bfloat16:
        assert all(
            torch.equal(*pair)
            for pair in zip(batch_loss(prediction, batch, WEIGHTS), exact, strict=True)
        )
        half = Prediction(*(part.bfloat16() for part in prediction))
        assert {part.dtype for part in batch_loss(half, batch, WEIGHTS)} == {torch.float32}


def test_features_enter_in_float32(network, batch):
    geo_T3 = directions(batch.x_TF, batch.kind_T, network.detector)
    for layer in network.encoder.first.values():
        exact = layer(batch.x_TF, geo_T3)
        with bfloat16:
            assert torch.equal(layer(batch.x_TF, geo_T3), exact)


def test_directions_of_the_hash_stay_exact(batch):
    torch.manual_seed(1)
    network = build_network(KINDS[0], FeatureStatistics.neutral(), DETECTORS["clic"])
    graph = network.body.layers[0].graph
    h_TD, geo_T3 = torch.randn(256, 64), torch.randn(256, 3)
    exact = graph.coordinates(h_TD, geo_T3)
    with bfloat16:
        assert torch.equal(graph.coordinates(h_TD, geo_T3), exact)


@pytest.mark.parametrize("spread", [0.03, 0.3, 3.0])
def test_error_of_the_graph_kernel_is_below_half_a_percent(spread):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 6, 4, 64, 16).bfloat16()
    s_BW3, sharp_H = 100.0 + spread * torch.randn(6, 64, 3), torch.linspace(-2, 5, 4).exp()
    bias = distance_bias(s_BW3, sharp_H, torch.ones(6, 64, dtype=torch.bool))
    exact = attend(*(part.double() for part in (q, k, v, bias)))
    with bfloat16:
        near = attend(q, k, v, distance_bias(s_BW3, sharp_H, torch.ones(6, 64, dtype=torch.bool)))
    assert distance(near.double(), exact) < 0.005

"""Random features estimate the softmax, and every element listens to its whole event."""

from dataclasses import replace

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import PerformerConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.favor import attend_event, orthogonal_directions, positive_features
from mlpf_stream.models.network import build_network

SMALL = PerformerConfig(width=32, layers=2, heads=2, features=24, block=16)


def fresh(config=SMALL, seed=0):
    torch.manual_seed(seed)
    network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
    torch.nn.init.normal_(network.head.out.weight, std=0.1)
    return network.eval()


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def test_directions_are_orthogonal_in_groups_and_normal_in_length():
    torch.manual_seed(0)
    directions_CR = orthogonal_directions(2000, 8)
    gram_RR = directions_CR[:, :8].T @ directions_CR[:, :8]
    assert torch.allclose(gram_RR, torch.diag(torch.diagonal(gram_RR)), atol=1e-4)
    covariance_CC = directions_CR @ directions_CR.T / 2000
    torch.testing.assert_close(covariance_CC, torch.eye(8), atol=0.1, rtol=0)
    assert directions_CR.mean(1).abs().max() < 0.1
    assert orthogonal_directions(5, 8).shape == (8, 5)


@pytest.mark.parametrize("square", [0.1, 1.0])
def test_features_estimate_the_exponential(square):
    torch.manual_seed(1)
    x_BHWC, y_BHWC = square**0.5 * unit(2, 1, 1, 40, 16)
    directions_CR = orthogonal_directions(1 << 15, 16)
    features = [positive_features(part, directions_CR) for part in (x_BHWC, y_BHWC)]
    found = (features[0] @ features[1].transpose(2, 3))[0, 0]
    expected = torch.exp(x_BHWC @ y_BHWC.transpose(2, 3))[0, 0]
    assert ((found - expected).norm() / expected.norm()) < 0.02


def test_attention_is_softmax_attention_in_the_limit_of_many_features():
    torch.manual_seed(2)
    q, k = unit(2, 1, 2, 50, 16)
    v = torch.randn(1, 2, 50, 16)
    directions_CR = orthogonal_directions(1 << 15, 16)
    real_BW, event_B = torch.ones(1, 50, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    features = [positive_features(part, directions_CR) for part in (q, k)]
    found = attend_event(*features, v, event_B, real_BW)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_sums_over_blocks_are_the_sums_over_the_event():
    torch.manual_seed(3)
    query, key = torch.rand(2, 4, 2, 5, 7)
    v = torch.randn(4, 2, 5, 3)
    event_B = torch.tensor([0, 0, 1, 2])  # the last block is empty
    real_BW = torch.arange(5) < torch.tensor([5, 4, 2, 0])[:, None]
    found = attend_event(query, key, v, event_B, real_BW)
    for event in (0, 1):
        own_B = event_B == event
        real_N = real_BW[own_B].flatten()
        q, k, x = (p[own_B].transpose(1, 2).flatten(0, 1)[real_N] for p in (query, key, v))
        weight_HNN = torch.einsum("nhr,mhr->hnm", q, k)
        weight_HNN = weight_HNN / weight_HNN.sum(2, keepdim=True)
        expected = torch.einsum("hnm,mhc->nhc", weight_HNN, x)
        ours = found[own_B].transpose(1, 2).flatten(0, 1)[real_N]
        torch.testing.assert_close(ours, expected)
    assert not found[3].any()


def test_every_row_listens_to_its_whole_event_and_to_no_other(event_of, pack_events):
    network = fresh()
    event, other = event_of(300, seed=4), event_of(100, seed=5)
    x_RF = event.x_RF.clone()
    x_RF[0, 5] *= 30.0
    changed = replace(event, x_RF=x_RF)
    with torch.no_grad():
        before, after = (
            torch.cat(network(pack_events([one, other], 512, block=16)), dim=1)
            for one in (event, changed)
        )
    moved_T = (before != after).any(dim=1)
    assert moved_T[:300].float().mean() > 0.95
    assert not moved_T[300:].any()


def test_how_rows_share_blocks_hardly_matters(event_of, pack_events):
    event = event_of(300, seed=6)
    network = fresh()
    with torch.no_grad():
        fine, coarse = (
            torch.cat(network(pack_events([event], 300, block=block)), dim=1) for block in (7, 512)
        )
    assert (fine - coarse).abs().max() < 1e-5


def test_lengths_start_at_one_and_never_pass_two(event_of, pack_events):
    network = fresh()
    attention = network.body.layers[0].attention
    x_BHWC = torch.randn(3, 2, 5, 16)
    square = attention._of_learnt_length(x_BHWC).square().sum(3)
    torch.testing.assert_close(square, torch.ones_like(square))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(50.0)
        for layer in network.body.layers:
            layer.attention.temperature_H.fill_(1e3)
    assert (attention._of_learnt_length(x_BHWC).square().sum(3) <= 4 + 1e-4).all()
    batch = pack_events([event_of(300, seed=7)], 320, block=16)
    assert torch.isfinite(torch.cat(network(batch), dim=1)).all()


def test_directions_are_part_of_the_saved_state_and_come_from_the_seed(event_of, pack_events):
    one, again, other = fresh(seed=1), fresh(seed=1), fresh(seed=2)
    key = "body.layers.1.attention.directions_CR"
    assert key not in dict(one.named_parameters())
    assert torch.equal(one.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(one.state_dict()[key], other.state_dict()[key])
    first = one.state_dict()["body.layers.0.attention.directions_CR"]
    assert not torch.equal(one.state_dict()[key], first)
    other.load_state_dict(one.state_dict())
    batch = pack_events([event_of(50, seed=8)], 64, block=16)
    with torch.no_grad():
        assert torch.equal(torch.cat(other(batch), dim=1), torch.cat(one(batch), dim=1))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 30 is not a multiple of heads 4"):
        PerformerConfig(width=30, heads=4)


def test_sizes_of_lite_networks_agree():
    parameters = fresh(PerformerConfig()).parameter_count
    assert parameters == pytest.approx(833858, rel=0.01)  # of the LSH network

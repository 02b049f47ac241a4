"""A prediction depends on its own event alone: not on batch mates, tail, padding or order."""

from dataclasses import replace

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LshGnnConfig, MlpConfig, PerformerConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.geometry import directions
from mlpf_stream.models.network import build_network
from mlpf_stream.models.sort_tile import sort_tile, tiling, to_slots

ROWS = 1536
SIZES = {"many blocks": 600, "two blocks": 90, "one block": 7, "one row": 1}


def trained_looking(config):
    """A network whose every weight matters, as after some training."""
    torch.manual_seed(3)
    network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    return network.eval()


KINDS = [LshGnnConfig(), PerformerConfig(), MlpConfig(width=64)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda c: c.kind)
def network(request):
    return trained_looking(request.param)


@pytest.fixture(scope="module")
def gnn():
    return trained_looking(LshGnnConfig())


def predict(network, batch, number=0):
    """Predictions of one event of a batch, all outputs side by side."""
    with torch.no_grad():
        out_TN = torch.cat(network(batch), dim=1)
    return out_TN[batch.layout.event_T == number]


@pytest.mark.parametrize("rows", SIZES.values(), ids=SIZES.keys())
def test_alone_equals_in_any_batch_bit_for_bit(network, event_of, pack_events, rows):
    event = event_of(rows, seed=rows)
    mates = [event_of(size, seed=size + 1) for size in (130, 64, 211, 1, 333)]
    alone = predict(network, pack_events([event], ROWS))
    assert alone.abs().sum() > 0
    for before in range(len(mates) + 1):
        together = [*mates[:before], event, *mates[before:]]
        assert torch.equal(predict(network, pack_events(together, ROWS), before), alone)


def test_surplus_empty_blocks_change_nothing(network, event_of, pack_events):
    events = [event_of(300, 1), event_of(50, 2)]
    exact = predict(network, pack_events(events, ROWS), 0)
    assert torch.equal(predict(network, pack_events(events, ROWS, blocks=60), 0), exact)


def test_order_of_elements_changes_nothing(network, event_of, pack_events):
    event = event_of(600, seed=5)
    order_R = torch.randperm(600)
    straight = predict(network, pack_events([event], ROWS))
    shuffled = predict(network, pack_events([event.permuted(order_R)], ROWS))
    difference = (shuffled - straight[order_R]).abs().flatten()
    assert difference.quantile(0.999) <= 1e-5


def test_tail_content_changes_nothing(network, event_of, pack_events):
    batch = pack_events([event_of(200, 1)], ROWS)
    x_TF = batch.x_TF.clone()
    x_TF[200:] = 1e6 * torch.randn_like(x_TF[200:])
    kind_T = batch.kind_T.clone()
    kind_T[200:] = 2
    dirty = replace(batch, x_TF=x_TF, kind_T=kind_T)
    assert torch.equal(predict(network, dirty), predict(network, batch))


def test_blocks_are_distinct_and_spatial(gnn, event_of, pack_events):
    batch = pack_events([event_of(600, seed=8)], 600)
    assert batch.layout.blocks == 10
    geo_T3 = directions(batch.x_TF, batch.kind_T, gnn.detector)
    graph = gnn.body.layers[0].graph
    with torch.no_grad():
        h_TD = graph.norm(gnn.encoder(batch.x_TF, batch.kind_T, geo_T3))
        s_T3 = graph.coordinates(h_TD, geo_T3)
    tiles = tiling(sort_tile(s_T3, batch.layout), batch.layout)
    block_T = tiles.slot_of_row_T // batch.layout.block
    assert torch.equal(torch.bincount(block_T), torch.full((10,), 60))
    assert not torch.equal(block_T, torch.arange(600) // 60)  # not slices of storage order
    apart_TT = torch.cdist(s_T3[:, :2], s_T3[:, :2])
    together_TT = block_T[:, None] == block_T[None, :]
    assert apart_TT[together_TT].mean() < 0.5 * apart_TT.mean()


def test_neighbours_share_blocks_far_more_often_than_by_chance(gnn, event_of, pack_events):
    batch = pack_events([event_of(640, seed=9)], 640)
    geo_T3 = directions(batch.x_TF, batch.kind_T, gnn.detector)
    near_T8 = torch.cdist(geo_T3, geo_T3).topk(9, largest=False).indices[:, 1:]
    found_T8 = torch.zeros_like(near_T8, dtype=torch.bool)
    h_TD = torch.zeros(640, 128)
    recalls = []
    for layer in gnn.body.layers:
        order_T = sort_tile(layer.graph.coordinates(h_TD, geo_T3).detach(), batch.layout)
        block_T = tiling(order_T, batch.layout).slot_of_row_T // 64
        found_T8 |= block_T[near_T8] == block_T[:, None]
        recalls.append(found_T8.float().mean().item())
    assert recalls[0] > 0.5  # by chance: 0.1
    assert recalls[-1] > 0.85


def test_a_row_listens_to_its_neighbourhood(gnn, event_of, pack_events):
    event = event_of(300, seed=4)
    x_RF = event.x_RF.clone()
    x_RF[0, 5] *= 3.0
    changed = replace(event, x_RF=x_RF)
    before = predict(gnn, pack_events([event], 300))
    after = predict(gnn, pack_events([changed], 300))
    assert (before != after).any(dim=1)[1:].sum() > 30


def test_pads_hold_rows_of_their_own_event(event_of, pack_events):
    batch = pack_events([event_of(size, size) for size in (70, 130, 5)], 256)
    s_T3 = torch.randn(256, 3)
    tiles = tiling(sort_tile(s_T3, batch.layout), batch.layout)
    event_S = to_slots(batch.layout.event_T[:, None].float(), tiles)
    event_BW = event_S.view(batch.layout.blocks, batch.layout.block)
    assert (event_BW == event_BW[:, :1]).all()

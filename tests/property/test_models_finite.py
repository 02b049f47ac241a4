"""No finite input and no logit whatever may produce a NaN."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlpf_stream.columns import CLASSES, CLUSTER, DETECTORS, HIT, MOMENTUM
from mlpf_stream.models.encoder import Encoder, FeatureStatistics
from mlpf_stream.models.favor import attend_event, orthogonal_directions, positive_features
from mlpf_stream.models.geometry import directions
from mlpf_stream.models.heads import Prediction, decode, momentum_targets
from mlpf_stream.models.layout import build_layout
from mlpf_stream.models.performer import share_out

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows = hnp.arrays("float32", (3, CLUSTER.width), elements=finite)
anything = hnp.arrays("float32", (3, 14), elements=st.floats(width=32))
kinds = st.lists(st.integers(0, 3), min_size=3, max_size=3).map(torch.tensor)
encoder = Encoder(FeatureStatistics.neutral(), 8)


@settings(deadline=None)
@given(rows, kinds)
def test_directions_and_embeddings_are_finite(x_TF, kind_T):
    x_TF = torch.from_numpy(x_TF)
    geo_T3 = directions(x_TF, kind_T, DETECTORS["clic"])
    assert torch.isfinite(geo_T3).all()
    assert (geo_T3[:, 1:].square().sum(1) <= 1 + 1e-5).all()
    assert torch.isfinite(encoder(x_TF, kind_T, geo_T3)).all()


@settings(deadline=None)
@given(rows, kinds, anything)
def test_candidates_are_physical_whatever_the_logits(x_TF, kind_T, out_TN):
    prediction = Prediction(*torch.from_numpy(out_TN).split([len(CLASSES), 3, len(MOMENTUM)], 1))
    candidates = decode(prediction, torch.from_numpy(x_TF), kind_T)
    momentum_TM = candidates.momentum_TM
    assert torch.isfinite(momentum_TM).all()
    pt_T, _, sin_T, cos_T, energy_T = momentum_TM.unbind(1)
    assert (pt_T >= 0).all()
    assert (energy_T >= 0).all()
    torch.testing.assert_close(sin_T.square() + cos_T.square(), torch.ones(3))
    charged = [name in ("charged_hadron", "electron", "muon") for name in CLASSES]
    charged_T = torch.tensor(charged)[candidates.class_T]
    assert torch.equal(candidates.charge_T.abs(), charged_T.long())


@settings(deadline=None)
@given(rows, kinds, hnp.arrays("float32", (3, 5), elements=st.floats(0, 1e4, width=32)))
def test_targets_are_bounded(x_TF, kind_T, momentum_TM):
    target_TM = momentum_targets(torch.from_numpy(momentum_TM), torch.from_numpy(x_TF), kind_T)
    limit_T1 = torch.where(kind_T == HIT.code, 8.0, 5.0)[:, None]
    assert (target_TM.abs() <= limit_T1).all()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 40), max_size=5),
    st.integers(1, 20),
    st.floats(0, 2),
    st.integers(0, 2**31),
)
def test_attention_is_a_mean_over_the_event(sizes, tail, length, seed):
    """Weights are positive and add up to one, so each message lies within the event's values."""
    layout = build_layout(sizes, sum(sizes) + tail, block=8)
    sharing = share_out(layout)
    torch.manual_seed(seed)
    shape = (layout.blocks, 1, layout.block, 4)
    q, k = length * torch.nn.functional.normalize(torch.randn(2, *shape), dim=-1)
    v_T4 = torch.randn(layout.rows, 4)
    v = v_T4[sharing.tiles.row_of_slot_S].view(shape)
    directions_CR = orthogonal_directions(6, 4)
    features = [positive_features(part, directions_CR) for part in (q, k)]
    mean = attend_event(*features, v, sharing.event_B, sharing.real_BW)
    mean_T4 = mean.view(-1, 4)[sharing.tiles.slot_of_row_T]
    for event in layout.event_T.unique():
        own_T = layout.event_T == event
        assert (mean_T4[own_T] <= v_T4[own_T].max(0).values + 1e-4).all()
        assert (mean_T4[own_T] >= v_T4[own_T].min(0).values - 1e-4).all()

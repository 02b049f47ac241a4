"""Candidates and targets are inverse to each other, and the network starts at the element."""

import torch

from mlpf_stream.columns import CLASSES, CLUSTER, DETECTORS, HIT, MOMENTUM, TRACK
from mlpf_stream.config import LshGnnConfig
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.heads import Prediction, decode, momentum_targets, reference
from mlpf_stream.models.network import build_network


def test_reference_reads_each_kind_by_its_own_columns(event_of):
    event = event_of(4, seed=1)
    of_deposit = ("et", "eta", "sin_phi", "cos_phi", "energy")
    names = {TRACK: ("pt", "eta", "sin_phi", "cos_phi", "p"), CLUSTER: of_deposit, HIT: of_deposit}
    found = reference(event.x_RF, event.kind_R)
    for row, kind in ((1, TRACK), (2, CLUSTER), (3, HIT)):
        assert event.kind_R[row] == kind.code
        assert found[row].tolist() == [
            event.x_RF[row, kind.index(name)].item() for name in names[kind]
        ]


def test_fresh_network_predicts_the_element_itself(event_of, pack_events):
    network = build_network(LshGnnConfig(), FeatureStatistics.neutral(), DETECTORS["clic"])
    batch = pack_events([event_of(30, seed=2)], 30)
    candidates = decode(network(batch), batch.x_TF, batch.kind_T)
    torch.testing.assert_close(candidates.momentum_TM, reference(batch.x_TF, batch.kind_T))


def test_decoding_perfect_predictions_gives_the_targets(event_of):
    event = event_of(200, seed=3)
    keep = event.class_R > 0
    target_RM = momentum_targets(event.momentum_RM, event.x_RF, event.kind_R)
    logits_RK = torch.nn.functional.one_hot(event.class_R.clamp(min=0), len(CLASSES)) * 9.0
    charge_RQ = torch.nn.functional.one_hot(event.charge_R + 1, 3) * 9.0
    candidates = decode(Prediction(logits_RK, charge_RQ, target_RM), event.x_RF, event.kind_R)
    assert torch.equal(candidates.class_T[keep], event.class_R[keep])
    unit_RM = event.momentum_RM.clone()
    unit_RM[:, [MOMENTUM.index("sin_phi"), MOMENTUM.index("cos_phi")]] /= 1.05
    torch.testing.assert_close(candidates.momentum_TM[keep], unit_RM[keep], rtol=1e-4, atol=1e-4)
    charged = torch.isin(event.class_R, torch.tensor([1, 4, 5]))
    signed = charged & (event.charge_R != 0)
    assert torch.equal(candidates.charge_T[signed], event.charge_R[signed])


def test_prior_sets_the_first_class_probabilities(event_of, pack_events):
    prior = [0.3, 0.4, 0.1, 0.15, 0.04, 0.01]
    network = build_network(
        LshGnnConfig(), FeatureStatistics.neutral(), DETECTORS["clic"], prior=prior
    )
    torch.testing.assert_close(
        network.head.out.bias[: len(CLASSES)].softmax(0), torch.tensor(prior)
    )


def test_constant_columns_are_ignored_and_others_standardised(event_of, pack_events):
    statistics = FeatureStatistics.neutral()
    statistics.kinds["track"].std_K[TRACK.index("pt")] = 0.0
    network = build_network(LshGnnConfig(), statistics, DETECTORS["clic"])
    layer = network.encoder.first["track"]
    assert layer.scale_K[TRACK.index("pt")] == 0.0
    assert layer.scale_K[TRACK.index("eta")] == 1.0

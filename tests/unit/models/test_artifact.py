"""A saved model comes back whole, and nothing else is taken for one."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LshGnnConfig, MlpConfig
from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.models.artifact import card_of, load_model, parameter_digest, save_model
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.network import build_network

SMALL = LshGnnConfig(width=16, layers=1, heads=2, block=16)


@pytest.fixture
def network():
    torch.manual_seed(2)
    statistics = FeatureStatistics.neutral()
    statistics.kinds["cluster"].mean_K[:] = 3.0
    return build_network(SMALL, statistics, DETECTORS["cld"])


@pytest.fixture
def folder(tmp_path, network):
    path = tmp_path / "run" / "model"
    save_model(path, network, card_of(network, {"dataset": "test"}))
    return path


def edit(folder, **changes):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, **changes}))


def test_round_trip_keeps_every_bit(folder, network, event_of, pack_events):
    loaded, card = load_model(folder)
    assert card == card_of(network, {"dataset": "test"})
    assert card.parameters == sum(p.numel() for p in network.parameters())
    assert parameter_digest(loaded) == parameter_digest(network) == card.digest
    batch = pack_events([event_of(50, 1)], 64, block=16)
    assert all(torch.equal(*pair) for pair in zip(loaded(batch), network(batch), strict=True))
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]


def test_loading_keeps_the_order_of_parameters(folder, network):
    # The gradient norm adds up parameters in their order: another order, another last bit, and a
    # resumed run differs from an undisturbed one.
    names = [name for name, _ in network.named_parameters()]
    assert [name for name, _ in load_model(folder)[0].named_parameters()] == names
    backwards = FeatureStatistics(dict(reversed(FeatureStatistics.neutral().kinds.items())))
    again = build_network(SMALL, backwards, DETECTORS["cld"])
    assert [name for name, _ in again.named_parameters()] == names


def test_same_model_same_bytes(folder, tmp_path):
    loaded, card = load_model(folder)
    save_model(tmp_path / "again", loaded, card)
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_mlp_round_trip(tmp_path):
    network = build_network(
        MlpConfig(width=16, layers=2), FeatureStatistics.neutral(("cluster",)), DETECTORS["clic"]
    )
    save_model(tmp_path, network, card_of(network))
    loaded, card = load_model(tmp_path)
    assert parameter_digest(loaded) == card.digest
    assert tuple(card.kinds) == ("cluster",)


def test_digest_sees_one_bit_of_a_parameter_or_a_statistic(network):
    before = parameter_digest(network)
    with torch.no_grad():
        network.encoder.first["track"].mean_K[3] += 1e-7
    assert parameter_digest(network) != before


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema_version": 2}, "schema version 1"),
        ({"format": "other"}, "expected format"),
        ({"digest": "0" * 16}, "expected parameters"),
        ({"classes": ["none"]}, "expected classes"),
        ({"kinds": {"track": ["pt"]}}, "expected kinds"),
        ({"kinds": {"hit_of_tomorrow": ["x"]}}, "expected kinds"),
        ({"surprise": 1}, "surprise"),
        ({"model": {"kind": "lsh_gnn", "width": 32}}, "expected tensor"),
        ({"model": {"kind": "transformer"}}, "not a valid model card"),
    ],
)
def test_foreign_cards_are_refused(folder, changes, complaint):
    edit(folder, **changes)
    with pytest.raises(SchemaError, match=complaint):
        load_model(folder)


def test_missing_key_is_refused(folder):
    card = json.loads((folder / "model.json").read_text())
    del card["detector"]
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(SchemaError, match="detector"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "not json", "[1]", "null"])
def test_broken_card_is_refused(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(SchemaError):
        load_model(folder)


def test_foreign_weights_are_refused(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = min(tensors)
    save_file({**tensors, name: tensors[name].double()}, path)
    with pytest.raises(SchemaError, match="float64"):
        load_model(folder)
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(SchemaError, match="found absent"):
        load_model(folder)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(SchemaError, match="safetensors"):
        load_model(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_absent_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(MissingDataError, match=name):
        load_model(folder)


def test_interrupted_write_leaves_no_readable_model(folder, network, monkeypatch):
    other = build_network(SMALL, FeatureStatistics.neutral(), DETECTORS["cld"])
    monkeypatch.setattr("os.fsync", _fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(folder, other, card_of(other))
    with pytest.raises(MissingDataError):
        load_model(folder)
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_card_of_another_network_is_refused(network, tmp_path):
    card = card_of(network)
    with torch.no_grad():
        network.head.out.bias += 1.0
    with pytest.raises(ValueError, match="card_of"):
        save_model(tmp_path, network, card)


def _fail(handle):
    raise OSError("disk full")

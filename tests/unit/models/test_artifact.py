"""A saved model comes back whole, and nothing else is taken for one."""

import json

import pytest
import torch
from safetensors.torch import load, save

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import LshGnnConfig, MlpConfig
from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.infer.checkpoint import load_model
from mlpf_stream.models.artifact import card_of, decode_model, encode_model, parameter_digest
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.network import build_network
from mlpf_stream.storage import open_store

SMALL = LshGnnConfig(width=16, layers=1, heads=2, block=16)


@pytest.fixture
def network():
    torch.manual_seed(2)
    statistics = FeatureStatistics.neutral()
    statistics.kinds["cluster"].mean_K[:] = 3.0
    return build_network(SMALL, statistics, DETECTORS["cld"])


@pytest.fixture
def files(network):
    return encode_model(network, card_of(network, {"dataset": "test"}))


def edit(files, **changes):
    return files | {
        "model.json": json.dumps({**json.loads(files["model.json"]), **changes}).encode()
    }


def decode(files):
    return decode_model(files, "memory://here")


def test_round_trip_keeps_every_bit(files, network, event_of, pack_events):
    loaded, card = decode(files)
    assert card == card_of(network, {"dataset": "test"})
    assert card.parameters == sum(p.numel() for p in network.parameters())
    assert parameter_digest(loaded) == parameter_digest(network) == card.digest
    batch = pack_events([event_of(50, 1)], 64, block=16)
    assert all(torch.equal(*pair) for pair in zip(loaded(batch), network(batch), strict=True))
    assert list(files) == ["model.safetensors", "model.json"]


def test_loading_keeps_the_order_of_parameters(files, network):
    # The gradient norm adds up parameters in their order: another order, another last bit, and a
    # resumed run differs from an undisturbed one.
    names = [name for name, _ in network.named_parameters()]
    assert [name for name, _ in decode(files)[0].named_parameters()] == names
    backwards = FeatureStatistics(dict(reversed(FeatureStatistics.neutral().kinds.items())))
    again = build_network(SMALL, backwards, DETECTORS["cld"])
    assert [name for name, _ in again.named_parameters()] == names


def test_same_model_same_bytes(files):
    assert encode_model(*decode(files)) == files


def test_mlp_round_trip():
    network = build_network(
        MlpConfig(width=16, layers=2), FeatureStatistics.neutral(("cluster",)), DETECTORS["clic"]
    )
    loaded, card = decode(encode_model(network, card_of(network)))
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
def test_foreign_cards_are_refused(files, changes, complaint):
    with pytest.raises(SchemaError, match=complaint):
        decode(edit(files, **changes))


def test_missing_key_is_refused(files):
    card = json.loads(files["model.json"])
    del card["detector"]
    with pytest.raises(SchemaError, match="detector"):
        decode(files | {"model.json": json.dumps(card).encode()})


@pytest.mark.parametrize("text", [b"", b"not json", b"[1]", b"null", b"\xff"])
def test_broken_card_is_refused(files, text):
    with pytest.raises(SchemaError, match=r"memory://here/model\.json"):
        decode(files | {"model.json": text})


def test_foreign_weights_are_refused(files):
    tensors = load(files["model.safetensors"])
    name = min(tensors)
    with pytest.raises(SchemaError, match="float64"):
        decode(files | {"model.safetensors": save({**tensors, name: tensors[name].double()})})
    fewer = {key: value for key, value in tensors.items() if key != name}
    with pytest.raises(SchemaError, match="found absent"):
        decode(files | {"model.safetensors": save(fewer)})
    with pytest.raises(SchemaError, match=r"safetensors in 'memory://here/model\.safetensors'"):
        decode(files | {"model.safetensors": b"\x80\x04pickle"})


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_absent_file_is_named(files, name, tmp_path):
    del files[name]
    with pytest.raises(MissingDataError, match=name):
        decode(files)
    store = open_store(str(tmp_path))
    for other, data in files.items():
        store.write(other, data)
    with pytest.raises(MissingDataError, match=name):
        load_model(store)


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_a_model_is_saved_to_any_store(network, tmp_path, scheme):
    url = f"{scheme}{tmp_path}/run/model"
    for name, data in encode_model(network, card_of(network)).items():
        open_store(url).write(name, data)
    assert open_store(url).list() == ["model.json", "model.safetensors"]
    loaded, card = load_model(url)
    assert parameter_digest(loaded) == card.digest == parameter_digest(network)


def test_card_of_another_network_is_refused(network):
    card = card_of(network)
    with torch.no_grad():
        network.head.out.bias += 1.0
    with pytest.raises(ValueError, match="card_of"):
        encode_model(network, card)

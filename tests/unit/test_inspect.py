"""What inspect says of everything that can be there, and that it finds every damaged byte."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset import write_dataset
from spoiled import shoot

from mlpf_stream.columns import CLASSES
from mlpf_stream.config import Recipe
from mlpf_stream.errors import ConfigError, MissingDataError, SchemaError, ShardError
from mlpf_stream.infer.checkpoint import load_model
from mlpf_stream.inspect import inspect
from mlpf_stream.inspect.inspect import KEYS
from mlpf_stream.models.artifact import card_of, encode_model
from mlpf_stream.shards.reader import read_events
from mlpf_stream.storage import open_store
from mlpf_stream.train.checkpoint import TrainState, save_checkpoint
from mlpf_stream.train.rank import fresh_network


@pytest.fixture
def index(tmp_path):
    """A small dataset of two processes in several shards."""
    counts = {"ttbar": (30, "train"), "WW": (10, "ood")}
    return write_dataset(str(tmp_path / "data"), counts, pack_events=4, shard_bytes=40_000)


@pytest.fixture
def network(index):
    """A tiny network for that dataset."""
    torch.manual_seed(1)
    model = {"kind": "mlp", "width": 16, "layers": 1}
    return fresh_network(
        Recipe.model_validate({"data": {"url": "x"}, "model": model}), index.manifest
    )


def flip(path, place):
    """Turn one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


def test_a_dataset(index):
    tree = inspect(index.store.url)
    assert list(tree)[: len(KEYS)] == list(KEYS)
    assert None not in tree.values()
    events = read_events(index)
    assert (tree["kind"], tree["events"], tree["elements"]) == ("dataset", 40, events.lengths.sum())
    assert tree["shards"] == len(index.manifest.shards) > 1
    files = [path for path in Path(index.store.url).rglob("*.*") if path.name != "manifest.json"]
    assert tree["bytes"] == sum(path.stat().st_size for path in files)
    p5, p50, p95 = (int(x) for x in np.quantile(events.lengths, [0.05, 0.5, 0.95]))
    longest = events.lengths.max()
    assert tree["length_quantiles"] == {"p5": p5, "p50": p50, "p95": p95, "max": longest}
    class_R = np.concatenate([part.class_R for part in events.elements.values()])
    assert tree["classes"] == {name: (class_R == i).sum() for i, name in enumerate(CLASSES)}
    assert tree["processes"]["WW"] == {"role": "ood", "events": 10}
    assert tree["verified"] is False
    json.dumps(tree)


def test_good_data_is_verified(index):
    assert inspect(index.store.url, verify=True)["verified"] is True


@pytest.mark.parametrize("place", [0, 700, 5_000, 20_000, -2_000, -1])
def test_one_flipped_bit_of_a_shard_is_found(index, place):
    flip(Path(index.store.url) / "shards" / "000001.tar", place)
    assert inspect(index.store.url)["verified"] is False
    with pytest.raises(ShardError, match=r"000001\.tar.*expected.*found.*restore the shard"):
        inspect(index.store.url, verify=True)


@pytest.mark.parametrize("folder", ["shards", "index"])
def test_a_missing_or_short_file_is_found(index, folder):
    (path,) = (Path(index.store.url) / folder).glob("000001.*")
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ShardError):
        inspect(index.store.url, verify=True)
    path.unlink()
    with pytest.raises(MissingDataError, match=path.name):
        inspect(index.store.url, verify=True)


@pytest.mark.parametrize("place", range(100, 3_000, 290))
def test_one_flipped_bit_of_an_index_is_found_before_it_is_decoded(index, place):
    flip(Path(index.store.url) / "index" / "000001.arrow", place)
    for verify in (False, True):
        with pytest.raises(ShardError, match=r"000001\.arrow.*expected.*found"):
            inspect(index.store.url, verify=verify)


def test_a_manifest_that_counts_wrong_is_found(index):
    path = Path(index.store.url) / "manifest.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"events": 41}))
    with pytest.raises(ShardError, match="expected 41 events, found 40"):
        inspect(index.store.url, verify=True)


def test_a_manifest_that_is_no_manifest_is_refused(tmp_path):
    for text in ("{", "[]", '{"format": "other"}', '{"format": "mlpf_stream"}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(SchemaError, match="expected"):
            inspect(str(tmp_path))


def test_a_root_file(tmp_path):
    path = shoot(tmp_path, events=7)
    tree = inspect(path)
    assert list(tree)[: len(KEYS)] == list(KEYS)
    assert (tree["kind"], tree["events"], tree["schema"]) == ("file", 7, "flat")
    assert tree["candidates"] is True
    assert tree["shards"] is None
    json.dumps(tree)


def test_a_checkpoint_and_the_run_that_holds_it(network, tmp_path):
    run = tmp_path / "run"
    for step in (5, 10):
        folder = run / "checkpoints" / f"step-{step:08d}"
        card = card_of(network, {"step": str(step)})
        for name, data in encode_model(network, card).items():
            open_store(str(folder)).write(name, data)
        (folder / "state.json").write_text("{}")
    tree = inspect(str(folder))
    assert list(tree)[: len(KEYS)] == list(KEYS)
    assert (tree["kind"], tree["detector"]) == ("checkpoint", "clic")
    assert tree["digest"] == load_model(str(folder))[1].digest
    assert tree["parameters"] == network.parameter_count
    assert tree["provenance"] == {"step": "10"}
    assert inspect(str(run)) == inspect(f"file://{run}") == tree
    json.dumps(tree)
    flip(folder / "model.safetensors", -3)
    with pytest.raises(SchemaError, match="expected parameters"):
        inspect(str(run))


@pytest.fixture
def step_5(network, tmp_path):
    """The folder of a checkpoint that a run wrote."""
    optimizer = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    position = {"step": 5, "epoch": 0, "step_in_epoch": 5, "events": 9, "seconds": 1.5}
    state = TrainState(**position, recipe="{}", dataset="d")
    return Path(save_checkpoint(open_store(str(tmp_path / "run")), network, optimizer, state, 1))


def test_a_checkpoint_is_verified_when_asked_for(step_5):
    for url in (step_5, step_5.parents[1]):
        assert inspect(str(url))["verified"] is False
        assert inspect(str(url), verify=True)["verified"] is True
    for name in ("state.json", "optimizer.safetensors"):
        (step_5 / name).unlink()
    assert inspect(str(step_5), verify=True)["verified"] is True  # a model alone


@pytest.mark.parametrize(
    "name", ["optimizer.safetensors", "state.json", "model.json", "model.safetensors"]
)
def test_damage_of_a_checkpoint_is_found(step_5, name):
    path = step_5 / name
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]):
        path.write_bytes(damaged)
        with pytest.raises(SchemaError, match=f"expected .*{name}"):
            inspect(str(step_5), verify=True)
    path.unlink()
    if name == "optimizer.safetensors":
        with pytest.raises(MissingDataError, match=name):
            inspect(str(step_5), verify=True)


def test_a_run_before_its_first_checkpoint(tmp_path):
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(MissingDataError, match="found none yet"):
        inspect(str(tmp_path))


def test_a_root_file_elsewhere_is_refused_and_says_why(tmp_path):
    for url in ("s3://bucket/file.root", "memory://file.root"):
        with pytest.raises(ConfigError, match=f"found '{url}'; ROOT files are read from local"):
            inspect(url)
    path = shoot(tmp_path, events=2)
    assert inspect(f"file://{path}") == inspect(path)


@pytest.mark.parametrize("name", ["none", "none.root", "folder", "memory://inspect-none"])
def test_nothing_there(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(MissingDataError, match=r"found none at .*check the path"):
        inspect(name if "://" in name else str(tmp_path / name))

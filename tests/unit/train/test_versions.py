"""Runs and the versions of a growing dataset: each run keeps the one it began with; weights mix."""

import json
import shutil
from collections import Counter

import pytest
from spoiled import shoot, spoil

from mlpf_stream.config import Recipe
from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.errors import ConfigError, MissingDataError, ResumeError
from mlpf_stream.infer.checkpoint import list_checkpoints, load_model, resolve_checkpoint
from mlpf_stream.shards.index import newest_version, open_dataset
from mlpf_stream.storage import open_store
from mlpf_stream.train import train
from mlpf_stream.train.journal import KEYS_FILE, METRICS_FILE, read_journal


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of pions and one of another process."""
    folder = tmp_path_factory.mktemp("files")
    first, second = (shoot(folder, seed=seed, events=30) for seed in (1, 2))
    return first, second, spoil(second, folder / "other.root", process="ttbar")


def recipe(data, folder, steps=8, **changes):
    tree = {
        "run": {"dir": str(folder), "seed": 4},
        "data": {"url": str(data), **changes},
        "stream": {"row_budget": 128, "micro_batches": 1, "window_mb": 0.03},
        "model": {"kind": "lsh_gnn", "width": 16, "layers": 1, "heads": 2, "block": 8},
        "train": {"steps": steps, "checkpoint_every": 4, "valid_every": 4, "threads": 1},
    }
    return Recipe.model_validate(tree)


def make(data, *sources, **changes):
    return convert(ConvertRequest([str(path) for path in sources], str(data), **changes)).manifest


def result(folder):
    store = open_store(str(folder))
    digest = load_model(resolve_checkpoint(str(folder)))[1].digest
    return digest, store.read(KEYS_FILE), store.read(METRICS_FILE)


def keys(folder):
    lines = read_journal(open_store(str(folder)), KEYS_FILE)
    return [key for line in lines for key in line["keys"]]


def test_a_run_goes_on_with_the_version_that_it_began_with(files, tmp_path):
    make(tmp_path / "data", files[0])
    train(recipe(tmp_path / "data", tmp_path / "whole"))
    # A run killed after its checkpoint of step 4.
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "step-00000008" / "state.json").unlink()
    assert make(tmp_path / "data", files[1], append=True).version == 2
    train(recipe(tmp_path / "data", tmp_path / "run"), resume=True)
    assert list_checkpoints(open_store(str(tmp_path / "run")))[-1] == "step-00000008"
    assert result(tmp_path / "run") == result(tmp_path / "whole")

    train(recipe(tmp_path / "data", tmp_path / "fresh", steps=30))
    new = open_dataset(open_store(str(tmp_path / "data"))).manifest.files[1].file_id
    assert any(new in key for key in keys(tmp_path / "fresh"))
    assert not any(new in key for key in keys(tmp_path / "whole"))
    _, card = load_model(resolve_checkpoint(str(tmp_path / "fresh")))
    assert card.provenance["dataset_version"] == "2"


def test_a_version_may_be_asked_for(files, tmp_path):
    make(tmp_path / "data", files[0])
    train(recipe(tmp_path / "data", tmp_path / "before"))
    make(tmp_path / "data", files[1], append=True)
    train(recipe(tmp_path / "data", tmp_path / "after", version=1))
    assert result(tmp_path / "before") == result(tmp_path / "after")
    with pytest.raises(MissingDataError, match=r"expected version 3 .*found versions up to 2"):
        train(recipe(tmp_path / "data", tmp_path / "never", version=3))
    with pytest.raises(ResumeError, match="resume on the dataset the run began with"):
        train(recipe(tmp_path / "data", tmp_path / "after", steps=9, version=2), resume=True)


def test_those_who_watch_see_the_newest_version(files, tmp_path):
    store = open_store(str(tmp_path / "data"))
    with pytest.raises(MissingDataError):
        newest_version(store)
    make(tmp_path / "data", files[0])
    assert newest_version(store) == 1
    make(tmp_path / "data", files[1], append=True)
    assert newest_version(store) == 2


def test_a_dataset_of_the_first_release_opens_and_grows(files, tmp_path):
    make(tmp_path / "data", files[0])
    path = tmp_path / "data" / "manifest.json"
    tree = json.loads(path.read_text())
    del tree["quarantined"], tree["requests"]
    path.write_text(json.dumps(tree, indent=1))
    (tmp_path / "data" / "manifests" / "000001.json").unlink()
    store = open_store(str(tmp_path / "data"))
    before = open_dataset(store)
    make(tmp_path / "data", files[1], append=True)
    assert open_dataset(store, 1).digest == before.digest
    assert len(open_dataset(store)) == 2 * len(before)


def test_weights_of_the_recipe_go_before_those_of_the_dataset(files, tmp_path):
    make(tmp_path / "data", files[0], files[2], weights={"ttbar": 3.0})
    seen = {}
    for name, weights in (("dataset", {}), ("recipe", {"ttbar": 0.0, "gun-pi": 2.0})):
        train(recipe(tmp_path / "data", tmp_path / name, steps=60, weights=weights))
        lines = read_journal(open_store(str(tmp_path / name)), KEYS_FILE)
        first = Counter(key for line in lines if line["epoch"] == 0 for key in line["keys"])
        assert any(line["epoch"] > 0 for line in lines)
        seen[name] = {
            process: {n for key, n in first.items() if key.startswith(f"{process}-")}
            for process in ("gun-pi", "ttbar")
        }
    assert seen == {
        "dataset": {"gun-pi": {1}, "ttbar": {3}},
        "recipe": {"gun-pi": {2}, "ttbar": set()},
    }
    with pytest.raises(ResumeError, match=r"data\.weights"):
        train(recipe(tmp_path / "data", tmp_path / "recipe", steps=61), resume=True)
    with pytest.raises(ConfigError, match=r"data\.weights of gun-pi, ttbar, found gun-e"):
        train(recipe(tmp_path / "data", tmp_path / "x", weights={"gun-e": 1.0}))

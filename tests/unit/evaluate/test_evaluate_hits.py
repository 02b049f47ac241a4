"""Hit mode from file to evaluation, through the command line and the shipped recipe."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from showers import write_showers

from mlpf_stream.cli import main
from mlpf_stream.columns import HIT, TRACK
from mlpf_stream.infer.checkpoint import load_model, resolve_checkpoint
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.reader import read_events
from mlpf_stream.storage import open_store

RECIPE = str(Path(__file__).parents[3] / "recipes" / "clic-hits-lsh-cpu.yaml")
SMALL = ("stream.row_budget=1024", "train.steps=30", "train.threads=1", "train.device=cpu")
SMALL += ("train.checkpoint_every=20", "train.valid_every=20")


@pytest.fixture(autouse=True)
def threads():
    """Give torch its threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def mlpf(capsys):
    """Return a function that runs a verb and returns its JSON."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert stop.value.code == 0, captured.err
        return json.loads(captured.out)

    return call


def test_from_a_file_of_hits_to_an_evaluation(mlpf, tmp_path):
    source = write_showers(tmp_path / "showers.root", events=60)
    data, run = tmp_path / "data", tmp_path / "run"
    converted = mlpf("convert", source, "--out", data, "--mode", "hits")
    assert converted["events"] == 60
    index = open_dataset(open_store(str(data)))
    assert (index.manifest.mode, index.manifest.truth_source) == ("hits", "hits")
    assert index.kinds == (TRACK, HIT)
    events = read_events(index)
    assert events.lengths.sum() == converted["elements"] > 60 * 200
    # The rule-based baseline saw the clusters of the file, which are no elements here.
    assert (events.candidates.counts > 0).all()

    overrides = (f"run.dir={run}", f"data.url={data}", *SMALL)
    trained = mlpf("train", RECIPE, *overrides)
    assert trained["steps"] == 30
    assert np.isfinite([trained["first_loss"], trained["last_loss"], trained["valid_loss"]]).all()
    assert trained["last_loss"] < trained["first_loss"]
    network, _ = load_model(resolve_checkpoint(str(run)))
    assert network.kinds == (TRACK, HIT)

    judged = mlpf("evaluate", run, "--data", data, "--split", "all", "--out", tmp_path / "out")
    assert judged["events"] == 60
    measures = judged["processes"]["qq"]
    assert set(measures) == {"mlpf", "baseline", "target"}
    assert measures["target"]["momentum"]["median"] == pytest.approx(1.0, abs=0.02)
    assert measures["target"]["jet"]["matched_fraction"] > 0.95


def test_a_model_of_clusters_is_refused_on_hits(tmp_path, capsys, mlpf):
    source = write_showers(tmp_path / "showers.root", events=30)
    for mode in ("clusters", "hits"):
        mlpf("convert", source, "--out", tmp_path / mode, "--mode", mode)
    overrides = (f"run.dir={tmp_path / 'run'}", f"data.url={tmp_path / 'clusters'}", *SMALL)
    mlpf("train", RECIPE, *overrides, "train.steps=1")
    arguments = ["evaluate", tmp_path / "run", "--data", tmp_path / "hits", "--out", tmp_path]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    found = " ".join(capsys.readouterr().err.split())
    assert "expected a model for track, hit" in found
    assert "found one for cluster, track" in found

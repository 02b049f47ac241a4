"""Evaluation through its public face: what is judged, what is written, what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from spoiled import shoot, spoil

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import MlpConfig, PhysicsConfig, Recipe
from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.errors import ConfigError, MissingDataError, SchemaError
from mlpf_stream.evaluate import EvaluateRequest, evaluate
from mlpf_stream.infer.candidates import reconstruct
from mlpf_stream.infer.checkpoint import load_model, resolve_checkpoint
from mlpf_stream.models.artifact import card_of, encode_model
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.network import build_network
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.reader import read_events
from mlpf_stream.storage import open_store
from mlpf_stream.stream.collate import BatchShape, collate_all
from mlpf_stream.train import train

PHYSICS = PhysicsConfig(bootstrap=20)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Use batches that fit small data, and give torch its threads back."""
    monkeypatch.setattr(sys.modules[evaluate.__module__], "ROWS", 512)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset of 80 events to train on, and 20 that are never trained on."""
    folder = tmp_path_factory.mktemp("data")
    pions = shoot(folder, events=80, multiplicity=12)
    other = shoot(folder, events=20, seed=2, multiplicity=12)
    ood = spoil(other, folder / "ood.root", process="ZH")
    convert(ConvertRequest([pions, ood], str(folder / "set")))
    return str(folder / "set")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The folder of a short training with three checkpoints."""
    folder = tmp_path_factory.mktemp("run") / "lsh"
    tree = {
        "run": {"dir": str(folder)},
        "data": {"url": data},
        "stream": {"row_budget": 512},
        "model": {"kind": "lsh_gnn", "width": 16, "layers": 2, "heads": 2, "block": 16},
        "train": {"steps": 25, "checkpoint_every": 10, "keep_checkpoints": 5, "threads": 1},
    }
    train(Recipe.model_validate(tree | {"train": tree["train"] | {"device": "cpu"}}))
    return folder


@pytest.fixture
def judge(data, tmp_path):
    """Return a function that evaluates on the dataset."""

    def call(checkpoint, **changes):
        settings = {"data": data, "out": str(tmp_path), "physics": PHYSICS, "device": "cpu"}
        return evaluate(EvaluateRequest(str(checkpoint), **(settings | changes)))

    return call


def test_the_baseline_is_judged_beside_perfect_targets(judge, data):
    evaluation = judge("baseline", split="all")
    assert evaluation.events == 100
    assert set(evaluation.processes) == {"gun-pi", "ZH"}
    for parts in evaluation.processes.values():
        assert set(parts) == {"baseline", "target"}
        target, baseline = parts["target"], parts["baseline"]
        assert target.jet.median == pytest.approx(1.0, abs=0.02)
        assert target.momentum.median == pytest.approx(1.0, abs=0.03)
        assert target.jet.matched_fraction > 0.95
        assert target.met_resolution < baseline.met_resolution
        assert baseline.momentum.median == pytest.approx(1.0, abs=0.2)


def test_what_is_written_is_what_was_measured(judge, data, tmp_path):
    evaluation = judge("baseline")
    assert evaluation.path == str(tmp_path / "evaluation.json")
    tree = json.loads(Path(evaluation.path).read_text(), parse_constant=pytest.fail)
    index = open_dataset(open_store(data))
    assert tree["dataset_digest"] == index.digest
    assert (tree["checkpoint"], tree["data"], tree["split"]) == ("baseline", data, "test")
    assert tree["events"] == evaluation.events == index.in_split("test").sum()
    assert tree["physics"] == PHYSICS.model_dump()
    jet = tree["processes"]["ZH"]["target"]["jet"]
    assert jet["median"] == evaluation.processes["ZH"]["target"].jet.median
    assert {"median", "iqr", "matched_fraction"} <= jet.keys()
    assert tree["model"] is None


def test_the_file_holds_what_a_report_needs(judge, run, data):
    evaluation = judge(run, split="all")
    tree = json.loads(Path(evaluation.path).read_text())
    index = open_dataset(open_store(data))
    card = tree["dataset"]
    assert {part["name"]: part["role"] for part in card["processes"]}["ZH"] == "ood"
    assert sum(part["events"] for part in card["processes"]) == card["events"] == len(index.length)
    assert sum(card["lengths"]["counts"]) == card["events"]
    assert sum(card["classes"].values()) <= card["elements"] == index.length.sum()
    assert (card["detector"], card["field"]) == ("clic", 4.0)
    assert all("file" not in facts for facts in card["generators"])
    assert tree["model"]["kind"] == "lsh_gnn"
    assert tree["model"]["detector"] == {"name": "clic", "field": 4.0}
    for process, parts in tree["processes"].items():
        for name, measures in parts.items():
            spectra = tree["histograms"][process][name]
            for measure in ("jet", "momentum"):
                assert values(spectra[measure]) == measures[measure]["count"]
            events = int((np.array(index.process_names)[index.process] == process).sum())
            assert values(spectra["met"]) == 2 * events


def values(histogram):
    return sum(histogram["counts"]) + histogram["underflow"] + histogram["overflow"]


@pytest.mark.parametrize("split", ["train", "valid", "test", "all"])
def test_a_split_holds_its_own_events(judge, data, split):
    index = open_dataset(open_store(data))
    expected = index.in_split(None if split == "all" else split)
    evaluation = judge("baseline", split=split)
    assert evaluation.events == expected.sum() > 0
    names = {index.process_names[i] for i in index.process[expected]}
    assert set(evaluation.processes) == names
    assert ("ZH" in names) == (split in ("test", "all"))


def test_an_empty_split_is_refused(judge, tmp_path):
    path = shoot(tmp_path, events=3)
    convert(ConvertRequest([path], str(tmp_path / "ood"), role="ood"))
    with pytest.raises(ConfigError, match=r"expected events in split 'train'.*found none"):
        judge("baseline", data=str(tmp_path / "ood"), split="train")


def test_a_checkpoint_is_judged_beside_baseline_and_targets(judge, run):
    evaluation = judge(run, split="all")
    for parts in evaluation.processes.values():
        assert set(parts) == {"mlpf", "baseline", "target"}
    assert judge(run, split="all").processes == evaluation.processes
    alone = judge("baseline", split="all").processes
    for process, parts in alone.items():
        assert evaluation.processes[process]["baseline"] == parts["baseline"]


def test_a_run_is_its_newest_checkpoint(judge, run):
    names = [folder.name for folder in sorted((run / "checkpoints").iterdir())]
    assert names == ["step-00000010", "step-00000020", "step-00000025"]
    newest = run / "checkpoints" / names[-1]
    assert resolve_checkpoint(str(run)).url == resolve_checkpoint(str(newest)).url == str(newest)
    older = run / "checkpoints" / names[0]
    assert judge(run).processes == judge(newest).processes
    assert judge(older).processes != judge(newest).processes


def test_a_missing_checkpoint_or_dataset_is_named(judge, tmp_path):
    with pytest.raises(MissingDataError, match=r"no-run'; check the path.*mlpf train"):
        judge(tmp_path / "no-run")
    with pytest.raises(MissingDataError, match="no-data"):
        judge("baseline", data=str(tmp_path / "no-data"))
    assert list(tmp_path.iterdir()) == []


def put(folder, network):
    """Write a model alone."""
    for name, data in encode_model(network, card_of(network)).items():
        open_store(str(folder)).write(name, data)


@pytest.mark.parametrize(
    ("name", "field", "found"), [("cld", 4.0, r"cld \(4 T\)"), ("clic", 3.5, r"clic \(3.5 T\)")]
)
def test_a_model_of_another_detector_is_refused(judge, run, tmp_path, name, field, found):
    network, _ = load_model(resolve_checkpoint(str(run)))
    network.detector = replace(DETECTORS[name], field=field)
    put(tmp_path / "model", network)
    expected = rf"expected a model for detector clic \(4 T\) of .*, found one for {found} at"
    with pytest.raises(ConfigError, match=expected):
        judge(tmp_path / "model")


def test_a_field_that_was_measured_is_that_of_the_detector(judge, run, tmp_path):
    network, _ = load_model(resolve_checkpoint(str(run)))
    network.detector = replace(DETECTORS["clic"], field=3.97)
    put(tmp_path / "model", network)
    evaluation = judge(tmp_path / "model")
    model = json.loads(Path(evaluation.path).read_text())["model"]
    assert model["detector"] == {"name": "clic", "field": 3.97}


@pytest.mark.parametrize("place", ["file", "file/below", "s3"])
def test_a_place_that_takes_no_file_is_refused_before_the_work(judge, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("in the way")
    out = str(tmp_path / place)
    if place == "s3":
        pytest.importorskip("s3fs")
        out = "s3://Not A Bucket/evaluation"

    def work(*_):
        pytest.fail("events were looked at")

    monkeypatch.setattr(sys.modules[evaluate.__module__], "_reconstruct_all", work)
    with pytest.raises(ConfigError, match=r"--out|the URL"):
        judge("baseline", out=out)
    assert (tmp_path / "file").read_text() == "in the way"


def test_only_the_evaluation_is_left_in_its_place(judge, tmp_path):
    judge("baseline", out=str(tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]


def test_a_model_for_other_elements_is_refused(judge, tmp_path):
    statistics = FeatureStatistics.neutral(("track",))
    network = build_network(MlpConfig(width=16, layers=1), statistics, DETECTORS["clic"])
    put(tmp_path / "model", network)
    with pytest.raises(
        ConfigError, match=r"expected a model for track, cluster.*found one for track"
    ):
        judge(tmp_path / "model")


def test_damaged_weights_are_refused(judge, run, tmp_path):
    put(tmp_path / "model", load_model(resolve_checkpoint(str(run)))[0])
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-9] ^= 1
    weights.write_bytes(data)
    with pytest.raises(SchemaError, match="expected parameters"):
        judge(tmp_path / "model")


@pytest.fixture(scope="module")
def network(run):
    """The trained network, on one thread."""
    torch.set_num_threads(1)
    return load_model(resolve_checkpoint(str(run)))[0]


@pytest.mark.parametrize("rows", [64, 200, 1024])
def test_a_prediction_does_not_depend_on_its_batch_mates(network, data, rows):
    torch.set_num_threads(1)
    events = read_events(open_dataset(open_store(data)))
    events = events.select(np.flatnonzero(events.lengths <= 64)[:30])
    shape = BatchShape(rows, network.config.block)
    together = reconstruct(network, collate_all(events, shape))
    order = np.random.default_rng(3).permutation(len(events))
    shuffled = reconstruct(network, collate_all(events.select(order), shape))
    alone = [
        reconstruct(network, collate_all(events.select(np.array([i])), shape))
        for i in range(len(events))
    ]
    assert together.counts.sum() > 0
    back = shuffled.select(np.argsort(order))
    for name in ("class_P", "charge_P", "momentum_PM", "offsets"):
        np.testing.assert_array_equal(getattr(back, name), getattr(together, name))
    for i, one in enumerate(alone):
        mine = together.select(np.array([i]))
        np.testing.assert_array_equal(one.class_P, mine.class_P)
        np.testing.assert_array_equal(one.momentum_PM, mine.momentum_PM)


def test_candidates_belong_to_their_events_and_are_finite(network, data):
    events = read_events(open_dataset(open_store(data)))
    shape = BatchShape(512, network.config.block)
    found = reconstruct(network, collate_all(events, shape))
    assert found.events == len(events)
    assert (found.counts <= events.lengths).all()
    assert np.isfinite(found.momentum_PM).all()
    assert (found.class_P > 0).all()
    assert (found.column("energy") > 0).all()


def test_no_batches_are_no_events(network):
    assert reconstruct(network, []).events == 0

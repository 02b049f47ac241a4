"""Checkpoints on any store: committed ones are readable, whatever moment a kill chooses."""

import json

import pytest
import torch

from mlpf_stream.columns import DETECTORS
from mlpf_stream.config import MlpConfig
from mlpf_stream.errors import MissingDataError, ResumeError, StorageError
from mlpf_stream.infer.checkpoint import (
    list_checkpoints,
    load_model,
    read_newest,
    resolve_checkpoint,
)
from mlpf_stream.models.artifact import card_of, encode_model, parameter_digest
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.network import build_network
from mlpf_stream.storage import MemoryStore, open_store
from mlpf_stream.train.checkpoint import (
    TrainState,
    latest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)

FILES = ["model.json", "model.safetensors", "optimizer.safetensors", "state.json"]


class Killed(BaseException):
    """The process is no more."""


class MortalStore(MemoryStore):
    """A store whose process dies after some changes, all children together."""

    changes = 0
    life = None

    def child(self, name):
        child = MortalStore(f"{self.url}/{name}")
        child.first = getattr(self, "first", self)
        return child

    def _live(self):
        first = getattr(self, "first", self)
        if first.changes == first.life:
            raise Killed
        first.changes += 1

    def write(self, name, data):
        self._live()
        super().write(name, data)

    def delete(self, name):
        self._live()
        super().delete(name)


@pytest.fixture(params=["local", "memory", "s3"])
def run(request, tmp_path):
    """A place for a run."""
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3_url"))
    return open_store(f"memory://{tmp_path}" if request.param == "memory" else str(tmp_path))


def network_of(step):
    """Return a network with an optimiser, both of that step."""
    torch.manual_seed(step)
    config = MlpConfig(width=8, layers=1)
    network = build_network(config, FeatureStatistics.neutral(("track",)), DETECTORS["clic"])
    optimizer = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return network, optimizer


def save(run, step, keep=2, seed=None):
    state = TrainState(
        step=step, epoch=0, step_in_epoch=step, events=9, seconds=1.5, recipe="{}", dataset="d"
    )
    return save_checkpoint(run, *network_of(seed or step), state, keep)


def test_what_is_saved_comes_back_and_old_ones_go(run):
    for step in (5, 10, 15):
        url = save(run, step)
    assert url == f"{run.url}/checkpoints/step-00000015"
    assert list_checkpoints(run) == ["step-00000010", "step-00000015"]
    assert run.list() == [
        f"checkpoints/step-{step:08d}/{name}" for step in (10, 15) for name in FILES
    ]
    found = latest_checkpoint(run)
    network, optimizer = network_of(15)
    assert (found.url, found.state.step, found.state.seconds) == (url, 15, 1.5)
    assert parameter_digest(found.network) == parameter_digest(network)
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(found.optimizer[f"{name}:{key}"], value)
    assert read_checkpoint(run, "step-00000010").state.step == 10
    assert resolve_checkpoint(run.url).url == resolve_checkpoint(url).url == url


def test_no_checkpoint_is_none_and_not_a_model(run):
    assert list_checkpoints(run) == []
    assert latest_checkpoint(run) is None
    with pytest.raises(MissingDataError, match="mlpf train"):
        resolve_checkpoint(run.url)


def test_a_model_alone_is_no_checkpoint_of_a_run(run):
    network = network_of(1)[0]
    for name, data in encode_model(network, card_of(network)).items():
        run.write(f"checkpoints/step-00000001/{name}", data)
    assert latest_checkpoint(run) is None
    with pytest.raises(MissingDataError):
        resolve_checkpoint(run.url)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_or_a_lost_file_takes_the_checkpoint_before(run, name):
    for step in (5, 10):
        save(run, step)
    path = f"checkpoints/step-00000010/{name}"
    whole = run.read(path)
    for place in (0, len(whole) // 2, len(whole) - 2):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        run.write(path, bytes(damaged))
        assert latest_checkpoint(run).state.step == 5
    run.delete(path)
    assert latest_checkpoint(run).state.step == 5
    save(run, 10)
    assert latest_checkpoint(run).state.step == 10


def test_only_damaged_ones_is_an_error_that_lists_them(run):
    save(run, 5)
    run.write("checkpoints/step-00000005/model.safetensors", b"")
    with pytest.raises(ResumeError, match=r"step-00000005: expected model\.safetensors"):
        latest_checkpoint(run)


def test_a_store_that_does_not_answer_is_no_reason_to_go_back(tmp_path, monkeypatch):
    run = open_store(f"memory://{tmp_path}")
    for step in (5, 10):
        save(run, step)
    read = MemoryStore.read

    def broken(store, name):
        if name == "optimizer.safetensors" and store.url.endswith("10"):
            raise StorageError("no answer")
        return read(store, name)

    monkeypatch.setattr(MemoryStore, "read", broken)
    with pytest.raises(StorageError):
        latest_checkpoint(run)


@pytest.mark.parametrize("again", [False, True])
def test_a_kill_between_any_two_changes_leaves_a_readable_run(tmp_path, again):
    """Kill while step 15 is saved (`again`: over another 15); then resume and save it."""
    digests = {seed: parameter_digest(network_of(seed)[0]) for seed in (10, 15, 99)}
    for life in range(100):
        run = MortalStore(f"memory://{tmp_path}/{again}/{life}")
        for step in (5, 10):
            save(run, step)
        if again:
            save(run, 15, keep=3, seed=99)
        run.changes, run.life = 0, life
        try:
            save(run, 15)
        except Killed:
            run.life = None
        else:
            break
        names = list_checkpoints(run)
        assert {"step-00000010"} < {*names, "step-00000015"}
        for name in names:
            state = read_checkpoint(run, name).state
            assert name == f"step-{state.step:08d}"
        found = latest_checkpoint(run)
        assert parameter_digest(found.network) in {digests[10], digests[15], digests[99]}
        save(run, 15)
        assert list_checkpoints(run) == ["step-00000010", "step-00000015"]
        assert parameter_digest(latest_checkpoint(run).network) == digests[15]
        assert len(run.list()) == 8
    assert life > 8


def test_what_lies_after_the_step_of_a_resumed_run_goes(run):
    for step in (5, 10, 12):
        save(run, step, keep=5)
    run.write("checkpoints/step-00000012/state.json", b"{")
    run.write("checkpoints/step-00000013/model.safetensors", b"never committed")
    save(run, 11, keep=2)
    assert list_checkpoints(run) == ["step-00000010", "step-00000011"]
    assert {name.split("/")[1] for name in run.list()} == {"step-00000010", "step-00000011"}


@pytest.mark.parametrize("keep", [1, 2])
def test_what_is_not_the_runs_own_stays(run, keep):
    others = (
        "best/model.json",
        "notes.txt",
        "step-best/state.json",
        "step-7/x",
        "step-000000012/x",
    )
    for name in others:
        run.write(f"checkpoints/{name}", b"mine")
    for step in (5, 10, 15):
        save(run, step, keep)
    assert len(list_checkpoints(run)) == keep
    assert latest_checkpoint(run).state.step == 15
    assert [run.read(f"checkpoints/{name}") for name in others] == [b"mine"] * len(others)


@pytest.mark.parametrize(
    ("field", "value"), [("step", 9), ("events", 8), ("seconds", 1.0), ("recipe", "[]")]
)
def test_an_edited_state_is_refused(run, field, value):
    save(run, 5)
    path = "checkpoints/step-00000005/state.json"
    tree = json.loads(run.read(path))
    assert tree[field] != value
    run.write(path, json.dumps(tree | {field: value}).encode())
    with pytest.raises(
        ResumeError, match=rf"expected state\.json with digest {tree['digest']}, found"
    ):
        read_checkpoint(run, "step-00000005")


def test_a_checkpoint_under_another_number_is_refused(run):
    save(run, 5)
    for name in FILES:
        data = run.read(f"checkpoints/step-00000005/{name}")
        run.write(f"checkpoints/step-00000009/{name}", data)
    with pytest.raises(ResumeError, match=r"expected the state of step-00000009, found .* step 5"):
        read_checkpoint(run, "step-00000009")
    assert latest_checkpoint(run).state.step == 5


def test_a_run_without_a_checkpoint_yet_is_told_from_nothing(run):
    run.write("recipe.yaml", b"seed: 1")
    with pytest.raises(MissingDataError, match="found none yet"):
        resolve_checkpoint(run.url)
    run.delete("recipe.yaml")
    run.write("checkpoints/step-00000005/model.safetensors", b"not committed")
    with pytest.raises(MissingDataError, match="found none yet"):
        resolve_checkpoint(run.url)


def test_a_checkpoint_that_is_pruned_while_it_is_read_gives_way_to_the_next(run):
    save(run, 5, keep=1)
    seen = []

    def read(folder):
        seen.append(folder.url[-2:])
        if len(seen) == 1:
            save(run, 10, keep=1)
        return load_model(folder)[1].provenance["step"]

    assert read_newest(run.url, read) == "10"
    assert seen == ["05", "10"]


def test_a_checkpoint_that_stays_without_a_file_is_an_error(run):
    save(run, 5)
    run.delete("checkpoints/step-00000005/model.safetensors")
    with pytest.raises(MissingDataError, match=r"model\.safetensors"):
        read_newest(run.url, load_model)


def test_the_state_names_every_file_with_its_digest(run):
    save(run, 5)
    tree = json.loads(run.read("checkpoints/step-00000005/state.json"))
    assert sorted(tree["files"]) == FILES[:3]

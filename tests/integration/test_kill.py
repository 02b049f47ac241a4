"""kill -9 from outside at random times; a fresh process resumes; nothing differs."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dataset import write_dataset

from mlpf_stream.infer.checkpoint import list_checkpoints, load_model, resolve_checkpoint
from mlpf_stream.storage import open_store
from mlpf_stream.train.journal import KEYS_FILE, METRICS_FILE

RECIPE = """
run: {{dir: {folder}, seed: 4}}
data: {{url: {url}}}
stream: {{row_budget: 256, window_mb: 0.05}}
model: {{kind: lsh_gnn, width: 32, layers: 2, heads: 2, block: 16}}
train: {{steps: 400, checkpoint_every: 7, valid_every: 100, threads: 1}}
"""


def start(tmp_path, name, *options):
    path = tmp_path / f"{name}.yaml"
    path.write_text(RECIPE.format(folder=tmp_path / name, url=tmp_path / "data"))
    command = [sys.executable, "-m", "mlpf_stream", "train", str(path), *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def wait_for_checkpoint(folder, process, limit=60.0):
    end = time.monotonic() + limit
    store = open_store(str(folder))
    while not list_checkpoints(store) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def result(folder: Path):
    _, card = load_model(resolve_checkpoint(str(folder)))
    return card.digest, (folder / KEYS_FILE).read_text(), (folder / METRICS_FILE).read_text()


@pytest.mark.slow
def test_killed_at_random_times_the_run_ends_as_if_undisturbed(tmp_path):
    write_dataset(str(tmp_path / "data"), {"ttbar": (150, "train")}, pack_events=16)
    whole = start(tmp_path, "whole")
    dice = random.Random(20)
    kills = 0
    while kills < 4:
        process = start(tmp_path, "killed", "--resume")
        wait_for_checkpoint(tmp_path / "killed", process)
        time.sleep(dice.uniform(0.0, 1.5) + (2.5 if kills else 0.0))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        kills += 1
    assert kills >= 2
    last = start(tmp_path, "killed", "--resume")
    assert last.wait(200) == 0
    assert whole.wait(200) == 0
    assert result(tmp_path / "killed") == result(tmp_path / "whole")


@pytest.mark.slow
def test_a_request_to_stop_checkpoints_and_ends_with_143(tmp_path):
    write_dataset(str(tmp_path / "data"), {"ttbar": (150, "train")}, pack_events=16)
    process = start(tmp_path, "stopped")
    wait_for_checkpoint(tmp_path / "stopped", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert '"retryable": true' in (tmp_path / "stopped" / "outcome.json").read_text()
    last = start(tmp_path, "stopped", "--resume")
    assert last.wait(200) == 0

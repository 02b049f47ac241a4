"""Conversion as a Ray Data job: the same bytes, typed errors, and a worker that is lost."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
from spoiled import reach_outside, shoot, spoil

from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.storage import open_store

RAY = ("--ray", "local", "--workers", "2")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Six files of events whose hits fill about six groups."""
    folder = tmp_path_factory.mktemp("sources")
    request = SimulateRequest("ttbar", events=66, seed=5, out=str(folder), files=6)
    return simulate(request).files


def start(out, sources, *options):
    command = [sys.executable, "-m", "mlpf_stream", "convert", *sources, "--out", str(out)]
    return subprocess.Popen(
        [*command, *options, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def objects(url):
    store = open_store(str(url))
    return {name: store.read(name) for name in store.list()}


@pytest.mark.slow
def test_a_ray_job_that_loses_a_worker_makes_the_same_bytes(sources, tmp_path):
    convert(ConvertRequest(sources, str(tmp_path / "local"), mode="hits"))
    process = start(tmp_path / "ray", sources, "--mode", "hits", *RAY)
    killed = kill_a_worker(process, tmp_path / "ray")
    text, messages = process.communicate(timeout=200)
    assert process.returncode == 0, messages
    assert killed
    tree = json.loads(text)
    assert (tree["events"], tree["version"], tree["quarantined"]) == (66, 1, [])
    assert objects(tmp_path / "ray") == objects(tmp_path / "local")


def kill_a_worker(process, out):
    """Kill a process of Ray in the middle of a task, once the first shard is there."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        for member in psutil.Process(process.pid).children(recursive=True):
            try:
                busy = "do_tasks" in " ".join(member.cmdline())
            except psutil.Error:
                continue
            if busy and (out / "shards").is_dir():
                member.send_signal(signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
def test_what_is_wrong_with_a_file_comes_back_from_a_ray_job(sources, tmp_path):
    pions = shoot(tmp_path / "sim")
    bad = spoil(pions, tmp_path / "bad.root", reach_outside(7))
    process = start(tmp_path / "x", [pions, bad], *RAY)
    text, messages = process.communicate(timeout=200)
    assert (process.returncode, text) == (3, ""), messages
    assert "event 7 of" in messages
    assert "Traceback" not in messages
    assert not (tmp_path / "x" / "manifest.json").exists()

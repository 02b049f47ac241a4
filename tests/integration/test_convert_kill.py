"""kill -9 from outside at random points of a conversion; the same command again; no byte differs.

Twenty points: MLPF_KILLS=20 pytest tests/integration/test_convert_kill.py
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mlpf_stream.errors import MissingDataError
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.reader import verify_shard
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.storage import open_store

KILLS = int(os.environ.get("MLPF_KILLS", "5"))
OPERATIONS = ("fresh", "append", "overwrite")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Eight files of events whose hits fill about eight groups."""
    folder = tmp_path_factory.mktemp("sources")
    request = SimulateRequest("ttbar", events=64, seed=3, out=str(folder), files=8)
    return simulate(request).files


def start(out, sources, *options):
    command = [sys.executable, "-m", "mlpf_stream", "convert", *sources, "--out", str(out)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, "--mode", "hits", *options], **quiet)


def begin(operation, out, sources):
    """Make what is there before the operation; return the arguments of the operation."""
    if operation == "fresh":
        return sources, ()
    assert start(out, sources[:2], "--title", "old").wait(120) == 0
    if operation == "append":
        return sources[2:], ("--append",)
    return sources, ("--overwrite",)


def tree(folder):
    """Return the sha256 of every file below a folder, hidden and unfinished ones too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, sources):
    """What is there before each operation and after it, and how long it takes [s]."""
    found = {}
    for operation in OPERATIONS:
        folder = tmp_path_factory.mktemp(operation)
        before, out = folder / "before", folder / "out"
        arguments, options = begin(operation, before, sources)
        if before.exists():
            shutil.copytree(before, out)
        begun = time.monotonic()
        assert start(out, arguments, *options).wait(120) == 0
        found[operation] = (before, arguments, options, tree(out), time.monotonic() - begun)
    return found


def check_readable(out, operation):
    """A killed conversion leaves no dataset, or the old one whole, or the new one."""
    try:
        index = open_dataset(open_store(str(out)))
    except MissingDataError:
        assert operation == "fresh"
        return
    events = sum(verify_shard(index, shard) for shard in index.manifest.shards)
    assert events == index.manifest.events in {16, 64}


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_killed_and_run_again_it_ends_as_if_undisturbed(undisturbed, tmp_path, number):
    dice = random.Random(number)
    operation = OPERATIONS[number % len(OPERATIONS)]
    before, arguments, options, expected, seconds = undisturbed[operation]
    out = tmp_path / "out"
    if before.exists():
        shutil.copytree(before, out)
    options = (*options, "--workers", str(dice.choice([1, 2])))
    process = start(out, arguments, *options)
    # The first part of the time goes to imports.
    time.sleep(seconds * dice.uniform(0.3, 1.0))
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    check_readable(out, operation)
    assert start(out, arguments, *options).wait(120) == 0
    assert tree(out) == expected
    assert start(out, arguments, *options).wait(120) == 0
    assert tree(out) == expected

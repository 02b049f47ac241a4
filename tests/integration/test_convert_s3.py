"""Conversion to and from object storage: the same bytes as on a local disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from spoiled import shoot

from mlpf_stream.convert import ConvertRequest, convert, plan
from mlpf_stream.storage import open_store


@pytest.fixture(scope="module")
def pions(tmp_path_factory):
    """Three files of 20 events of four pions each."""
    folder = tmp_path_factory.mktemp("pions")
    return [shoot(folder, seed=seed) for seed in (1, 2, 3)]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Make every file a group of its own."""
    monkeypatch.setattr(plan, "LEAST_BYTES", 1)


def objects(url):
    store = open_store(str(url))
    return {name: store.read(name) for name in store.list()}


def test_files_in_s3_become_a_dataset_in_s3_with_the_bytes_of_a_local_one(s3_url, pions, tmp_path):
    for path in pions:
        open_store(f"{s3_url}/raw/deep").write(Path(path).name, Path(path).read_bytes())
    request = ConvertRequest([f"{s3_url}/raw"], f"{s3_url}/data", workers=2)
    made = convert(request).manifest
    convert(ConvertRequest(pions, str(tmp_path / "local")))
    assert made.events == 60
    assert objects(f"{s3_url}/data") == objects(tmp_path / "local")
    again = convert(request)
    assert again.note.startswith("nothing to do")
    grown = convert(ConvertRequest([f"{s3_url}/raw"], f"{s3_url}/data", append=True))
    assert (grown.known, grown.manifest.version) == (3, 1)


KILLED = """
import os, signal, sys
from mlpf_stream.convert import ConvertRequest, convert, plan
from mlpf_stream.convert import group

plan.LEAST_BYTES = 1
record = group.record

def die_after_two(*arguments):
    record(*arguments)
    if len([name for name in group.open_store(sys.argv[1]).list(".convert/group")]) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

group.record = die_after_two
convert(ConvertRequest(sys.argv[2:], sys.argv[1]))
"""


def test_killed_it_goes_on_from_what_s3_has(s3_url, pions, tmp_path):
    out = f"{s3_url}/data"
    command = [sys.executable, "-c", KILLED, out, *pions]
    ended = subprocess.run(command, check=False, stderr=subprocess.DEVNULL, env=os.environ)
    assert ended.returncode == -9
    assert open_store(out).list(".convert")
    summary = convert(ConvertRequest(pions, out))
    assert (summary.resumed, summary.converted, summary.manifest.events) == (2, 20, 60)
    convert(ConvertRequest(pions, str(tmp_path / "local")))
    assert objects(out) == objects(tmp_path / "local")

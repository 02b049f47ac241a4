"""`mlpf download` as a process: killed, stopped and run again; then its files are converted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from record_server import run_archive
from spoiled import shoot

SET = "p8_ee_ttbar_ecm380"
NAMES = tuple(f"reco_{SET}_{seed}.root" for seed in (300000, 300001, 300002))


@pytest.fixture
def archive():
    """A running archive with three files that take about three seconds each."""
    with run_archive() as found:
        rng = np.random.default_rng(3)
        found.files = {name: rng.bytes(3_000_000) for name in NAMES}
        found.pace = 0.06
        yield found


def start(archive, out, *options, name=SET):
    command = [sys.executable, "-m", "mlpf_stream", "download", name, "--out", str(out)]
    command += ["--mirror", archive.url, "--workers", "2", "--json", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, code=0):
    """Return the one JSON object that a process prints, and what it says on stderr."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out.count("\n") == 1
    return json.loads(out), err


def wait_for_bytes(out, count, process):
    """Wait until so many bytes have arrived."""
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if sum(part.stat().st_size for part in out.glob("*.part")) >= count:
            return
        time.sleep(0.01)
    pytest.fail("the download did not get that far")


def begins(archive):
    return [int(wanted[6:-1]) if wanted else 0 for _, wanted, _, _ in archive.asked]


def there(out):
    return {path.name: path.read_bytes() for path in out.glob("*.root")}


def test_killed_in_the_middle_it_goes_on_by_ranges(archive, tmp_path):
    out = tmp_path / "out"
    for kill in range(3):
        process = start(archive, out)
        wait_for_bytes(out, 700_000 * (kill + 1), process)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert there(out).keys() < set(NAMES)
    archive.asked.clear()
    archive.pace = 0.0
    payload, _ = finish(start(archive, out))
    assert there(out) == archive.files
    assert not list(out.glob("*.part*"))
    assert [name.rpartition("/")[2] for name in payload["files"]] == list(NAMES)
    assert sum(begins(archive)) > 1_500_000  # what was here was not asked for again
    assert {status for *_, status in archive.asked} <= {200, 206}
    assert 206 in {status for *_, status in archive.asked}
    archive.asked.clear()
    payload, _ = finish(start(archive, out))
    assert (archive.asked, payload["fetched"], payload["kept"]) == ([], 0, 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_keeps_what_came_and_ends_with_143(archive, tmp_path, number):
    out = tmp_path / "out"
    process = start(archive, out)
    wait_for_bytes(out, 800_000, process)
    begun = time.monotonic()
    process.send_signal(number)
    payload, err = finish(process, code=143)
    assert time.monotonic() - begun < 5
    assert (payload["stopped"], payload["files"]) == (True, [])
    assert "Traceback" not in err
    came = sum(part.stat().st_size for part in out.glob("*.part"))
    archive.asked.clear()
    archive.pace = 0.0
    payload, _ = finish(start(archive, out))
    assert payload["stopped"] is False
    assert sum(begins(archive)) == came >= 800_000
    assert there(out) == archive.files


def test_what_was_downloaded_is_converted(archive, tmp_path):
    made = {}
    for seed in (1, 2):
        made[NAMES[seed]] = Path(shoot(tmp_path / "sim", seed=seed, events=12)).read_bytes()
    archive.files, archive.pace = made, 0.0
    payload, _ = finish(start(archive, tmp_path / "out"))
    assert len(payload["files"]) == 2
    command = [sys.executable, "-m", "mlpf_stream", "convert", str(tmp_path / "out")]
    command += ["--out", str(tmp_path / "data"), "--json"]
    converted = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert json.loads(converted.stdout)["events"] == 24


def test_lists_need_no_folder_and_download_nothing(archive, tmp_path):
    command = [sys.executable, "-m", "mlpf_stream", "download", "--json"]
    sets = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert SET in [each["name"] for each in json.loads(sets.stdout)["sets"]]
    command = [*command, SET, "--list", "--mirror", archive.url, "--files", "2"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    files = json.loads(listed.stdout)["files"]
    assert [file["name"] for file in files] == list(NAMES[:2])
    assert all(file["checksum"].startswith("sha256:") for file in files)
    assert archive.asked == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["ttH", "--out", "x"], 2, "expected a published set"),
        ([SET], 2, "expected --out FOLDER"),
        ([SET, "--out", "x", "--files", "0"], 2, "--help' for help"),
        ([SET, "--out", "x", "--pattern", "none*"], 2, "expected --pattern"),
        ([SET, "--out", "x", "--mirror", "http://127.0.0.1:9"], 4, "check the network"),
        (["zenodo-8260741", "--out", "x"], 3, "expected files '*'"),
    ],
)
def test_errors_say_what_to_do(archive, tmp_path, options, code, words):
    archive.files = archive.files if SET in options else {}
    command = [sys.executable, "-m", "mlpf_stream", "download", "--mirror", archive.url]
    command += ["--patience", "0.3", *options]
    process = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (process.returncode, process.stdout) == (code, ""), process.stderr
    assert words in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr


def test_without_its_package_it_names_the_extra(tmp_path):
    code = (
        "import sys; sys.modules['requests'] = None\n"
        "from mlpf_stream.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "download", SET, "--out", str(tmp_path)]
    process = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2
    assert "pip install 'mlpf-stream[download]'" in process.stderr

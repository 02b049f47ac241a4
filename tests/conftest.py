"""Shared fixtures, and the rule that CI shows no skip that nobody expects."""

import os
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from s3_server import BUCKET, environment, run_server  # noqa: E402 - found beside this file

# One thread per test process: the two xdist workers share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def edm4hep_files():
    """The folder of real EDM4HEP files."""
    root = os.environ.get("MLPF_TEST_DATA")
    folder = Path(root or "nowhere") / "edm4hep"
    if not folder.is_dir():
        pytest.skip("real EDM4HEP files: set MLPF_TEST_DATA to the folder that holds edm4hep/")
    return folder


@pytest.fixture(scope="session")
def s3_server():
    """The URL of a real S3 server."""
    if find_spec("moto") is None:
        pytest.skip("S3 server: pip install 'moto[s3,server]'")
    with run_server() as url:
        yield url


@pytest.fixture
def s3_url(s3_server, monkeypatch):
    """A fresh s3:// prefix on that server, for this process and its children."""
    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def expected_skips():
    """Node ids (or their first part) that CI may skip, each with its reason after '#'."""
    lines = (HERE / "expected_skips.txt").read_text(encoding="utf-8").splitlines()
    return tuple(text for line in lines if (text := line.partition("#")[0].strip()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """In CI, a skip that `expected_skips.txt` does not list fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if "CI" not in os.environ or reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = [report.nodeid for report in reporter.stats.get("skipped", [])]
    surprising = [node for node in skipped if not node.startswith(expected_skips() or ("-",))]
    if surprising and exitstatus == 0:
        reporter.write_line(
            f"unexpected skips, see tests/expected_skips.txt: {surprising}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""Shared fixtures, and the rule that CI shows no skip that nobody expects."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

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

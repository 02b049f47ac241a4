"""Shared fixtures: where real files are, and torch on one thread so that workers do not fight."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

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

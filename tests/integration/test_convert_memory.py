"""Conversion of a large file in bounded memory, under a hard limit.

Two gigabytes: MLPF_INPUT_GB=2 pytest tests/integration/test_convert_memory.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlpf_stream.edm4hep.leaves import all_leaves
from mlpf_stream.edm4hep.reader import open_events
from mlpf_stream.edm4hep.writer import write_steps
from mlpf_stream.simulate import SimulateRequest, simulate

INPUT_BYTES = float(os.environ.get("MLPF_INPUT_GB", "0.15")) * 1e9
LIMIT = 1_500_000_000
LIMITED = """
import json, resource, sys
from mlpf_stream.convert import ConvertRequest, convert

limit = int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
summary = convert(ConvertRequest([sys.argv[1]], sys.argv[2], mode=sys.argv[3]))
# Not getrusage: its peak is inherited from the process that started this one.
status = open("/proc/self/status").read()
peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
print(json.dumps({"events": summary.manifest.events, "peak": peak}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """One large file, the same events again and again, and how many."""
    folder = tmp_path_factory.mktemp("large")
    request = SimulateRequest("ttbar", events=40, seed=2, out=str(folder), files=1)
    one = simulate(request).files[0]
    copies = int(INPUT_BYTES / Path(one).stat().st_size) + 1

    def steps():
        for _ in range(copies):
            with open_events(one) as file:
                yield from file.steps(all_leaves())

    path = folder / "p8_ee_ttbar_ecm380_1.root"
    write_steps(str(path), steps(), process="ttbar", generator={})
    assert path.stat().st_size >= 0.9 * INPUT_BYTES
    return str(path), 40 * copies


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hits", "clusters"])
def test_a_large_file_converts_within_a_hard_limit_of_memory(large, tmp_path, mode):
    path, events = large
    command = [sys.executable, "-c", LIMITED, path, str(tmp_path / "out"), mode, str(LIMIT)]
    # The limit counts reserved addresses too, of which Arrow's own allocator takes a gigabyte.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=550, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["events"] == events
    assert found["peak"] < LIMIT

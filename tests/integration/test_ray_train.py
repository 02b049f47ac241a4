"""Whole Ray jobs through the command line: two ranks on two CPUs, kills from outside, refusals."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
import ray
from dataset import write_dataset

from mlpf_stream.config import Recipe, load_recipe
from mlpf_stream.infer.checkpoint import list_checkpoints, load_model, open_checkpoint
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.storage import open_store
from mlpf_stream.stream.plan import share_range, shares
from mlpf_stream.stream.planner import Planner
from mlpf_stream.stream.rank_plan import route
from mlpf_stream.stream.ray_data import read_windows
from mlpf_stream.stream.window import window_requests
from mlpf_stream.train.journal import KEYS_FILE, METRICS_FILE, read_journal

RECIPE = """
run: {{dir: {run}, seed: 4}}
data: {{url: {data}}}
stream: {{row_budget: 128, window_mb: 0.1, micro_batches: 6}}
model: {{kind: lsh_gnn, width: 16, layers: 2, heads: 2, block: 8}}
train: {{steps: 40, checkpoint_every: 10, valid_every: 20, launcher: ray, ranks: 2}}
ray: {{cpus: 2, object_store_mb: 100}}
"""
AUDIT = Path(__file__).parent.parent / "audit"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("ray-train") / "data")
    write_dataset(url, {"ttbar": (150, "train")}, pack_events=16)
    return url


def start(folder, data, *options, environment=None):
    """Start a job; its standard streams go to files, so that nothing waits for a reader."""
    recipe = folder.with_suffix(".yaml")
    recipe.write_text(RECIPE.format(run=folder, data=data))
    command = [sys.executable, "-m", "mlpf_stream", "train", str(recipe), *options, "--json"]
    with folder.with_suffix(".out").open("wb") as out, folder.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            command, stdout=out, stderr=err, env={**os.environ, **(environment or {})}
        )


def finish(process, folder, limit=120.0):
    """Wait for a job; return its exit code, JSON and messages."""
    try:
        code = process.wait(limit)
    finally:
        end(process)
    text = folder.with_suffix(".out").read_text()
    return code, json.loads(text) if text else {}, folder.with_suffix(".err").read_text()


def end(process):
    """End a job and all its processes, by their ids."""
    if process.poll() is None:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait(30)


def processes_of(process, title):
    """Return the processes of a job that Ray gave this title."""
    found = []
    for member in psutil.Process(process.pid).children(recursive=True):
        try:
            if title in " ".join(member.cmdline()):
                found.append(member)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for(condition, process, limit=90.0):
    until = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < until:
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("the job ended, or nothing happened, before its first checkpoints")


def result(folder):
    """Return what two equal runs share: parameters, events of each step, metrics."""
    run = open_store(str(folder))
    _, card = load_model(open_checkpoint(run, list_checkpoints(run)[-1]))
    return card.digest, run.read(KEYS_FILE), run.read(METRICS_FILE)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data):
    """A job of two ranks on two CPUs, within 120 s, that logs who opens shards."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    log = folder.with_suffix(".opened")
    log.touch()
    process = start(folder, data, environment={"PYTHONPATH": str(AUDIT), "OPENED_SHARDS": str(log)})
    code, tree, messages = finish(process, folder)
    assert code == 0, messages
    return folder, tree, log.read_text().splitlines()


@pytest.mark.slow
def test_two_ranks_on_two_cpus_train(undisturbed, data):
    folder, tree, _ = undisturbed
    assert tree["steps"] == 40
    assert tree["last_loss"] < tree["first_loss"]
    assert json.loads((folder / "outcome.json").read_text())["code"] == 0
    index = open_dataset(open_store(data))
    lines = read_journal(open_store(str(folder)), KEYS_FILE)
    first = [key for line in lines if line["epoch"] == 0 for key in line["keys"]]
    train = [k for k, own in zip(index.keys, index.in_split("train"), strict=True) if own]
    assert sorted(first) == sorted(train)


@pytest.mark.slow
def test_every_byte_came_through_ray_data_and_no_rank_opened_a_shard(undisturbed, data):
    """By Ray's own operator statistics, against the bytes that the plan promises."""
    folder, _, opened = undisturbed
    recipe = load_recipe(str(folder / "recipe.yaml"))
    index = open_dataset(open_store(data))
    for rank in range(2):
        requests = list(planned_requests(recipe, index, rank, 2))
        tables = [
            read_windows(pa.table({"request": [r.encode()]}), data, index.manifest.mode)
            for r in requests
        ]
        files = sorted((folder / "ray_data" / f"rank-{rank:04d}").iterdir())
        text = "".join(file.read_text() for file in files)
        windows, size = totals(text)
        assert windows == len(requests) > 10
        payload = sum(len(table["data"][0].as_py()) for table in tables)
        assert 0 <= size - payload <= 64 * windows
    assert opened
    assert all("MapBatches(read_windows)" in line for line in opened), set(opened)


def planned_requests(recipe, index, rank, world):
    """Yield every window that one rank of a whole run asks for: training, then validation."""
    own = share_range(shares(recipe.stream.micro_batches, world), rank)
    planner = Planner(index, recipe.stream, recipe.run.seed, own)
    plans = route(lambda epoch: planner.rank_plan("train", epoch), 0, 0, recipe.train.steps)
    yield from window_requests(index, plans)
    valid = planner.rank_plan("valid", 0)
    yield from window_requests(index, route(lambda _: valid, 0, 0, valid.plan.steps))


def totals(text):
    """Return rows and bytes that the reading operator gave out, over all segments."""
    rows = size = 0
    for segment in text.split("Operator 1 MapBatches(read_windows)")[1:]:
        rows += int(amount(segment, "Output num rows per block: "))
        size += int(amount(segment, "Output size bytes per block: "))
    return rows, size


def amount(text, label):
    return text.partition(label)[2].partition(" total")[0].split()[-1]


@pytest.mark.slow
def test_a_killed_rank_is_replaced_and_nothing_differs(undisturbed, data, tmp_path):
    folder = tmp_path / "rank"
    process = start(folder, data)
    run = open_store(str(folder))
    wait_for(lambda: list_checkpoints(run), process)
    time.sleep(random.Random(7).uniform(0.0, 0.5))
    victim = processes_of(process, "RayTrainWorker")[-1]
    victim.send_signal(signal.SIGKILL)
    code, _, messages = finish(process, folder)
    assert code == 0, messages
    assert "WARNING rank 1 ended" in messages
    assert result(folder) == result(undisturbed[0])


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_killed_job_resumes_and_nothing_differs(undisturbed, data, tmp_path, ranks):
    """kill -9 of the command line takes the ranks with it; a fresh command goes on."""
    more = (
        () if ranks == 2 else ("train.ranks=3", "train.deterministic=true", "ray.cpus_per_rank=0.5")
    )
    folder = tmp_path / "job"
    process = start(folder, data, *more)
    run = open_store(str(folder))
    wait_for(lambda: list_checkpoints(run), process)
    time.sleep(random.Random(ranks).uniform(0.0, 0.5))
    # Ray's agents look for their lost node for a minute before they go; nothing else may stay.
    agents = processes_of(process, "Agent")
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    _, alive = psutil.wait_procs([m for m in family if m not in agents], timeout=60)
    assert not alive
    for member in agents:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    code, _, messages = finish(start(folder, data, *more, "--resume"), folder)
    assert code == 0, messages
    expected = undisturbed[0]
    if ranks == 3:
        expected = tmp_path / "whole"
        code, _, messages = finish(start(expected, data, *more), expected)
        assert code == 0, messages
    assert result(folder) == result(expected)


@pytest.mark.slow
def test_a_request_to_stop_reaches_all_ranks(data, tmp_path):
    """Also where the actor that carries it was lost."""
    folder = tmp_path / "stopped"
    process = start(folder, data, "train.steps=2000")
    run = open_store(str(folder))
    wait_for(lambda: list_checkpoints(run), process)
    for member in processes_of(process, "Conductor"):
        member.kill()
    process.send_signal(signal.SIGINT)
    code, tree, messages = finish(process, folder)
    assert code == 143, messages
    assert tree["steps"] < 2000
    assert json.loads((folder / "outcome.json").read_text())["retryable"] is True


@pytest.mark.slow
def test_a_job_trains_from_and_to_object_storage(undisturbed, s3_url, tmp_path):
    """The same events and numbers as from and to local folders, through a real S3 server."""
    write_dataset(f"{s3_url}/data", {"ttbar": (150, "train")}, pack_events=16)
    process = start(tmp_path / "job", f"{s3_url}/data", f"run.dir={s3_url}/run")
    code, tree, messages = finish(process, tmp_path / "job")
    assert code == 0, messages
    assert tree["checkpoint"] == f"{s3_url}/run/checkpoints/step-00000040"
    assert result(f"{s3_url}/run")[1:] == result(undisturbed[0])[1:]


@pytest.mark.slow
def test_an_error_that_stays_keeps_its_kind_and_ends_the_job(tmp_path):
    url = str(tmp_path / "data")
    write_dataset(url, {"ttbar": (150, "train")}, pack_events=16)
    for shard in (tmp_path / "data" / "shards").iterdir():
        shard.unlink()
    folder = tmp_path / "run"
    code, _, messages = finish(start(folder, url), folder)
    assert code == 3, messages
    assert "error: expected 'shards/000000.tar' below" in messages
    assert "Traceback" not in messages
    outcome = json.loads((folder / "outcome.json").read_text())
    assert (outcome["code"], outcome["retryable"]) == (3, False)


@pytest.mark.slow
def test_a_cluster_that_is_too_small_is_refused_with_the_numbers(data, tmp_path):
    folder = tmp_path / "small"
    code, _, messages = finish(start(folder, data, "ray.reader_cpus=0.25"), folder)
    assert code == 4
    assert "expected a cluster for 2 ranks, each with 1 CPUs, 0.5 CPUs of readers" in messages
    assert "found room for 1: 1 nodes with 2 CPUs" in messages
    assert "Traceback" not in messages


@pytest.mark.slow
def test_a_second_ray_on_the_host_does_no_harm(data, tmp_path):
    """Another Ray runs here and RAY_ADDRESS names it: the job neither uses nor ends it."""
    other = ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        folder = tmp_path / "second"
        environment = {"RAY_ADDRESS": other.address_info["address"]}
        process = start(folder, data, "train.steps=5", environment=environment)
        code, _, messages = finish(process, folder)
        assert code == 0, messages
        assert ray.cluster_resources()["CPU"] == 1
        assert ray.get(ray.remote(num_cpus=1)(lambda: 7).remote()) == 7
    finally:
        ray.shutdown()


def test_an_address_where_nothing_answers_is_named(data, tmp_path):
    folder = tmp_path / "nobody"
    process = start(folder, data, "ray.address=127.0.0.1:1", "ray.startup_seconds=1")
    code, _, messages = finish(process, folder)
    assert code == 4
    assert "127.0.0.1:1" in messages
    assert "Traceback" not in messages


def test_the_recipe_defaults_to_ray_data_under_ray():
    recipe = Recipe.model_validate(
        {"data": {"url": "x"}, "stream": {"micro_batches": 2}, "train": {"launcher": "ray"}}
    )
    assert recipe.engine == "ray"

"""S3 for real: a server process, faults on the wire below our code, and a run from and to s3://."""

import random
import socket
import time

import pytest
from dataset import write_dataset
from proxy import Proxy, answer
from s3_server import PAGE, environment

from mlpf_stream.config import PhysicsConfig, Recipe
from mlpf_stream.errors import AccessError, ConfigError, MissingDataError, StorageError
from mlpf_stream.evaluate import EvaluateRequest, evaluate
from mlpf_stream.infer.checkpoint import list_checkpoints, load_model, resolve_checkpoint
from mlpf_stream.inspect import inspect
from mlpf_stream.storage import open_store
from mlpf_stream.storage.s3 import S3Store
from mlpf_stream.storage.s3_call import S3Limits
from mlpf_stream.train import train
from mlpf_stream.train.journal import KEYS_FILE, METRICS_FILE, read_journal

SHORT = S3Limits(attempts=6, attempt_seconds=0.6, total_seconds=4.0, first_pause=0.02)
DATA = random.Random(3).randbytes(1_500_000)
BUSY = answer(503, "SlowDown")
FAULTS = {
    "reset": [("reset", 400_000)],
    "reset three times": [("reset", 100), ("reset", 70_000), ("reset", 400_000)],
    "closed in the middle": [("close", 400_000)],
    "503 three times": [BUSY] * 3,
    "500": [answer(500, "InternalError")],
    "429": [answer(429, "TooManyRequests")],
    "no XML": [("answer", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops")],
    "no HTTP": [("answer", b"220 mail.example ESMTP\r\n\r\n")],
    "stall before the answer": [("stall", 0)],
    "stall in the middle": [("stall", 400_000)],
    "trickle": [("trickle", 400_000)],
    "one after the other": [BUSY, ("reset", 1000), ("stall", 300_000)],
}
FOREVER = {
    "503": BUSY,
    "reset": ("reset", 400_000),
    "stall": ("stall", 0),
    "trickle": ("trickle", 9),
}
REFUSALS = ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"]


@pytest.fixture
def proxy(s3_server, s3_url, monkeypatch):
    """A way to the server that can be hurt."""
    open_store(s3_url).write("data.bin", DATA)
    proxy = Proxy(s3_server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy, s3_url):
    """The store behind that way, impatient."""
    return S3Store(s3_url, SHORT)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_the_wire_costs_time_but_no_byte(proxy, store, fault):
    assert store.size("data.bin") == len(DATA)
    for read in (
        lambda: store.read("data.bin") == DATA,
        lambda: store.view("data.bin", 200_000, 1_000_000) == DATA[200_000:1_200_000],
    ):
        proxy.met, proxy.script = 0, list(FAULTS[fault])
        begun = time.monotonic()
        assert read()
        assert proxy.met == len(FAULTS[fault])
        assert time.monotonic() - begun < 6


@pytest.mark.parametrize("fault", FOREVER)
def test_a_fault_without_end_is_a_typed_error_within_the_deadline(proxy, store, fault):
    store.size("data.bin")
    proxy.script = [FOREVER[fault]] * 100
    begun = time.monotonic()
    with pytest.raises(
        StorageError, match=r"expected .* to answer .*data.bin.* then try again"
    ) as e:
        store.view("data.bin", 0, 1_000_000)
    assert time.monotonic() - begun < 4.0 + 1.0 + 1.0
    assert proxy.url in str(e.value)
    assert (e.value.exit_code, e.value.retryable) == (4, True)
    assert 1 < proxy.met <= 6


@pytest.mark.parametrize("fault", ["503 three times", "stall before the answer", "no HTTP"])
def test_a_write_that_meets_a_fault_is_whole(proxy, store, fault):
    for old in (b"old", None):
        name = f"new-{old is None}.bin"
        if old:
            store.write(name, old)
        proxy.script = list(FAULTS[fault])
        store.write(name, DATA[:100_000])
        assert proxy.script == []
        assert store.read(name) == DATA[:100_000]
    proxy.script = [BUSY]
    store.append("new-True.bin", b"more")
    assert store.read("new-True.bin") == DATA[:100_000] + b"more"
    proxy.script = [BUSY]
    store.delete("new-True.bin")
    proxy.script = [BUSY]
    assert not store.exists("new-True.bin")
    proxy.script = [BUSY]
    assert store.list() == ["data.bin", "new-False.bin"]


def test_a_write_that_never_gets_through_leaves_the_old_object(proxy, store):
    store.write("a.bin", b"old")
    proxy.script = [BUSY] * 100
    with pytest.raises(StorageError):
        store.write("a.bin", b"new")
    proxy.script = []
    assert store.read("a.bin") == b"old"


# The test server takes any key, so its refusals are spoken by the proxy.
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_not_asked_again(proxy, store, code):
    for ask in (
        lambda: store.read("data.bin"),
        lambda: store.view("data.bin", 0, 9),
        lambda: store.write("x", b"x"),
        store.list,
        lambda: store.delete("data.bin"),
    ):
        proxy.met, proxy.script = 0, [answer(403, code)] * 9
        with pytest.raises(AccessError, match=f"found {code}.*check AWS_ACCESS_KEY_ID") as error:
            ask()
        assert proxy.met == 1
        assert proxy.url in str(error.value)
        assert (error.value.exit_code, error.value.retryable) == (3, False)


def test_without_credentials_it_says_so(s3_url, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessError, match=r"credentials.*AWS_PROFILE"):
        S3Store(s3_url, SHORT).read("x")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(AccessError, match="nobody"):
        S3Store(s3_url, SHORT).read("x")


def test_nobody_at_the_endpoint(s3_url, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    begun = time.monotonic()
    with pytest.raises(StorageError, match=f"{endpoint}.*6 attempts.*AWS_ENDPOINT_URL"):
        S3Store(s3_url, SHORT).exists("x")
    assert time.monotonic() - begun < 5
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no url")
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL"):
        S3Store(s3_url, SHORT).exists("x")


def test_a_missing_bucket_is_named(s3_url):
    store = open_store(s3_url.replace("mlpf-test", "mlpf-nowhere"))
    for ask in (
        lambda: store.read("x"),
        lambda: store.view("x", 0, 1),
        lambda: store.write("x", b"x"),
        lambda: store.append("x", b"x"),
        store.list,
    ):
        with pytest.raises(MissingDataError, match=r"bucket 'mlpf-nowhere' at http.*create it"):
            ask()
    assert not store.exists("x")


def test_a_bucket_or_a_region_that_cannot_be_is_no_matter_of_credentials(s3_url, monkeypatch):
    with pytest.raises(ConfigError, match=r"'s3://Not A Bucket/a/x', found.*in the URL") as error:
        open_store("s3://Not A Bucket/a").read("x")
    assert error.value.exit_code == 2
    monkeypatch.setenv("AWS_DEFAULT_REGION", "not a region")
    with pytest.raises(ConfigError, match=f"{s3_url}/x.*not a region.*AWS_DEFAULT_REGION"):
        open_store(s3_url).read("x")


def test_a_listing_of_many_pages_is_whole(s3_url):
    store = open_store(s3_url)
    names = [f"a/{number:03d}" for number in range(2 * PAGE + 7)]
    for name in names:
        store.write(name, b"")
    assert store.list("a") == store.list() == names


@pytest.mark.slow
def test_a_run_reads_from_s3_and_writes_to_s3(s3_url, tmp_path):
    data, run, out = f"{s3_url}/data", f"{s3_url}/run", f"{s3_url}/evaluation"
    write_dataset(data, {"ttbar": (80, "train"), "WW": (20, "ood")}, pack_events=8)
    assert inspect(data, verify=True)["verified"] is True
    train(recipe(data, run, 7))
    stopped = train(recipe(data, run, 14), resume=True)
    assert (stopped.steps, stopped.checkpoint) == (14, f"{run}/checkpoints/step-00000014")
    # The same steps on files end with the same parameters.
    write_dataset(
        str(tmp_path / "data"), {"ttbar": (80, "train"), "WW": (20, "ood")}, pack_events=8
    )
    train(recipe(tmp_path / "data", tmp_path / "run", 7))
    train(recipe(tmp_path / "data", tmp_path / "run", 14), resume=True)
    there, here = open_store(run), open_store(str(tmp_path / "run"))
    assert list_checkpoints(there) == list_checkpoints(here)
    assert {name.split("/")[0] for name in there.list()} == {
        name.split("/")[0] for name in here.list()
    }
    for name in (KEYS_FILE, METRICS_FILE):
        assert there.read(name) == here.read(name)
        assert len(read_journal(there, name)) >= 14
    card = load_model(resolve_checkpoint(run))[1]
    assert card == load_model(resolve_checkpoint(str(tmp_path / "run")))[1]
    assert inspect(run)["digest"] == card.digest

    request = EvaluateRequest(run, data, out, "all", "cpu", PhysicsConfig(bootstrap=10))
    evaluation = evaluate(request)
    assert evaluation.path == f"{out}/evaluation.json"
    assert open_store(out).list() == ["evaluation.json"]
    assert evaluation.events == 100


def recipe(data, run, steps):
    tree = {
        "run": {"dir": str(run), "seed": 4},
        "data": {"url": str(data)},
        "stream": {"row_budget": 128, "micro_batches": 2, "window_mb": 0.03},
        "model": {"kind": "lsh_gnn", "width": 16, "layers": 1, "heads": 2, "block": 8},
        "train": {"steps": steps, "checkpoint_every": 5, "valid_every": 6, "threads": 1},
    }
    return Recipe.model_validate(tree)


def test_the_server_of_these_tests_is_the_only_one_they_know(s3_server):
    # A mistake here would send test data somewhere real.
    assert environment(s3_server)["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")

"""All stores behave alike, and a write is all or nothing."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from mlpf_stream.errors import ConfigError, MissingDataError
from mlpf_stream.storage import open_store


@pytest.fixture(params=["local", "file", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3_url"))
    urls = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path}"}
    return open_store(urls[request.param])


def test_write_read_list_delete(store):
    store.write("a/b.bin", b"0123456789")
    store.write("a/c.bin", b"")
    store.write("a/b.bin", b"abcdefghij")
    assert store.read("a/b.bin") == b"abcdefghij"
    assert store.read("a/c.bin") == b""
    assert bytes(store.view("a/b.bin", 3, 4)) == b"defg"
    assert bytes(store.view("a/b.bin", 8, 100)) == b"ij"
    assert bytes(store.view("a/b.bin", 10, 1)) == b""
    assert bytes(store.view("a/b.bin", 2, 0)) == b""
    assert bytes(store.view("a/c.bin", 0, 10)) == b""
    assert (store.size("a/b.bin"), store.size("a/c.bin")) == (10, 0)
    assert store.list() == ["a/b.bin", "a/c.bin"]
    assert store.list("a") == ["a/b.bin", "a/c.bin"]
    assert store.list("none") == []
    assert store.exists("a/b.bin")
    assert not store.exists("a")
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    store.delete("never/was")
    assert not store.exists("a/b.bin")
    assert store.list() == ["a/c.bin"]


def test_a_view_of_any_kind_of_bytes_is_written(store):
    store.write("a", memoryview(b"0123456789")[2:7])
    assert store.read("a") == b"23456"


def test_names_below_a_prefix_are_not_those_that_begin_like_it(store):
    for name in ("a/1", "ab/2", "a/b/3"):
        store.write(name, b"x")
    assert store.list("a") == ["a/1", "a/b/3"]
    assert store.child("a").list() == ["1", "b/3"]


def test_a_child_is_the_same_objects_below_a_prefix(store):
    child = store.child("runs/one")
    child.write("state.json", b"{}")
    assert child.url == f"{store.url}/runs/one"
    assert store.read("runs/one/state.json") == b"{}"
    assert open_store(child.url).list() == child.child("").list() == ["state.json"]
    child.delete("state.json")
    assert store.list() == []


def test_append_begins_and_lengthens(store):
    store.append("log/a.jsonl", b"one\n")
    store.append("log/a.jsonl", b"two\n")
    assert store.read("log/a.jsonl") == b"one\ntwo\n"


def test_a_missing_object_is_named(store):
    with pytest.raises(MissingDataError, match=r"x\.bin"):
        store.read("x.bin")
    with pytest.raises(MissingDataError, match=r"x\.bin"):
        store.view("x.bin", 0, 1)
    with pytest.raises(MissingDataError, match=r"x\.bin"):
        store.view("x.bin", 0, 0)
    with pytest.raises(MissingDataError, match=r"x\.bin"):
        store.size("x.bin")


def test_a_store_survives_pickling_and_serves_threads(store):
    store.write("a.bin", bytes(range(256)) * 100)
    copy = pickle.loads(pickle.dumps(store))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: bytes(copy.view("a.bin", i * 256, 256)), range(100)))
    assert parts == [bytes(range(256))] * 100


@pytest.mark.parametrize("store", ["local", "s3"], indirect=True)
def test_another_process_uses_the_same_store(store):
    store.write("a.bin", b"0123456789")
    assert bytes(store.view("a.bin", 2, 3)) == b"234"  # the parent holds a connection
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(_visit, (store,)) == b"456"
    assert store.read("b.bin") == b"child"


@pytest.mark.parametrize("store", ["local", "s3"], indirect=True)
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_uses_the_same_store(store):
    store.write("a.bin", b"0123456789")
    process = get_context("fork").Process(target=_visit, args=(store,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert store.read("b.bin") == b"child"
    assert bytes(store.view("a.bin", 0, 2)) == b"01"


def _visit(store):
    store.write("b.bin", b"child")
    return bytes(store.view("a.bin", 4, 3))


@pytest.mark.parametrize("url", ["ftp://host/data", "s3://", "s3:///prefix"])
def test_an_unknown_scheme_or_no_bucket_is_refused(url):
    with pytest.raises(ConfigError, match=f"expected a .*found {url!r}"):
        open_store(url)


def test_s3_without_its_package_names_the_extra():
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from mlpf_stream.errors import MissingExtraError\n"
        "from mlpf_stream.storage import open_store\n"
        "try: open_store('s3://bucket/x')\n"
        "except MissingExtraError as error: sys.exit(str(error))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'mlpf-stream[s3]'" in run.stderr


def test_a_store_that_is_not_s3_does_not_import_its_client():
    code = (
        "import sys; from mlpf_stream.storage import open_store; open_store('x'); "
        "sys.exit(sum(name in sys.modules for name in ('s3fs', 'botocore', 'aiohttp')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failed_write_leaves_the_old_object(tmp_path):
    store = open_store(str(tmp_path))
    store.write("a.bin", b"old")
    with pytest.raises(TypeError):
        store.write("a.bin", "not bytes")
    assert store.read("a.bin") == b"old"
    assert store.list() == ["a.bin"]


def test_a_local_write_flushes_the_file_before_and_its_folder_after_the_rename(
    tmp_path, monkeypatch
):
    seen = []
    flush = os.fsync
    monkeypatch.setattr(
        "os.fsync", lambda handle: seen.append(_flushed(handle, tmp_path)) or flush(handle)
    )
    open_store(str(tmp_path)).write("a/b/c.bin", b"data")
    assert seen[0] == ("file", False)
    assert set(seen[1:]) == {("a/b", True), ("a", True), (".", True)}


def _flushed(handle, root):
    """Say what is flushed, and whether the object had its name then."""
    path = Path(f"/proc/self/fd/{handle}").readlink()
    what = path.relative_to(root).as_posix() if path.is_dir() else "file"
    return what, (root / "a/b/c.bin").exists()


def test_deleting_takes_what_killed_writes_left_and_empty_folders(tmp_path):
    store = open_store(str(tmp_path))
    store.write("a/b/c.bin", b"x")
    store.write("a/d.bin", b"x")
    (tmp_path / "a/b/.c.bin.0123.part").write_bytes(b"half")
    store.delete("a/b/c.bin")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["d.bin"]
    store.delete("a/d.bin")
    assert list(tmp_path.iterdir()) == []

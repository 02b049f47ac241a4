"""Both stores behave alike, and a write is all or nothing."""

import pytest

from mlpf_stream.errors import ConfigError, MissingDataError
from mlpf_stream.storage import open_store


@pytest.fixture(params=["local", "file", "memory"])
def store(request, tmp_path):
    urls = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{tmp_path}"}
    return open_store(urls[request.param])


def test_write_read_list_delete(store):
    store.write("a/b.bin", b"0123456789")
    store.write("a/c.bin", b"")
    store.write("a/b.bin", b"abcdefghij")
    assert store.read("a/b.bin") == b"abcdefghij"
    assert bytes(store.view("a/b.bin", 3, 4)) == b"defg"
    assert bytes(store.view("a/b.bin", 8, 100)) == b"ij"
    assert bytes(store.view("a/c.bin", 0, 10)) == b""
    assert store.list() == ["a/b.bin", "a/c.bin"]
    assert store.list("a") == ["a/b.bin", "a/c.bin"]
    assert store.list("none") == []
    assert store.exists("a/b.bin")
    assert not store.exists("a")
    store.delete("a/b.bin")
    store.delete("a/b.bin")
    assert not store.exists("a/b.bin")


def test_a_missing_object_is_named(store):
    with pytest.raises(MissingDataError, match=r"x\.bin"):
        store.read("x.bin")
    with pytest.raises(MissingDataError, match=r"x\.bin"):
        store.view("x.bin", 0, 1)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match="ftp"):
        open_store("ftp://host/data")


def test_a_failed_write_leaves_the_old_object(tmp_path):
    store = open_store(str(tmp_path))
    store.write("a.bin", b"old")
    with pytest.raises(TypeError):
        store.write("a.bin", "not bytes")
    assert store.read("a.bin") == b"old"
    assert store.list() == ["a.bin"]

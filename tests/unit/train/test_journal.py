"""The journal: gathered, appended at a flush, cut back on resume, on any store."""

from contextlib import suppress

import pytest

from mlpf_stream.errors import StorageError
from mlpf_stream.storage import open_store
from mlpf_stream.train.journal import (
    KEYS_FILE,
    METRICS_FILE,
    TIMING_FILE,
    Journal,
    read_journal,
)


@pytest.fixture(params=["local", "memory", "s3"])
def run(request, tmp_path):
    """A place for a run."""
    if request.param == "s3":
        return open_store(request.getfixturevalue("s3_url"))
    return open_store(f"memory://{tmp_path}" if request.param == "memory" else str(tmp_path))


def write(run, first, last, start=None):
    with Journal(run, first if start is None else start) as journal:
        for step in range(first, last):
            journal.metrics(step, {"loss": step / 7, "epoch": 0})
            journal.keys(step, 0, [f"a-{step}", f"b-{step}"], whole=step % 2 == 0)
            journal.timing(step, {"seconds": 0.5})
            if step % 3 == 2:
                journal.flush()


def test_lines_come_back_in_order(run):
    write(run, 0, 8)
    assert [line["loss"] for line in read_journal(run, METRICS_FILE)] == [i / 7 for i in range(8)]
    keys = read_journal(run, KEYS_FILE)
    assert keys[2]["keys"] == ["a-2", "b-2"]
    assert "keys" not in keys[3]
    assert len({line["digest"] for line in keys}) == 8
    assert read_journal(run, TIMING_FILE)[7] == {"step": 7, "seconds": 0.5}


def test_no_journal_has_no_lines(run):
    assert read_journal(run, METRICS_FILE) == []
    with Journal(run, 0):
        pass
    assert run.list() == []


def test_nothing_is_written_before_a_flush(run):
    with Journal(run, 0) as journal:
        journal.metrics(0, {"loss": 1.0})
        assert read_journal(run, METRICS_FILE) == []
        journal.flush()
        assert len(read_journal(run, METRICS_FILE)) == 1
        journal.flush()
    assert len(read_journal(run, METRICS_FILE)) == 1


def test_what_led_to_an_error_is_written(run):
    with suppress(RuntimeError), Journal(run, 0) as journal:
        journal.metrics(0, {"loss": 1.0})
        raise RuntimeError
    assert len(read_journal(run, METRICS_FILE)) == 1


@pytest.mark.parametrize("name", [METRICS_FILE, KEYS_FILE, TIMING_FILE])
@pytest.mark.parametrize("landed", [0.0, 0.6, 1.0])
def test_an_append_whose_answer_is_lost_is_not_repeated(run, monkeypatch, name, landed):
    """The store takes all, a part or nothing of what is appended, and reports an error."""
    store = type(run)
    append, faults = store.append, [landed]

    def unsure(self, file, data):
        if file == name and self.exists(file) and faults:
            append(self, file, data[: int(faults.pop() * len(data))])
            raise StorageError("no answer")
        append(self, file, data)

    monkeypatch.setattr(store, "append", unsure)
    with suppress(StorageError), Journal(run, 0) as journal:
        for step in range(6):
            journal.metrics(step, {"loss": 0.5})
            journal.metrics(step, {"valid": 0.5})
            journal.keys(step, 0, ["a"], whole=False)
            journal.timing(step, {"seconds": 1.0})
            if step % 3 == 2:
                journal.flush()
    assert not faults
    for file in (METRICS_FILE, KEYS_FILE, TIMING_FILE):
        steps = [line["step"] for line in read_journal(run, file)]
        assert steps == sorted([*range(6)] * (2 if file == METRICS_FILE else 1))
        assert len(run.read(file).splitlines()) == len(steps)


@pytest.mark.parametrize("start", [0, 1, 4, 8])
@pytest.mark.parametrize(
    "torn", [b"", b'{"step": 8, "lo', b"\xff\xfe\n", b'{"step": 2', b"[1]\n{}\n5\n"]
)
def test_a_resumed_journal_equals_an_undisturbed_one(run, start, torn):
    whole = run.child("whole")
    write(whole, 0, 10)
    parts = run.child("parts")
    write(parts, 0, 8)
    for name in (METRICS_FILE, KEYS_FILE, TIMING_FILE):
        if torn:
            parts.append(name, torn)
        assert len(read_journal(parts, name)) == 8
    write(parts, start, 10)
    for name in (METRICS_FILE, KEYS_FILE, TIMING_FILE):
        assert parts.read(name) == whole.read(name)

"""Many files: groups, bad files set aside, datasets that grow, requests that repeat."""

import shutil
from pathlib import Path

import pytest
from spoiled import reach_outside, shoot, spoil

from mlpf_stream.convert import Card, ConvertRequest, convert, plan
from mlpf_stream.errors import ConfigError, DataError, EventError, SchemaError
from mlpf_stream.manifest import MANIFEST_NAME
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.reader import read_events, verify_shard
from mlpf_stream.storage import open_store


@pytest.fixture(scope="module")
def pions(tmp_path_factory):
    """Four files of 20 events of four pions each."""
    folder = tmp_path_factory.mktemp("pions")
    return [shoot(folder, seed=seed) for seed in (1, 2, 3, 4)]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """Make every file a group of its own."""
    monkeypatch.setattr(plan, "LEAST_BYTES", 1)


def call(out, *sources, **changes):
    return convert(ConvertRequest([str(source) for source in sources], str(out), **changes))


def contents(folder):
    root = Path(folder)
    paths = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def opened(out, version=None):
    return open_dataset(open_store(str(out)), version)


def broken(path, out, where):
    """Write a copy of a ROOT file that is cut, or whose middle is other bytes; return its path."""
    data = bytearray(Path(path).read_bytes())
    if where == "cut":
        data = data[: len(data) // 2]
    elif where == "not ROOT":
        data = bytearray(b"nothing of the kind")
    else:
        middle = len(data) // 3
        data[middle : middle + 4000] = bytes(4000)
    Path(out).write_bytes(data)
    return str(out)


def test_groups_are_a_function_of_the_files(pions, tmp_path, monkeypatch):
    alone = call(tmp_path / "alone", *pions).manifest
    assert [shard.name[:12] for shard in alone.shards] == [f"v0001-0000{n}-" for n in range(4)]
    call(tmp_path / "two", *pions, workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "alone")
    monkeypatch.setattr(plan, "LEAST_BYTES", 8 << 20)
    together = call(tmp_path / "together", *pions).manifest
    assert len(together.shards) == 1
    # Grouping changes where events lie, never what is said of them beyond the last bits.
    for one, four in zip(together.kinds, alone.kinds, strict=True):
        assert (one.elements, one.targets) == (four.elements, four.targets)
        for a, b in zip(one.features, four.features, strict=True):
            assert (a.count, a.min, a.max) == (b.count, b.min, b.max)
            for name in ("mean", "std", "log_mean", "log_std"):
                assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_files_are_set_aside_whole_with_their_reason(pions, tmp_path, workers):
    bad = [
        broken(pions[1], tmp_path / "cut.root", "cut"),
        broken(pions[1], tmp_path / "text.root", "not ROOT"),
        broken(pions[1], tmp_path / "rotten.root", "middle"),
        spoil(pions[1], tmp_path / "lying.root", reach_outside(17)),
    ]
    sources = [pions[0], *bad, pions[2]]
    made = call(tmp_path / "out", *sources, max_bad_files=4, workers=workers).manifest
    found = {entry.name: entry.reason for entry in made.quarantined}
    assert list(found) == ["cut.root", "text.root", "rotten.root", "lying.root"]
    assert "truncated" in found["cut.root"]
    assert "expected a ROOT file" in found["text.root"]
    assert "do not decode" in found["rotten.root"]
    assert "event 17 of lying.root" in found["lying.root"]
    assert str(tmp_path) not in made.to_json()
    assert [file.file_id for file in made.files] == sorted(
        {key.split("-")[2] for key in opened(tmp_path / "out").keys},
        key=[file.file_id for file in made.files].index,
    )
    assert made.events == 40
    # Without them from the start, the same events come out.
    call(tmp_path / "good", pions[0], pions[2])
    events = [read_events(opened(tmp_path / name)).keys for name in ("out", "good")]
    assert sorted(events[0]) == sorted(events[1])


def test_more_bad_files_than_allowed_are_an_error_that_lists_them(pions, tmp_path):
    seen = [
        broken(pions[1], tmp_path / "cut.root", "cut"),
        broken(pions[1], tmp_path / "text.root", "not ROOT"),
    ]
    with pytest.raises(DataError, match=r"at most 1 .*found 2:\n.*cut\.root.*\n.*text\.root"):
        call(tmp_path / "out", pions[0], *seen, max_bad_files=1)
    read = [spoil(path, tmp_path / f"x{n}.root", reach_outside(9)) for n, path in enumerate(pions)]
    with pytest.raises(DataError, match=r"(?s)at most 2 .*found 4:.*x0.*x1.*x2.*x3.*--max-bad"):
        call(tmp_path / "out", *read, max_bad_files=2)
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()


def test_a_mended_file_is_read_again_and_the_rest_is_not(pions, tmp_path):
    mended = tmp_path / "mended.root"
    broken(pions[1], mended, "middle")
    with pytest.raises((DataError, SchemaError)):
        call(tmp_path / "out", pions[0], mended, pions[2])
    shutil.copy(pions[1], mended)
    summary = call(tmp_path / "out", pions[0], mended, pions[2])
    assert (summary.resumed, summary.converted) == (2, 20)
    call(tmp_path / "whole", pions[0], mended, pions[2])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_same_request_again_does_nothing_and_another_is_refused(pions, tmp_path):
    out = tmp_path / "out"
    call(out, *pions[:2])
    before = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    (out / "shards" / ".v0001.tar.0a1b2c3d.part").write_bytes(b"what a killed write left")
    again = call(out, *pions[:2])
    assert (again.converted, again.known) == (0, 2)
    assert again.note.startswith("nothing to do")
    assert contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times
    for sources, changes in ((pions[:3], {}), (pions[:2], {"weights": {"gun-pi": 2.0}})):
        with pytest.raises(ConfigError, match=r"of another request.*--append.*--overwrite"):
            call(out, *sources, **changes)
    assert contents(out) == before


def test_an_overwrite_that_fails_leaves_the_old_dataset(pions, tmp_path):
    out = tmp_path / "out"
    call(out, *pions[:2])
    before = contents(out)
    bad = spoil(pions[3], tmp_path / "bad.root", reach_outside(3))
    with pytest.raises(EventError):
        call(out, pions[2], bad, overwrite=True)
    assert {name: data for name, data in contents(out).items() if name in before} == before
    index = opened(out)
    assert sum(verify_shard(index, shard) for shard in index.manifest.shards) == 40
    call(out, pions[2], overwrite=True)
    call(tmp_path / "fresh", pions[2])
    assert contents(out) == contents(tmp_path / "fresh")


def test_appending_makes_a_version_and_touches_nothing_old(pions, tmp_path):
    out = tmp_path / "out"
    first = call(out, *pions[:2], card=Card(title="pions", sources_doi=("10.5/a",)))
    before = contents(out)
    grown = call(out, *pions, append=True, workers=2, card=Card(sources_doi=("10.5/b",)))
    assert (grown.manifest.version, grown.known, grown.converted) == (2, 2, 40)
    after = contents(out)
    for name in set(before) - {MANIFEST_NAME}:
        assert after[name] == before[name]
    assert opened(out, 1).digest == first.manifest.digest
    assert grown.manifest.shards[:2] == first.manifest.shards
    assert (grown.manifest.title, grown.manifest.sources_doi) == ("pions", ("10.5/a", "10.5/b"))
    index = opened(out)
    assert sum(verify_shard(index, shard) for shard in index.manifest.shards) == 80
    whole = call(tmp_path / "whole", *pions).manifest
    assert sorted(index.keys) == sorted(opened(tmp_path / "whole").keys)
    for grew, once in zip(grown.manifest.kinds, whole.kinds, strict=True):
        assert (grew.elements, grew.targets) == (once.elements, once.targets)
        for a, b in zip(grew.features, once.features, strict=True):
            assert (a.count, a.min, a.max) == (b.count, b.min, b.max)
            for name in ("mean", "std", "log_mean", "log_std"):
                assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-9, abs=1e-9)

    nothing = call(out, *pions, append=True)
    assert (nothing.manifest.version, nothing.known, nothing.converted) == (2, 4, 0)
    assert nothing.note.startswith("nothing new")
    assert contents(out) == after


def test_what_does_not_fit_is_not_appended(pions, tmp_path):
    out = tmp_path / "out"
    call(out, pions[0], role="ood")
    before = contents(out)
    with pytest.raises(ConfigError, match="--mode clusters --detector clic"):
        call(out, pions[1], append=True, detector="cld")
    with pytest.raises(ConfigError, match="role 'ood' for 'gun-pi' as in the dataset"):
        call(out, pions[1], append=True, role="train")
    with pytest.raises(ConfigError, match="--append or --overwrite"):
        call(out, pions[1], append=True, overwrite=True)
    assert {name: data for name, data in contents(out).items() if name in before} == before
    # An unknown role is that of the dataset.
    assert call(out, pions[1], append=True).manifest.splits["test"] == 40


def test_roles_and_weights_of_single_processes(pions, tmp_path):
    other = spoil(pions[1], tmp_path / "other.root", process="ttbar")
    made = call(
        tmp_path / "out", pions[0], other, roles={"gun-pi": "ood"}, weights={"ttbar": 0.25}
    ).manifest
    found = {entry.name: (entry.role, entry.weight) for entry in made.processes}
    assert found == {"gun-pi": ("ood", 1.0), "ttbar": ("train", 0.25)}
    for changes in ({"weights": {"gun-e": 2.0}}, {"roles": {"gun-e": "ood"}}):
        with pytest.raises(ConfigError, match=r"among gun-pi, ttbar, found 'gun-e'"):
            call(tmp_path / "x", pions[0], other, **changes)
    grown = call(tmp_path / "out", pions[2], append=True, weights={"gun-pi": 2.0}).manifest
    assert {entry.name: entry.weight for entry in grown.processes} == {"gun-pi": 2.0, "ttbar": 0.25}

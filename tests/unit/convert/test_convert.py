"""Conversion through its public face: same bytes always, counted skips, nothing half done."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from spoiled import not_a_number, reach_outside, shoot, spoil, weaken_field, without_rows

from mlpf_stream.columns import CLASSES, KINDS, TRACK
from mlpf_stream.convert import Card, ConvertRequest, convert, plan
from mlpf_stream.errors import ConfigError, DataError, EventError, MissingDataError, SchemaError
from mlpf_stream.event import Jagged
from mlpf_stream.manifest import MANIFEST_NAME, Manifest
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.reader import read_events
from mlpf_stream.storage import open_store


@pytest.fixture(scope="module")
def pions(tmp_path_factory):
    """Three files of 20 events of four pions each."""
    folder = tmp_path_factory.mktemp("pions")
    return [shoot(folder, seed=seed) for seed in (1, 2, 3)]


@pytest.fixture
def out(tmp_path):
    """Where a test converts to."""
    return str(tmp_path / "dataset")


def make(out, *sources, **changes):
    return convert(ConvertRequest([str(source) for source in sources], out, **changes)).manifest


def contents(folder):
    """Return the bytes of every file below a folder."""
    root = Path(folder)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def opened(out):
    return open_dataset(open_store(out))


def without_candidates(leaves):
    """Remove the stored baseline from a file."""
    for name in [name for name in leaves if "PandoraPFOs" in name]:
        del leaves[name]


def test_a_file_without_candidates_gets_the_rule_based_baseline(pions, tmp_path):
    bare = spoil(pions[0], tmp_path / "bare.root", without_candidates)
    made = make(str(tmp_path / "bare"), bare)
    stored = make(str(tmp_path / "stored"), pions[0])
    assert [file.candidates for file in made.files] == ["rule_based"]
    assert [file.candidates for file in stored.files] == ["stored"]
    # The simulation stored what the same rules find: the two must agree, event by event.
    found, expected = (read_events(opened(str(tmp_path / name))) for name in ("bare", "stored"))
    energy = {
        name: {key.rsplit("-", 1)[1]: energies[e] for e, key in enumerate(events.keys)}
        for name, events in (("found", found), ("expected", expected))
        for energies in [
            np.bincount(events.candidates.event_P, events.candidates.column("energy"), len(events))
        ]
    }
    assert energy["found"] == pytest.approx(energy["expected"], rel=1e-5)
    assert len(energy["found"]) == 20


def test_neither_workers_nor_repetition_change_a_byte(pions, tmp_path):
    for name, workers in (("one", 1), ("again", 1), ("two", 2)):
        make(str(tmp_path / name), *pions, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (shard,) = opened(str(tmp_path / "one")).manifest.shards
    assert shard.name.startswith("v0001-00000-")
    assert set(contents(tmp_path / "one")) == {
        MANIFEST_NAME,
        "manifests/000001.json",
        f"index/{shard.name}.arrow",
        f"shards/{shard.name}.tar",
    }


def test_what_is_converted_is_what_is_read(pions, out):
    manifest = make(out, *pions, card=Card(title="pions"))
    events = read_events(opened(out))
    assert len(set(events.keys)) == len(events) == manifest.events == 60
    assert {file.file_id for file in manifest.files} == {key.split("-")[2] for key in events.keys}
    assert manifest.elements == events.lengths.sum()
    assert (manifest.title, manifest.field, manifest.field_source) == ("pions", 4.0, "file")
    assert sum(manifest.splits.values()) == 60
    assert all(manifest.splits[split] for split in ("train", "valid", "test"))
    for kind in manifest.kinds:
        found = events.elements[kind.name].class_R
        assert kind.targets == {name: int((found == i).sum()) for i, name in enumerate(CLASSES)}
        assert kind.unlinked == (found == -1).sum()
        assert kind.elements == len(found)


def test_statistics_are_those_of_split_train(pions, out):
    manifest = make(out, *pions)
    index = opened(out)
    train = read_events(index).select(np.flatnonzero(index.in_split("train")))
    for kind in manifest.kinds:
        x_RF = train.elements[kind.name].x_RF.astype(np.float64)
        for i, feature in enumerate(kind.features):
            x_R = x_RF[:, i]
            seen = KINDS[kind.name].columns[i].log
            log_R = np.log(np.maximum(x_R, 0) + 1e-3) if seen else np.zeros(1)
            assert feature.count == len(x_R) > 0
            assert (feature.min, feature.max) == (x_R.min(), x_R.max())
            for name, value in (
                ("mean", x_R.mean()),
                ("std", x_R.std()),
                ("log_mean", log_R.mean()),
                ("log_std", log_R.std()),
            ):
                rounding = 1e-9 * max(1.0, np.abs(x_R).max())
                assert getattr(feature, name) == pytest.approx(value, rel=1e-9, abs=rounding)


def test_the_digest_names_the_content(pions, tmp_path):
    one = make(str(tmp_path / "one"), *pions[:2])
    assert make(str(tmp_path / "same"), *pions[:2]).digest == one.digest
    assert make(str(tmp_path / "fewer"), pions[0]).digest != one.digest
    assert make(str(tmp_path / "role"), *pions[:2], role="ood").digest != one.digest


def test_a_finished_dataset_is_replaced_only_on_demand(pions, out, tmp_path):
    make(out, *pions)
    before = contents(out)
    with pytest.raises(ConfigError, match="--overwrite"):
        make(out, pions[0])
    assert contents(out) == before
    make(out, pions[0], overwrite=True)
    make(str(tmp_path / "fresh"), pions[0])
    assert contents(out) == contents(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"detector": "atlas"}, ConfigError),
        ({"field": float("nan")}, ConfigError),
        ({"field": 0.0}, ConfigError),
        ({"max_skipped": float("nan")}, ConfigError),
        ({"max_skipped": 1.5}, ConfigError),
        ({"process": "a.b"}, ConfigError),
    ],
)
def test_a_wrong_setting_costs_no_dataset(pions, out, change, error):
    make(out, pions[0])
    before = contents(out)
    with pytest.raises(error, match="expected"):
        make(out, pions[0], overwrite=True, **change)
    assert contents(out) == before


def test_an_unfinished_conversion_is_no_dataset_and_a_rerun_ends_as_if_undisturbed(
    pions, out, tmp_path
):
    make(str(tmp_path / "whole"), *pions)
    broken = tmp_path / "broken.root"
    broken.write_bytes(Path(pions[2]).read_bytes()[:-100])
    with pytest.raises(DataError, match="truncated"):
        make(out, *pions[:2], broken)
    # What a conversion killed between its shards and its manifest leaves, and more shards still.
    shutil.copytree(tmp_path / "whole", out)
    (Path(out) / MANIFEST_NAME).unlink()
    for name in ("shards/000007.tar", "index/000007.arrow"):
        (Path(out) / name).write_bytes(b"left over")
    with pytest.raises(MissingDataError, match="did not finish"):
        opened(out)
    make(out, *pions)
    assert contents(out) == contents(tmp_path / "whole")


KILLED = """
import sys
from mlpf_stream.convert import Card, ConvertRequest, convert
from mlpf_stream.storage import LocalStore

write = LocalStore.write

def slow(store, name, data):
    write(store, name, data)
    if name.startswith("index"):
        print("shards written", flush=True)
        sys.stdin.read()

LocalStore.write = slow
convert(ConvertRequest(sys.argv[2:], sys.argv[1]))
"""


def test_killed_before_the_manifest_there_is_no_dataset(pions, out, tmp_path):
    command = [sys.executable, "-c", KILLED, out, *pions]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "shards written\n"
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
    assert {name.split("/")[0] for name in contents(out)} == {".convert", "index", "shards"}
    with pytest.raises(MissingDataError, match="did not finish"):
        opened(out)
    make(out, *pions)
    make(str(tmp_path / "whole"), *pions)
    assert contents(out) == contents(tmp_path / "whole")


def test_bad_events_are_skipped_and_counted(pions, out, tmp_path):
    bad = spoil(
        pions[0],
        tmp_path / "bad.root",
        not_a_number("PandoraClusters.energy", 3),
        not_a_number("_SiTracks_Refitted_trackStates.omega", 5),
        without_rows(8),
    )
    manifest = make(out, bad, pions[1], max_skipped=0.1)
    assert manifest.skipped == {"empty": 1, "non_finite": 2}
    assert manifest.files[0].skipped == manifest.skipped
    assert manifest.files[1].skipped == {}
    assert [file.events for file in manifest.files] == [17, 20]
    keys = {key for key in opened(out).keys if manifest.files[0].file_id in key}
    entries = {int(key.rsplit("-", 1)[1]) for key in keys}
    assert entries == set(range(20)) - {3, 5, 8}
    for part in read_events(opened(out)).elements.values():
        assert np.isfinite(part.x_RF).all()


def test_too_many_skips_are_an_error_with_numbers(pions, out, tmp_path):
    bad = spoil(pions[0], tmp_path / "bad.root", without_rows(8), without_rows(9))
    with pytest.raises(DataError, match=r"2 of 40 .*'empty': 2.*bad\.root.*--max-skipped"):
        make(out, bad, pions[1], max_skipped=0.049)
    assert not (Path(out) / MANIFEST_NAME).exists()
    assert make(out, bad, pions[1], max_skipped=0.05).events == 38


def test_the_bound_does_not_depend_on_the_order_of_files(pions, tmp_path):
    bad = spoil(pions[0], tmp_path / "bad.root", without_rows(1), without_rows(2))
    for name, sources in (("first", [bad, *pions[1:]]), ("last", [*pions[1:], bad])):
        assert make(str(tmp_path / name), *sources, max_skipped=0.04).events == 58


def test_one_skip_is_allowed_in_few_events_unless_none_is(pions, out, tmp_path):
    bad = spoil(pions[0], tmp_path / "bad.root", without_rows(0))
    assert make(out, bad, max_skipped=0.01).skipped == {"empty": 1}
    with pytest.raises(DataError, match="1 of 20"):
        make(out, bad, max_skipped=0.0, overwrite=True)


def test_a_long_conversion_stops_early_when_much_is_skipped(pions, out, tmp_path, monkeypatch):
    bad = spoil(pions[0], tmp_path / "bad.root", *(without_rows(event) for event in range(9)))
    monkeypatch.setattr(sys.modules[convert.__module__], "SKIP_SAMPLE", 20)
    monkeypatch.setattr(plan, "LEAST_BYTES", 1)
    with pytest.raises(DataError, match="9 of 20"):
        make(out, bad, *pions[1:])


def test_nothing_that_can_be_used_is_an_error(pions, out, tmp_path):
    empty = spoil(pions[0], tmp_path / "bad.root", *(without_rows(event) for event in range(20)))
    with pytest.raises(DataError, match=r"found none that can be used.*'empty': 20"):
        make(out, empty, max_skipped=1.0)
    assert not (Path(out) / MANIFEST_NAME).exists()


def test_events_without_tracks_are_kept(out, tmp_path):
    manifest = make(out, shoot(tmp_path, "gun-gamma", multiplicity=2))
    tracks = read_events(opened(out)).elements[TRACK.name].counts
    assert (tracks == 0).any()
    assert manifest.events == 20
    assert manifest.skipped == {}
    assert manifest.field_source == "detector"


def test_a_dataset_without_any_track_is_still_one(out, tmp_path):
    path = shoot(tmp_path, "gun-gamma", events=2)
    bare = spoil(
        path,
        tmp_path / "bare.root",
        *(without_rows(event, "SiTracks", "PandoraPFOs") for event in range(2)),
        process="gun-gamma",
    )
    manifest = make(out, bare)
    assert manifest.kinds[0].elements == 0
    assert {feature.count for feature in manifest.kinds[0].features} == {0}
    Manifest.from_json(manifest.to_json(), "here")


def test_tracks_without_links_are_counted_and_never_none(pions, out, tmp_path):
    bad = spoil(
        pions[0],
        tmp_path / "bad.root",
        without_rows(4, "SiTracksMCTruthLink"),
        without_rows(6, "SiTracksMCTruthLink"),
    )
    manifest = make(out, bad, role="ood")
    events = read_events(opened(out))
    track = events.elements[TRACK.name]
    entry = {key.rsplit("-", 1)[1]: number for number, key in enumerate(events.keys)}
    rows = [slice(*track.offsets[[entry[e], entry[e] + 1]]) for e in ("4", "6")]
    unlinked = sum(row.stop - row.start for row in rows)
    assert unlinked > 0
    assert manifest.truth.unlinked_tracks == manifest.kinds[0].unlinked == unlinked
    for row in rows:
        assert (track.class_R[row] == -1).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_event_that_contradicts_itself_is_named(pions, out, tmp_path, workers):
    bad = spoil(pions[1], tmp_path / "bad.root", reach_outside(7))
    with pytest.raises(EventError, match=r"event 7 of .*bad\.root") as error:
        make(out, pions[0], bad, pions[2], workers=workers)
    assert error.value.entry == 7
    assert not (Path(out) / MANIFEST_NAME).exists()


def test_a_file_of_another_field_is_refused(pions, out, tmp_path):
    other = spoil(pions[1], tmp_path / "weak.root", weaken_field)
    with pytest.raises(DataError, match=r"4\.000 T of detector clic, found 2\.000 T .*weak\.root"):
        make(out, pions[0], other)
    with pytest.raises(DataError, match=r"3\.500 T as asked for, found 4\.000 T"):
        make(out, pions[0], field=3.5)


def test_files_of_nearly_one_field_do_not_mix(pions, out, tmp_path):
    def weaken_a_little(leaves):
        name = "_SiTracks_Refitted_trackStates.omega"
        leaves[name] = Jagged(leaves[name].values * 0.97, leaves[name].offsets)

    other = spoil(pions[1], tmp_path / "nearly.root", weaken_a_little)
    with pytest.raises(DataError, match=r"expected one magnetic field, found \[3\.88, 4\.0\] T"):
        make(out, pions[0], other)


def test_one_process_has_one_role(pions, out):
    manifest = make(out, *pions, role="ood")
    index = opened(out)
    assert manifest.splits == {"train": 0, "valid": 0, "test": 60}
    assert index.in_split("test").all()
    assert {feature.count for kind in manifest.kinds for feature in kind.features} == {0}


@pytest.mark.parametrize("process", ["WW", "ZH"])
def test_processes_never_trained_on_are_all_test(pions, out, tmp_path, process):
    other = spoil(pions[1], tmp_path / "other.root", process=process)
    manifest = make(out, pions[0], other)
    index = opened(out)
    roles = {entry.name: entry.role for entry in manifest.processes}
    assert roles == {"gun-pi": "train", process: "ood"}
    assert index.in_split("test")[index.process == index.process_names.index(process)].all()
    alone = make(str(tmp_path / "alone"), pions[0])
    for both, one in zip(manifest.kinds, alone.kinds, strict=True):
        assert both.features == one.features
        assert both.elements > one.elements


def test_a_role_may_be_chosen(pions, out, tmp_path):
    other = spoil(pions[1], tmp_path / "other.root", process="WW")
    assert make(out, other, role="train").splits["train"] > 0


def test_the_process_is_given_or_written_or_named(pions, out, tmp_path):
    plain = spoil(pions[0], tmp_path / "plain.root", process="ttbar")
    assert make(out, plain).processes[0].name == "ttbar"
    assert make(out, plain, process="other", overwrite=True).processes[0].name == "other"


@pytest.mark.realdata
def test_the_process_of_a_published_name(edm4hep_files, out, tmp_path):
    ild = edm4hep_files / "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"
    with pytest.raises(ConfigError, match=r"found none: .*give --process NAME"):
        make(out, ild, detector="ild")
    named = shutil.copy(ild, tmp_path / "p8_ee_mumuH_ecm240_7.root")
    manifest = make(out, named, detector="ild")
    assert [entry.name for entry in manifest.processes] == ["mumuH"]
    assert (manifest.field, manifest.truth_source) == (2.0, "clusters")
    assert "cluster.sigma_x" in manifest.missing_features


@pytest.mark.realdata
def test_hits_that_are_not_stored_and_fast_simulation_are_refused(edm4hep_files, out):
    ild = edm4hep_files / "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"
    with pytest.raises(SchemaError, match="use mode 'clusters'"):
        make(out, ild, detector="ild", process="mumuH", mode="hits")
    with pytest.raises(SchemaError, match="Delphes"):
        make(out, edm4hep_files / "p8_ee_WW_ecm240_edm4hep.root")
    assert not (Path(out) / MANIFEST_NAME).exists()


WAITING = """
import sys
from mlpf_stream.convert import ConvertRequest, convert, plan
from mlpf_stream.convert.job import Receipt

plan.LEAST_BYTES = 1
Receipt.model_validate_json = lambda _: (print("reading", flush=True), sys.stdin.read())
convert(ConvertRequest(sys.argv[2:], sys.argv[1], workers=2))
"""


def test_a_killed_conversion_leaves_no_workers_behind(pions, out):
    command = [sys.executable, "-c", WAITING, out, *pions]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "reading\n"
        process.kill()
        process.wait(20)
        end = time.monotonic() + 15
        while (left := alive(process.pid)) and time.monotonic() < end:
            time.sleep(0.1)
        if left:
            os.killpg(process.pid, signal.SIGKILL)
        assert not left


def alive(group):
    """Return whether any process of a group lives."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

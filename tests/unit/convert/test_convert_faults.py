"""Faults of source files as a user meets them at the command line, and the real CLIC file."""

import json
import re

import numpy as np
import pytest
from spoiled import point_at, shoot, spoil, without_rows

from mlpf_stream.cli import main
from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.edm4hep.reader import read_collections
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.errors import EventError

CLIC = "clic_gamma_10GeV.root"
ILD = "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"


@pytest.fixture
def mlpf(capsys):
    """Return a function that runs a verb and returns its JSON, or with `code` what stderr says."""

    def call(*arguments, code=0):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in (*arguments, "--json")])
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        assert "Traceback" not in captured.err
        if code:
            assert captured.out == ""
            return " ".join(captured.err.split())
        return json.loads(captured.out, parse_constant=pytest.fail)

    return call


@pytest.fixture(scope="module")
def pions(tmp_path_factory):
    """A file of 20 events of four pions each."""
    return shoot(tmp_path_factory.mktemp("pions"))


@pytest.mark.realdata
def test_the_real_clic_file_converts_and_evaluates(mlpf, edm4hep_files, tmp_path):
    data, out = tmp_path / "data", tmp_path / "judged"
    source = ("convert", edm4hep_files / CLIC, "--detector", "clic")
    assert "give --process NAME" in mlpf(*source, "--out", data, code=2)
    made = mlpf(*source, "--process", "gun-gamma", "--out", data)
    assert (made["events"], made["elements"], made["skipped"]) == (3, 3, {})
    assert made["truth"]["dangling_hits"] == made["truth"]["unlinked_clusters"] == 0

    seen = mlpf("inspect", data, "--verify")
    assert seen["verified"] is True
    assert seen["elements_by_kind"] == {"track": 0, "cluster": 3}
    assert {name: n for name, n in seen["classes"].items() if n} == {"photon": 3}
    # Without tracks no candidate measures the field.
    assert (seen["field"], seen["field_source"]) == (4.0, "detector")
    assert (seen["truth_source"], seen["missing_features"]) == ("hits", ["track.time"])

    judged = mlpf("evaluate", "baseline", "--data", data, "--split", "all", "--out", out)
    assert judged["events"] == 3
    parts = judged["processes"]["gun-gamma"]
    assert parts["target"]["momentum"]["count"] == parts["baseline"]["momentum"]["count"] == 3
    assert parts["target"]["momentum"]["median"] == pytest.approx(1.0, abs=1e-4)
    # The calorimeter of CLIC measures a photon of 10 GeV to about 16 % / sqrt(10) = 5 %.
    assert parts["baseline"]["momentum"]["median"] == pytest.approx(1.0, abs=0.05)
    assert parts["baseline"]["momentum"]["matched_fraction"] == 1.0


@pytest.mark.realdata
def test_a_field_that_the_candidates_contradict_is_refused_with_both_numbers(
    mlpf, edm4hep_files, tmp_path
):
    named = ("convert", edm4hep_files / ILD, "--detector", "ild", "--process", "mumuH")
    text = mlpf(*named, "--field", "3.5", "--out", tmp_path / "x", code=3)
    assert "expected a field of 3.500 T as asked for, found 2.000 T from the candidates" in text
    assert ILD in text
    assert "give the detector of the file" in text
    assert not (tmp_path / "x" / "manifest.json").exists()
    other = ("convert", edm4hep_files / ILD, "--detector", "clic", "--process", "mumuH")
    text = mlpf(*other, "--out", tmp_path / "x", code=3)
    assert "expected a field of 4.000 T of detector clic, found 2.000 T from the candidates" in text
    mlpf(*named, "--field", "2.02", "--out", tmp_path / "x")
    assert mlpf("inspect", tmp_path / "x")["field_source"] == "option"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "relation", "target"),
    [
        (CLIC, "_CalohitMCTruthLink_from", "ECALEndcap"),
        (CLIC, "_CalohitMCTruthLink_to", "MCParticles"),
        (ILD, "_SiTracksMCTruthLink_from", "SiTracks_Refitted"),
        (ILD, "_ClusterMCTruthLink_to", "MCParticles"),
    ],
)
def test_a_dangling_link_in_a_real_file(mlpf, edm4hep_files, tmp_path, name, relation, target):
    bad = spoil(edm4hep_files / name, tmp_path / "bad.root", point_at(relation, 2, 10_000))
    detector = "clic" if name == CLIC else "ild"
    text = mlpf("convert", bad, "--detector", detector, "--out", tmp_path / "x", code=3)
    place = rf"event 2 of '?.*bad\.root'?: {relation} points at row 10000 of {target}, which has \d"
    assert re.search(place, text), text


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("relation", ["_SiTracksMCTruthLink_to", "_CalohitMCTruthLink_to"])
def test_a_dangling_link_is_an_error_that_names_its_event(pions, tmp_path, relation, workers):
    bad = spoil(pions, tmp_path / "bad.root", point_at(relation, 7, 500))
    out = str(tmp_path / "x")
    with pytest.raises(EventError, match=rf"event 7 of .*bad\.root: {relation}.*row 500") as error:
        convert(ConvertRequest([bad, pions], out, workers=workers))
    assert error.value.entry == 7
    assert not (tmp_path / "x" / "manifest.json").exists()


NONE = np.zeros(0, np.int64)
LINKS = ("SiTracksMCTruthLink", "ClusterMCTruthLink", "CalohitMCTruthLink")


@pytest.mark.parametrize(
    ("emptied", "skipped", "elements"),
    [
        ((), {"empty": 1}, None),
        (("SiTracks", "PandoraPFOs"), {}, "cluster"),
        (("PandoraClusters", "ClusterMCTruthLink", "PandoraPFOs"), {}, "track"),
        (("PandoraPFOs",), {}, "both"),
        (("MCParticles", *LINKS), {"no_target": 1}, None),
        (LINKS, {"no_target": 1}, None),
    ],
)
def test_an_empty_collection(mlpf, pions, tmp_path, emptied, skipped, elements):
    bad = spoil(pions, tmp_path / "bad.root", without_rows(3, *emptied))
    (whole,) = read_collections(pions)
    rows = {"track": "SiTracks_Refitted.chi2", "cluster": "PandoraClusters.energy"}
    kept = {
        kind: sum(
            int(count)
            for event, count in enumerate(whole[leaf].counts)
            if event != 3 or elements in (kind, "both")
        )
        for kind, leaf in rows.items()
    }
    made = mlpf("convert", bad, "--out", tmp_path / "x")
    seen = mlpf("inspect", tmp_path / "x", "--verify")
    assert made["skipped"] == skipped
    assert made["events"] == 20 - sum(skipped.values())
    assert seen["elements_by_kind"] == kept
    judge = ("evaluate", "baseline", "--data", tmp_path / "x", "--split", "all")
    assert mlpf(*judge, "--out", tmp_path / "y")["events"] == made["events"]


def test_a_file_without_events_is_no_dataset(mlpf, pions, tmp_path):
    (whole,) = read_collections(pions)
    empty = whole.__class__(
        whole.source, 0, {name: rows.select(NONE) for name, rows in whole.leaves.items()}, whole.ids
    )
    write_collections(str(tmp_path / "empty.root"), empty, process="gun-pi", generator={})
    text = mlpf("convert", tmp_path / "empty.root", "--out", tmp_path / "x", code=3)
    assert "expected events, found none that can be used" in text
    both = mlpf("convert", tmp_path / "empty.root", pions, "--out", tmp_path / "x")
    assert both["events"] == 20

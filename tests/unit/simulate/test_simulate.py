from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlpf_stream.edm4hep.reader import read_collections
from mlpf_stream.edm4hep.source import process_of_path
from mlpf_stream.errors import ConfigError
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.simulate.calibration import REFERENCE

GUN = SimulateRequest("gun-pi", 9, 4, "", files=2, multiplicity=5)


@pytest.fixture(scope="module")
def ttbar(tmp_path_factory):
    """60 top pairs in two files."""
    pytest.importorskip("pythia8mc")
    out = tmp_path_factory.mktemp("ttbar")
    return simulate(SimulateRequest("ttbar", 60, 1, str(out), files=2))


def contents(path):
    (collections,) = read_collections(path)
    return collections


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"process": "ttH"}, "ttbar.*gun-tau"),
        ({"detector": "cld"}, "clic"),
        ({"detector": "atlas"}, "clic"),
        ({"pileup": 10}, "later version"),
        ({"events": 0}, "events"),
        ({"files": 0}, "files"),
        ({"multiplicity": 0}, "multiplicity"),
        ({"process": "ttbar"}, "only guns"),
        ({"seed": -1}, "seed"),
        ({"events": 10**6}, "--files 100"),
    ],
)
def test_requests_that_make_no_sense_are_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        simulate(replace(GUN, out=str(tmp_path / "out"), **change))
    assert not (tmp_path / "out").exists()


def test_object_storage_is_refused():
    with pytest.raises(ConfigError, match="local folder"):
        simulate(replace(GUN, out="s3://bucket/events"))


def test_same_request_gives_the_same_bytes(tmp_path):
    one = simulate(replace(GUN, out=str(tmp_path / "one")))
    two = simulate(replace(GUN, out=str(tmp_path / "two")))
    for a, b in zip(one.files, two.files, strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes()


def test_another_seed_or_file_gives_other_events(tmp_path):
    one = simulate(replace(GUN, out=str(tmp_path)))
    two = simulate(replace(GUN, out=str(tmp_path), seed=5))
    first = [contents(path)["MCParticles.momentum.x"].values[0] for path in one.files + two.files]
    assert len(set(first)) == len(first)


def test_events_are_shared_out_over_named_files(tmp_path):
    summary = simulate(replace(GUN, out=str(tmp_path)))
    assert [Path(path).name for path in summary.files] == ["gun-pi_4_0.root", "gun-pi_4_1.root"]
    assert [contents(path).events for path in summary.files] == [5, 4]
    assert summary.events == 9
    assert process_of_path(summary.files[0]) == "gun-pi"


def test_no_more_files_than_events(tmp_path):
    assert len(simulate(replace(GUN, events=1, files=4, out=str(tmp_path))).files) == 1


@pytest.mark.slow
def test_workers_change_nothing(tmp_path):
    one = simulate(replace(GUN, out=str(tmp_path / "one")))
    two = simulate(replace(GUN, out=str(tmp_path / "two"), workers=2))
    for a, b in zip(one.files, two.files, strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes()


def test_process_files_have_the_published_names(ttbar):
    names = [Path(path).name for path in ttbar.files]
    assert names == ["p8_ee_ttbar_ecm380_1_0.root", "p8_ee_ttbar_ecm380_1_1.root"]


def test_top_pairs_look_like_full_simulation(ttbar):
    numbers = ttbar.calibration
    for name in ("tracks", "clusters", "hits_per_gev", "cluster_energy_p50", "cluster_energy_p75"):
        assert numbers[name] == pytest.approx(REFERENCE[name], rel=0.3), name
    assert numbers["cluster_energy_p5"] == pytest.approx(REFERENCE["cluster_energy_p5"], rel=0.4)
    assert numbers["shared"] >= 0.20
    assert 0.30 <= numbers["without_target"] <= 0.50
    assert numbers["energy_ratio"] == pytest.approx(0.95, abs=0.1)


def test_link_weights_are_shares_of_energy(ttbar):
    collections = contents(ttbar.files[0])
    link = collections["_ClusterMCTruthLink_from.index"]
    clusters = collections["PandoraClusters.energy"]
    event = np.repeat(np.arange(collections.events), link.counts)
    row = clusters.offsets[event] + link.values
    weight = collections["ClusterMCTruthLink.weight"].values
    total = np.bincount(row, weight, minlength=len(clusters.values))
    assert (weight > 0).all()
    assert total.max() < 1 + 1e-5
    assert (total > 0.99).mean() > 0.98


def test_subdetector_energies_add_up_to_the_cluster(ttbar):
    collections = contents(ttbar.files[0])
    parts = collections["_PandoraClusters_subdetectorEnergies"].values.reshape(-1, 6)
    energy = collections["PandoraClusters.energy"].values
    np.testing.assert_allclose(parts.sum(axis=1), energy, rtol=1e-5)


def test_the_baseline_uses_each_element_once_and_finds_most_of_the_energy(ttbar):
    collections = contents(ttbar.files[0])
    for name in ("tracks", "clusters"):
        used = collections[f"_PandoraPFOs_{name}.index"]
        for event in range(collections.events):
            assert len(set(used[event].tolist())) == len(used[event])
    energy = collections["PandoraPFOs.energy"].values.sum()
    px, py, pz = (collections[f"MCParticles.momentum.{x}"].values for x in "xyz")
    total = np.sqrt(px**2 + py**2 + pz**2 + collections["MCParticles.mass"].values ** 2)
    final = collections["MCParticles.generatorStatus"].values == 1
    stays = collections["MCParticles.simulatorStatus"].values & (1 << 26 | 1 << 27) != 0
    assert energy / total[final & stays].sum() == pytest.approx(1.0, abs=0.15)

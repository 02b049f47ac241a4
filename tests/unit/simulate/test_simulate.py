import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot

from mlpf_stream.columns import CLUSTER, DETECTORS, HIT, default_role
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.events import ReadRequest, read_events, sum_counts
from mlpf_stream.edm4hep.reader import read_collections
from mlpf_stream.edm4hep.source import process_of_path
from mlpf_stream.errors import ConfigError
from mlpf_stream.event import Jagged, concatenate_events
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.simulate.geometry import COLLECTIONS

CLIC = DETECTORS["clic"]
GUN = SimulateRequest("gun-pi", 9, 4, "", files=2, multiplicity=5)


@pytest.fixture(scope="module")
def ttbar(tmp_path_factory):
    """60 top pairs in two files, of one step each."""
    pytest.importorskip("pythia8mc")
    out = tmp_path_factory.mktemp("ttbar")
    return simulate(SimulateRequest("ttbar", 60, 1, str(out), files=2))


def contents(path):
    """Return all events of a file at once."""
    steps = list(read_collections(path))
    leaves = {}
    for name in steps[0].leaves:
        parts = [step[name] for step in steps]
        values = np.concatenate([part.values for part in parts])
        leaves[name] = Jagged.from_counts(values, np.concatenate([part.counts for part in parts]))
    return Collections(path, sum(step.events for step in steps), leaves, steps[0].ids)


def read(path, mode):
    """Return the events of a file with their truth, and what was counted."""
    parts = list(read_events(path, ReadRequest(CLIC, None, "ttbar", mode, "x")))
    return concatenate_events([events for events, _ in parts]), sum_counts([c for _, c in parts])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"process": "ttH"}, "ttbar.*gun-tau"),
        ({"detector": "cld"}, "clic"),
        ({"detector": "atlas"}, "clic"),
        ({"pileup": -1}, "pileup from 0 to 200"),
        ({"pileup": 1e6}, "pileup from 0 to 200"),
        ({"events": 0}, "events"),
        ({"files": 0}, "files"),
        ({"multiplicity": 0}, "multiplicity"),
        ({"multiplicity": 1001}, "at most 1000"),
        ({"pileup": float("nan")}, "pileup from 0 to 200"),
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


def test_top_pairs_have_thousands_of_hits_of_every_kind(ttbar):
    collections = contents(ttbar.files[0])
    counts = sum(collections[f"{name}.energy"].counts for name in COLLECTIONS)
    assert 5_000 < np.median(counts) < 15_000
    for name in COLLECTIONS:
        hits = len(collections[f"{name}.energy"].values)
        assert hits, name
        kinds = np.unique(collections[f"{name}.type"].values % 10_000)
        assert len(kinds) == 1, name  # all but the layer is of the collection
        assert np.isfinite(collections[f"{name}.time"].values).all()


def test_both_modes_see_one_event(ttbar):
    both = [read(ttbar.files[0], mode)[0] for mode in ("clusters", "hits")]
    assert both[0].keys == both[1].keys
    tracks = [events.elements["track"].x_RF.tobytes() for events in both]
    assert tracks[0] == tracks[1]
    # A cluster is the sum of its hits; not all hits are in one.
    energies = [
        events.elements[kind.name].x_RF[:, kind.index("energy")].sum()
        for events, kind in zip(both, (CLUSTER, HIT), strict=True)
    ]
    assert 0.9 < energies[0] / energies[1] < 1.0
    assert both[0].candidates.momentum_PM.tobytes() == both[1].candidates.momentum_PM.tobytes()


def test_the_task_is_not_too_easy(ttbar):
    _, counts = read(ttbar.files[0], "clusters")
    assert counts.clusters_shared / counts.clusters > 0.15
    assert 0.30 < counts.clusters_without_target / counts.clusters < 0.55


def test_hits_of_clusters_add_up_and_links_of_hits_are_shares(ttbar):
    collections = contents(ttbar.files[0])
    weight = collections["CalohitMCTruthLink.weight"].values
    assert (weight > 0).all()
    assert weight.max() <= 1 + 1e-6
    number = collections["_PandoraClusters_hits.index"]
    ends = collections["PandoraClusters.hits_end"].values
    begins = collections["PandoraClusters.hits_begin"].values
    assert (ends - begins).sum() == len(number.values)


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


def test_pile_up_is_a_process_of_its_own_and_adds_soft_particles(tmp_path):
    pytest.importorskip("pythia8mc")
    bare = simulate(SimulateRequest("qq", 20, 1, str(tmp_path / "bare"), files=1))
    laid = simulate(SimulateRequest("qq", 20, 1, str(tmp_path / "laid"), files=1, pileup=10))
    assert Path(laid.files[0]).name == "p8_ee_qq_PU10_ecm380_1_0.root"
    assert process_of_path(laid.files[0]) == "qq_PU10"
    assert default_role("qq_PU10") == "ood"
    counts = [len(contents(one.files[0])["MCParticles.PDG"].values) for one in (bare, laid)]
    assert counts[1] > 2 * counts[0]


def test_a_file_of_many_chunks_is_read_back_whole(tmp_path):
    summary = simulate(replace(GUN, out=str(tmp_path), files=1, events=450, multiplicity=1))
    collections = contents(summary.files[0])
    assert collections.events == 450
    assert len(np.unique(collections["MCParticles.momentum.x"].values)) >= 450


def test_events_of_much_energy_are_made_a_few_at_a_time(tmp_path):
    summary = simulate(replace(GUN, out=str(tmp_path), files=1, events=5, multiplicity=400))
    with uproot.open(summary.files[0]) as file:
        assert file["events"]["MCParticles.PDG"].num_baskets == 2
    assert contents(summary.files[0]).events == 5


def test_a_fraction_of_pile_up_makes_a_name_without_dots(tmp_path):
    pytest.importorskip("pythia8mc")
    laid = simulate(SimulateRequest("gun-gamma", 1, 1, str(tmp_path), files=1, pileup=0.5))
    assert process_of_path(laid.files[0]) == "gun-gamma_PU0p5"
    assert default_role("gun-gamma_PU0p5") == "ood"


def test_members_of_every_row_follow_each_other_inside_their_event(ttbar):
    collections = contents(ttbar.files[0])
    names = [name.removesuffix("_begin") for name in collections.leaves if name.endswith("_begin")]
    assert len(names) == 6
    for name in names:
        begin, end = collections[f"{name}_begin"], collections[f"{name}_end"]
        target = "_" + name.replace(".", "_")
        leaf = next(leaf for leaf in collections.leaves if leaf.partition(".")[0] == target)
        for event in range(collections.events):
            borders = np.concatenate([[0], end[event]])
            np.testing.assert_array_equal(begin[event], borders[:-1], err_msg=name)
            assert (np.diff(borders.astype(np.int64)) >= 0).all(), name
            assert borders[-1] == len(collections[leaf][event]), name


def test_relations_point_into_the_event(ttbar):
    collections = contents(ttbar.files[0])
    ids = {number: name for name, number in collections.ids.items()}
    rows = {
        name: next(
            v for leaf, v in collections.leaves.items() if leaf.startswith(f"{name}.")
        ).counts
        for name in ids.values()
    }
    known = {
        "_MCParticles_daughters": "MCParticles",
        "_PandoraPFOs_tracks": "SiTracks_Refitted",
        "_PandoraPFOs_clusters": "PandoraClusters",
        "_SiTracks_Refitted_dQdx_track": "SiTracks_Refitted",
    }
    relations = [name for name in collections.leaves if name.endswith(".index")]
    assert len(relations) == 11
    for leaf in relations:
        name = leaf.removesuffix(".index")
        index = collections[leaf]
        event = np.repeat(np.arange(collections.events), index.counts)
        if name in known:
            most = rows[known[name]][event]
        else:
            number = collections[f"{name}.collectionID"].values
            most = np.array([rows[ids[n]][e] for n, e in zip(number.tolist(), event, strict=True)])
        assert (index.values >= 0).all(), name
        assert (index.values < most).all(), name


def test_the_record_of_a_file_is_a_tree_of_decays(ttbar):
    collections = contents(ttbar.files[0])
    daughters = collections["_MCParticles_daughters.index"]
    begin = collections["MCParticles.daughters_begin"]
    end = collections["MCParticles.daughters_end"]
    for event in range(collections.events):
        own = daughters[event]
        number = end[event].astype(np.int64) - begin[event].astype(np.int64)
        parents = np.repeat(np.arange(len(number)), number)
        assert (own > parents).all()
        assert len(np.unique(own)) == len(own)
    # What the detector made comes from what the detector saw.
    status = collections["MCParticles.generatorStatus"]
    event = np.repeat(np.arange(collections.events), daughters.counts)
    assert (status.values[status.offsets[event] + daughters.values] == 0).any()
    fates = collections["MCParticles.simulatorStatus"].values & (0b1111 << 24)
    single = np.isin(fates, [1 << bit for bit in range(24, 28)])
    assert (single == (status.values != 2)).all()


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from mlpf_stream.cli import main\n"
        f"main(['simulate', '--process', 'gun-pi', '--multiplicity', '20', '--events', '20', "
        f"'--files', '1', '--out', {str(tmp_path)!r}])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"of '{tmp_path}/gun-pi_1_0.root'" in run.stderr
    assert "File too large" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_numba_names_the_extra_to_install(tmp_path):
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from mlpf_stream.cli import main\n"
        f"main(['simulate', '--process', 'gun-pi', '--out', {str(tmp_path)!r}])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    # Reading files needs it as well: whichever is asked for first says so.
    assert re.search(r"'numba'.*mlpf-stream\[(simulate|convert)\]", run.stderr)


def test_progress_in_a_log_is_a_line_and_counts_all_events(tmp_path, capsys):
    simulate(replace(GUN, out=str(tmp_path)))
    told = capsys.readouterr()
    assert told.out == ""
    assert "9/9" in told.err
    assert "\x1b" not in told.err

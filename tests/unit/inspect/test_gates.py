"""The physics gates: green on sound data, red on every spoiled truth, never silent."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from spoiled import shoot

from mlpf_stream.cli import main
from mlpf_stream.columns import (
    CLASSES,
    CLUSTER,
    GUNS,
    HIT,
    MOMENTUM,
    NO_PARTICLE,
    PROCESSES,
    TRACK,
)
from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.errors import ConfigError, DataError
from mlpf_stream.event import Events
from mlpf_stream.inspect import SampleRequest, judge_physics
from mlpf_stream.inspect.gates import GATES
from mlpf_stream.inspect.judgement import LEAST_ENTRIES, check, table
from mlpf_stream.manifest import MANIFEST_NAME
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.reader import read_events
from mlpf_stream.shards.writer import ShardLimits, ShardWriter
from mlpf_stream.simulate import SimulateRequest, simulate
from mlpf_stream.storage import open_store

CHARGED_HADRON, PHOTON = CLASSES.index("charged_hadron"), CLASSES.index("photon")
ENERGY, PT, SIN, COS = (MOMENTUM.index(name) for name in ("energy", "pt", "sin_phi", "cos_phi"))
ALL = SampleRequest(events=1_000_000)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Simulated ROOT files of two processes."""
    folder = str(tmp_path_factory.mktemp("root"))
    processes = ("ttbar", "qq")
    return [simulate(SimulateRequest(p, 24, 5, folder, files=1)).files[0] for p in processes]


@pytest.fixture(scope="module")
def sound(files, tmp_path_factory):
    """A dataset of simulated events, as a conversion writes it."""
    return converted(files, tmp_path_factory.mktemp("sound") / "data", "clusters")


@pytest.fixture(scope="module")
def sound_hits(files, tmp_path_factory):
    """The same events in hit mode."""
    return converted(files, tmp_path_factory.mktemp("sound") / "hits", "hits")


def converted(files, out, mode):
    convert(ConvertRequest(list(files), str(out), mode=mode))
    return open_dataset(open_store(str(out)))


def spoil(index, out, change, **manifest):
    """Write a copy of a dataset whose events are changed, through the public writer."""
    store = open_store(str(out))
    writer = ShardWriter(store, index.kinds, ShardLimits(16, 1 << 20))
    writer.add(change(read_events(index)), "train")
    card = index.manifest.model_copy(update={"shards": writer.close(), **manifest})
    store.write(MANIFEST_NAME, card.to_json().encode())
    return str(out)


def elements(events, change, *names):
    """Change the elements of some kinds, of all if none is named."""
    parts = dict(events.elements)
    for name in names or parts:
        parts[name] = replace(parts[name], **change(parts[name]))
    return Events(events.keys, parts, events.generator, events.candidates)


def columns(values, **factors):
    """Multiply some momentum columns."""
    values = values.copy()
    for name, factor in factors.items():
        values[:, MOMENTUM.index(name)] *= factor
    return values


def targets_scaled(factor):
    return lambda events: elements(
        events, lambda part: {"momentum_RM": columns(part.momentum_RM, pt=factor, energy=factor)}
    )


def truth_scaled(factor):
    def change(events):
        generator = events.generator
        momentum = columns(generator.momentum_PM, pt=factor, energy=factor)
        scaled = targets_scaled(factor)(events)
        return replace(scaled, generator=replace(generator, momentum_PM=momentum))

    return change


def features_scaled(kind, **factors):
    def change(part):
        features = part.x_RF.copy()
        for name, factor in factors.items():
            features[:, kind.index(name)] *= factor
        return {"x_RF": features}

    return lambda events: elements(events, change, kind.name)


def swapped(class_N):
    """Take photons for charged hadrons and the other way round."""
    names = np.arange(-1, len(CLASSES), dtype=np.int8)
    names[[CHARGED_HADRON + 1, PHOTON + 1]] = PHOTON, CHARGED_HADRON
    return names[class_N + 1]


def classes_swapped(events):
    return elements(events, lambda part: {"class_R": swapped(part.class_R)})


def classes_swapped_everywhere(events):
    generator = replace(events.generator, class_P=swapped(events.generator.class_P))
    return replace(classes_swapped(events), generator=generator)


def charges_flipped(events):
    return elements(events, lambda part: {"charge_R": -part.charge_R})


def charges_flipped_everywhere(events):
    generator = replace(events.generator, charge_P=-events.generator.charge_P)
    return replace(charges_flipped(events), generator=generator)


def targets_dropped(events):
    """Take the target from every tenth element that has one."""

    def change(part):
        rows = np.flatnonzero(part.class_R > 0)[::10]
        classes, charges, momentum = (
            array.copy() for array in (part.class_R, part.charge_R, part.momentum_RM)
        )
        classes[rows], charges[rows], momentum[rows] = 0, 0, 0
        return {"class_R": classes, "charge_R": charges, "momentum_RM": momentum}

    return elements(events, change)


def targets_doubled(events):
    """Give the target of some clusters to the next cluster too, if that has none."""

    def change(part):
        rows = np.flatnonzero((part.class_R[:-1] > 0) & (part.class_R[1:] == 0))
        event_R = np.repeat(np.arange(len(part.counts)), part.counts)
        rows = rows[event_R[rows] == event_R[rows + 1]]
        arrays = {}
        for name in ("class_R", "charge_R", "momentum_RM", "particle_R"):
            arrays[name] = getattr(part, name).copy()
            arrays[name][rows + 1] = arrays[name][rows]
        return arrays

    return elements(events, change, CLUSTER.name)


def targets_shifted(events):
    """Give every track the target of the track before it."""

    def change(part):
        names = ("class_R", "charge_R", "momentum_RM", "particle_R")
        return {name: np.roll(getattr(part, name), 1, axis=0) for name in names}

    return elements(events, change, TRACK.name)


def turned(events):
    """Turn the truth by half a radian about the beam."""

    def turn(momentum):
        momentum = momentum.copy()
        phi = np.arctan2(momentum[:, SIN], momentum[:, COS]) + 0.5
        some = momentum[:, PT] > 0
        momentum[some, SIN], momentum[some, COS] = np.sin(phi)[some], np.cos(phi)[some]
        return momentum

    generator = replace(events.generator, momentum_PM=turn(events.generator.momentum_PM))
    changed = elements(events, lambda part: {"momentum_RM": turn(part.momentum_RM)})
    return replace(changed, generator=generator)


def a_number_lost(events):
    features = events.elements["track"].x_RF.copy()
    features[7, TRACK.index("d0")] = np.nan
    return elements(events, lambda _: {"x_RF": features}, "track")


def particles_forgotten(events):
    return elements(events, lambda part: {"particle_R": np.full_like(part.particle_R, NO_PARTICLE)})


def baseline_doubled(events):
    candidates = events.candidates
    momentum = columns(candidates.momentum_PM, pt=2, energy=2)
    return replace(events, candidates=replace(candidates, momentum_PM=momentum))


def unchanged(events):
    return events


SPOILED = {
    "targets 5 % too hard": (targets_scaled(1.05), "track_targets_are_particles"),
    "targets 5 % too soft": (targets_scaled(0.95), "energy_of_particle"),
    "the whole truth 5 % too hard": (truth_scaled(1.05), "track_pt_medium"),
    "targets in MeV": (targets_scaled(1000), "target_energy"),
    "the whole truth in MeV": (truth_scaled(1000), "calorimeter_energy"),
    "clusters in MeV": (features_scaled(CLUSTER, energy=1000), "calorimeter_energy"),
    "clusters in cm": (features_scaled(CLUSTER, x=0.1, y=0.1, z=0.1), "behind_face"),
    "clusters without energy": (features_scaled(CLUSTER, energy=0), "deposits_positive"),
    "classes permuted": (classes_swapped, "class_of_host"),
    "classes permuted everywhere": (classes_swapped_everywhere, "class_of_host"),
    "charges flipped": (charges_flipped, "charge_of_particle"),
    "charges flipped everywhere": (charges_flipped_everywhere, "charge_of_curvature"),
    "a tenth of the targets dropped": (targets_dropped, "target_energy"),
    "targets doubled": (targets_doubled, "one_target_per_particle"),
    "targets of other tracks": (targets_shifted, "track_direction"),
    "truth turned": (turned, "track_direction"),
    "momenta of another field": (features_scaled(TRACK, pt=1.1, p=1.1), "track_pt_medium"),
    "directions without length": (features_scaled(TRACK, sin_phi=1.1), "directions_normalised"),
    "a number lost": (a_number_lost, "numbers_finite"),
    "particles forgotten": (particles_forgotten, "targets_have_particles"),
    "baseline doubled": (baseline_doubled, "baseline_energy"),
}


def test_sound_data_passes_all_gates(sound):
    judgements = judge_physics(sound.store.url, ALL)
    assert judgements.failed == ()
    assert judgements.events == len(sound) == sum(sound.manifest.splits.values())
    assert {gate.process for gate in judgements.gates} == {"qq", "ttbar", "all"}
    assert judgements.count("pass") > 70
    names = {gate.name for gate in judgements.gates}
    assert names == {gate.name for gate in GATES}
    check(judgements)


def test_hits_pass_too(sound_hits):
    judgements = judge_physics(sound_hits.store.url, ALL)
    assert judgements.failed == ()
    assert judgements.count("pass") > 70
    names = {gate.name for gate in judgements.gates}
    assert {gate.name for gate in GATES} - names == {"dangling_hits", "clusters_per_particle"}


def test_files_are_judged_as_their_dataset_is(files, sound, sound_hits):
    for index, mode in ((sound, "clusters"), (sound_hits, "hits")):
        dataset = judge_physics(index.store.url, ALL)
        for path, process in zip(files, ("ttbar", "qq"), strict=True):
            file = judge_physics(path, SampleRequest(mode=mode))
            assert file.failed == ()
            values = [
                {g.name: g.value for g in found.gates if g.process == process}
                for found in (file, dataset)
            ]
            assert values[0] == pytest.approx(values[1], rel=1e-6)


@pytest.mark.parametrize("process", [*PROCESSES, *GUNS])
def test_every_process_and_gun_passes(process, tmp_path):
    multiplicity = 3 if process in GUNS else 1
    path = shoot(tmp_path, process, events=12, seed=2, multiplicity=multiplicity)
    for mode in ("clusters", "hits"):
        judgements = judge_physics(path, SampleRequest(mode=mode))
        assert judgements.failed == ()
        assert judgements.count("pass") >= 15


def test_the_docs_show_all_gates_and_ranges():
    text = (Path(__file__).parents[3] / "docs" / "physics.md").read_text(encoding="utf-8")
    for gate in GATES:
        row = next(line for line in text.splitlines() if line.startswith(f"| {gate.name} |"))
        assert f"| {gate.low:g} .. {gate.high:g} |" in row


def test_a_copy_through_the_writer_passes_too(sound, tmp_path):
    assert judge_physics(spoil(sound, tmp_path / "copy", unchanged), ALL).passed


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_truth_fails(sound, tmp_path, name):
    change, expected = SPOILED[name]
    judgements = judge_physics(spoil(sound, tmp_path / "spoiled", change), ALL)
    assert not judgements.passed
    assert expected in {gate.name for gate in judgements.failed}
    with pytest.raises(DataError, match=r"expected every physics gate to pass, found \d+ that"):
        check(judgements)


SPOILED_HITS = {
    "hits in MeV": (features_scaled(HIT, energy=1000), "calorimeter_energy"),
    "hits in cm": (features_scaled(HIT, x=0.1, y=0.1, z=0.1), "behind_face"),
    **{
        name: SPOILED[name]
        for name in ("targets 5 % too soft", "classes permuted", "a tenth of the targets dropped")
    },
}


@pytest.mark.parametrize("name", SPOILED_HITS)
def test_a_spoiled_truth_of_hits_fails(sound_hits, tmp_path, name):
    change, expected = SPOILED_HITS[name]
    judgements = judge_physics(spoil(sound_hits, tmp_path / "spoiled", change), ALL)
    assert expected in {gate.name for gate in judgements.failed}


def test_a_wrong_field_in_the_manifest_fails(sound, tmp_path):
    url = spoil(sound, tmp_path / "spoiled", unchanged, field=sound.manifest.field * 1.1)
    failed = judge_physics(url, ALL).failed
    assert {gate.name for gate in failed} == {"field_of_tracks"}
    assert failed[0].value == pytest.approx(1 / 1.1, rel=1e-3)


def test_much_dropped_energy_in_the_books_fails(sound, tmp_path):
    truth = sound.manifest.truth.model_copy(
        update={"dropped_energy": 500.0, "dropped_particles": 400}
    )
    url = spoil(sound, tmp_path / "spoiled", unchanged, truth=truth)
    assert [gate.name for gate in judge_physics(url, ALL).failed] == ["dropped_energy"]


def test_too_few_entries_are_counted_and_not_judged(sound):
    judgements = judge_physics(sound.store.url, SampleRequest(events=2))
    open_gates = [gate for gate in judgements.gates if gate.verdict == "not judged"]
    assert len(open_gates) == judgements.as_json()["not_judged"] > 20
    assert all(gate.events < 5 or gate.entries < LEAST_ENTRIES for gate in open_gates)
    assert "not judged" in "\n".join(table(judgements))
    assert judgements.passed  # the exact gates


def test_a_sample_is_spread_over_all_packs_and_processes(sound, tmp_path):
    url = spoil(sound, tmp_path / "copy", unchanged)
    judgements = judge_physics(url, SampleRequest(events=12))
    counted = {
        gate.process: gate.entries
        for gate in judgements.gates
        if gate.name == "merged_energy_in_books"
    }
    assert counted == {"qq": 6, "ttbar": 6}


def test_same_data_same_verdict(sound):
    first, second = (judge_physics(sound.store.url, ALL).as_json() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "detector"),
    [
        ("edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root", "ild"),
        ("clic_gamma_10GeV.root", "clic"),
    ],
)
def test_real_files_pass_as_files_and_as_datasets(edm4hep_files, tmp_path, name, detector):
    path = str(edm4hep_files / name)
    file = judge_physics(path, SampleRequest(detector=detector))
    convert(ConvertRequest([path], str(tmp_path / "data"), detector=detector, process="real"))
    dataset = judge_physics(str(tmp_path / "data"), SampleRequest())
    assert file.passed
    assert dataset.passed
    verdicts = [{gate.name: gate.verdict for gate in found.gates} for found in (file, dataset)]
    assert verdicts[0] == verdicts[1]


@pytest.mark.realdata
def test_a_file_of_another_detector_is_refused(edm4hep_files):
    path = str(edm4hep_files / "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root")
    with pytest.raises(DataError, match="field"):
        judge_physics(path, SampleRequest(detector="clic"))
    with pytest.raises(ConfigError, match=r"--detector of clic, cld, ild, found 'x'"):
        judge_physics(path, SampleRequest(detector="x"))


def test_the_command_prints_all_gates_and_then_fails(sound, tmp_path, capsys):
    main_of = ["inspect", sound.store.url, "--physics", "--json"]
    with pytest.raises(SystemExit) as left:
        main(main_of)
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)["physics"]
    assert found["passed"] is True
    keys = {"name", "value", "error", "low", "high", "entries", "verdict"}
    assert all(keys <= set(gate) for gate in found["gates"])
    url = spoil(sound, tmp_path / "spoiled", targets_dropped)
    for options, shown in ((["--json"], '"passed": false'), ([], "fail       ttbar")):
        with pytest.raises(SystemExit) as left:
            main(["inspect", url, "--physics", *options])
        said = capsys.readouterr()
        assert left.value.code == 3
        assert shown in said.out
        assert "expected every physics gate to pass" in said.err

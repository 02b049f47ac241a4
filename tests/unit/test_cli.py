"""The command line end to end: contract keys on one line of stdout, exit codes, no traceback."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from spoiled import shoot

from mlpf_stream.cli import main

RECIPE = """
stream: {row_budget: 256}
model: {kind: lsh_gnn, width: 16, layers: 1, heads: 2, block: 8}
train: {steps: 3, threads: 1, device: cpu}
"""
VERBS = ("simulate", "download", "convert", "inspect", "train", "evaluate", "report", "schema")
ILD = "edm4hep_ILD_mumuH_v01-00_podio_v01-07_10ev.root"


@pytest.fixture(autouse=True)
def threads():
    """Give torch its threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with simulated pions in `sim`, their dataset in `data`, and a recipe."""
    folder = tmp_path_factory.mktemp("home")
    for seed in (1, 2):
        shoot(folder / "sim", seed=seed)
    (folder / "recipe.yaml").write_text(RECIPE)
    with pytest.raises(SystemExit):
        main(["convert", str(folder / "sim"), "--out", str(folder / "data")])
    return folder


def run(*arguments, code=None, cwd=None):
    """Run a fresh `mlpf`; return what it did."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "mlpf_stream"]), *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, cwd=cwd
    )


@pytest.fixture
def fails(capsys):
    """Return a function that runs a verb in this process and returns what stderr says."""

    def call(code, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert (stop.value.code, captured.out) == (code, ""), captured.err
        assert "Traceback" not in captured.err
        return " ".join(captured.err.split())

    return call


def one_object(process):
    """Return the one JSON object on the one line of stdout."""
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("\n") == 1
    assert process.stdout.endswith("}\n")
    assert "Traceback" not in process.stderr
    return json.loads(process.stdout, parse_constant=pytest.fail)


def test_the_main_job_from_verb_to_verb(tmp_path):
    made = run(
        *("simulate", "--process", "gun-pi", "--events", "60", "--multiplicity", "5"),
        *("--files", "2", "--out", "sim", "--json"),
        cwd=tmp_path,
    )
    simulated = one_object(made)
    assert {"files", "events", "seconds"} <= simulated.keys()
    assert (len(simulated["files"]), simulated["events"]) == (2, 60)
    assert all((tmp_path / name).is_file() for name in simulated["files"])

    converted = one_object(run("convert", "sim", "--out", "data", "--json", cwd=tmp_path))
    expected = {"manifest", "events", "shards", "elements", "skipped", "events_per_second"}
    assert expected <= converted.keys()
    assert (converted["manifest"], converted["events"], converted["skipped"]) == (
        "data/manifest.json",
        60,
        {},
    )
    assert (tmp_path / converted["manifest"]).is_file()

    seen = one_object(run("inspect", "data", "--verify", "--json", cwd=tmp_path))
    assert seen.keys() >= {"kind", "events", "shards", "bytes", "elements", "schema_version"}
    assert seen.keys() >= {"detector", "mode", "length_quantiles", "classes", "verified"}
    assert (seen["kind"], seen["events"], seen["verified"]) == ("dataset", 60, True)
    assert (seen["elements"], seen["shards"]) == (converted["elements"], converted["shards"])
    assert list(seen["length_quantiles"]) == ["p5", "p50", "p95", "max"]

    (tmp_path / "recipe.yaml").write_text(RECIPE)
    overrides = ("run.dir=run", "data.url=data", "train.steps=4")
    process = run("train", "recipe.yaml", *overrides, "--json", cwd=tmp_path)
    trained = one_object(process)
    expected = {"checkpoint", "steps", "events", "first_loss", "last_loss", "valid_loss"}
    assert expected | {"events_per_second", "data_wait_fraction"} <= trained.keys()
    assert trained["steps"] == 4
    assert 0 <= trained["data_wait_fraction"] <= 1
    assert "resuming" not in process.stderr
    assert "4 steps" not in process.stdout
    assert json.loads((tmp_path / "run" / "outcome.json").read_text())["code"] == 0

    judge = ("evaluate", "run", "--data", "data", "--split", "all", "--out", "judged", "--json")
    judged = one_object(run(*judge, cwd=tmp_path))
    assert {"evaluation", "processes", "events"} <= judged.keys()
    assert judged["events"] == 60
    assert list(judged["processes"]) == ["gun-pi"]
    assert set(judged["processes"]["gun-pi"]) == {"mlpf", "baseline", "target"}
    for measures in judged["processes"]["gun-pi"].values():
        assert {"median", "iqr", "matched_fraction"} <= measures["jet"].keys()
        assert measures.keys() == {"jet", "met", "momentum"}
    written = json.loads((tmp_path / judged["evaluation"]).read_text())
    assert written["processes"] == judged["processes"]
    page = one_object(run("report", "run", "judged", "--out", "a/r.html", "--json", cwd=tmp_path))
    assert "gun-pi" in (tmp_path / page["file"]).read_text()


def test_schema_writes_what_it_names(tmp_path):
    payload = one_object(run("schema", "--out", str(tmp_path), "--json"))
    (file,) = payload["files"]
    schema = json.loads(Path(file).read_text())
    assert schema["$defs"]["TrainConfig"]["properties"]["steps"]["default"] == 1000


def test_without_json_stdout_is_for_people(home, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["inspect", str(home / "data")])
    captured = capsys.readouterr()
    assert stop.value.code == 0
    assert "length_quantiles" in captured.out
    with pytest.raises(json.JSONDecodeError):
        json.loads(captured.out)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    assert f"mlpf {verb}" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("simulate", ["default: 500", "default: 4;", "default: clic", "gun-tau"]),
        ("download", ["default: 4", "new bytes [s]", "default: 120.0", "list the sets"]),
        ("convert", ["default: clusters", "default: 0.05", "solenoid field [T]", "measured"]),
        ("report", ["default: report.html"]),
        ("evaluate", ["default: test", "default: 0.7", "[rad]"]),
    ],
)
def test_help_shows_defaults_and_units(verb, words, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for word in words:
        assert word in text


def test_help_names_the_verbs_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert [verb for verb in VERBS if f"\n  {verb} " not in text] == []
    assert "Exit codes: 0 ok" in text


def test_the_version_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.split()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--bogus"],
        ["inspect"],
        ["inspect", "here", "--bogus"],
        ["simulate", "--process", "gun-pi"],
        ["simulate", "--process", "gun-pi", "--out", "x", "--events", "0"],
        ["simulate", "--process", "gun-pi", "--out", "x", "--events", "many"],
        ["convert", "x", "--out", "y", "--mode", "towers"],
        ["convert", "x", "--out", "y", "--max-skipped", "2"],
        ["evaluate", "baseline", "--data", "x", "--out", "y", "--split", "best"],
    ],
)
def test_a_wrong_command_line_is_2_and_says_where_help_is(fails, arguments):
    assert "--help' for help" in fails(2, *arguments)


def test_no_verb_is_help_and_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert "Usage: mlpf" in captured.out + captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["simulate", "--process", "ttH", "--out", "{home}/x"],
            r"error: expected --process of ttbar, .*gun-tau, found 'ttH'",
        ),
        (
            ["convert", "{home}/sim", "--out", "{home}/data", "--title", "other"],
            "found one of another request.*--append.*--overwrite",
        ),
        (
            ["convert", "{home}/sim", "--out", "ftp://bucket/x"],
            "expected a local path.*ftp://bucket",
        ),
        (["convert", "{home}/sim", "--out", "{home}/x", "--detector", "atlas"], "clic, cld, ild"),
        (["convert", "{home}/sim", "--out", "{home}/recipe.yaml"], r"recipe\.yaml.*check the path"),
        (["simulate", "--process", "gun-e", "--out", "{home}/recipe.yaml"], "check the path"),
        (["schema", "--out", "{home}/recipe.yaml"], "check the path"),
        (["train", "{home}/none.yaml"], r"expected a recipe file.*none\.yaml"),
        (["train", "{home}/recipe.yaml"], "data: Field required.*mlpf schema"),
        (
            ["train", "{home}/recipe.yaml", "data.url=x", "train.stepz=3"],
            "train.stepz: no such key",
        ),
        (["train", "{home}/recipe.yaml", "data.url=x", "train.steps=["], "expected a YAML value"),
        (["train", "{home}/recipe.yaml", "data.url=x", "train.steps"], "like train.steps=200"),
        (["train", "{home}/recipe.yaml", "data.url=x", "train.clip_norm=.inf"], "train.clip_norm"),
        (["train", "{home}/sim/gun-pi_1_0.root"], "expected YAML"),
        (
            ["evaluate", "baseline", "--data", "{home}/data", "--out", "x", "--jet-radius", "nan"],
            "expected --jet-radius above 0 rad, found nan",
        ),
    ],
)
def test_bad_settings_are_2_and_say_what_to_do(fails, home, arguments, message):
    text = fails(2, *(argument.format(home=home) for argument in arguments))
    assert re.search(message, text), text


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "{0}/none"],
        ["convert", "{0}/none/*.root", "--out", "{0}/x"],
        ["train", "{0}/recipe.yaml", "data.url={0}/none", "run.dir={0}/none-run"],
        ["evaluate", "baseline", "--data", "{0}/none", "--out", "{0}/x"],
        ["evaluate", "{0}/none", "--data", "{0}/data", "--out", "{0}/x"],
        ["inspect", "{0}/none.root"],
    ],
)
def test_nothing_there_is_3(fails, home, arguments):
    text = fails(3, *(argument.format(home) for argument in arguments))
    assert "error: expected" in text
    assert "none" in text
    assert "check the path" in text or "found nothing at" in text


def test_training_without_data_says_so_in_its_outcome(fails, home, tmp_path):
    fails(3, "train", home / "recipe.yaml", f"data.url={tmp_path}", f"run.dir={tmp_path}/run")
    outcome = json.loads((tmp_path / "run" / "outcome.json").read_text())
    assert (outcome["code"], outcome["retryable"]) == (3, False)


def test_another_schema_version_is_3(fails, home, tmp_path):
    tree = json.loads((home / "data" / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(tree | {"schema_version": 99}))
    for arguments in (
        ["inspect", tmp_path],
        ["evaluate", "baseline", "--data", tmp_path, "--out", tmp_path],
        ["train", home / "recipe.yaml", f"data.url={tmp_path}", f"run.dir={tmp_path}/run"],
    ):
        text = fails(3, *arguments)
        assert "expected schema version 1, found 99" in text
        assert "convert the source files again" in text


def test_a_truncated_file_is_3(fails, home, tmp_path):
    whole = (home / "sim" / "gun-pi_1_0.root").read_bytes()
    (tmp_path / "cut.root").write_bytes(whole[: len(whole) // 2])
    for arguments in (
        ["convert", tmp_path, "--out", tmp_path / "x"],
        ["inspect", f"{tmp_path}/cut.root"],
    ):
        text = fails(3, *arguments)
        assert "cut.root" in text
        assert "truncated; copy or produce it again" in text


def test_another_kind_of_file_is_3(fails, home, tmp_path):
    (tmp_path / "notes.root").write_text("dear diary")
    text = fails(3, "convert", tmp_path, "--out", tmp_path / "x")
    assert "expected a ROOT file, found other bytes" in text
    assert "give an EDM4HEP ROOT file" in text


@pytest.mark.realdata
def test_real_files(fails, edm4hep_files, tmp_path, capsys):
    ild, out = edm4hep_files / ILD, tmp_path / "ild"
    assert "give --process NAME" in fails(2, "convert", ild, "--detector", "ild", "--out", out)
    named = ("convert", ild, "--detector", "ild", "--process", "mumuH", "--out", out)
    assert "use mode 'clusters'" in fails(3, *named, "--mode", "hits")
    delphes = edm4hep_files / "p8_ee_WW_ecm240_edm4hep.root"
    assert "found a Delphes fast-simulation file" in fails(3, "convert", delphes, "--out", out)
    judge = ("evaluate", "baseline", "--data", out, "--split", "all", "--out", tmp_path, "--json")
    payloads = []
    for arguments in ((*named, "--json"), ("inspect", out, "--verify", "--json"), judge):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert stop.value.code == 0, captured.err
        payloads.append(json.loads(captured.out))
    assert (payloads[0]["events"], payloads[1]["field"]) == (10, 2.0)
    momentum = payloads[2]["processes"]["mumuH"]
    assert momentum["baseline"]["momentum"]["median"] == pytest.approx(1.0, abs=0.1)
    assert momentum["target"]["momentum"]["median"] == pytest.approx(1.0, abs=0.1)


def test_a_run_that_cannot_go_on_is_5(fails, home, tmp_path, capsys):
    arguments = ["train", home / "recipe.yaml", f"data.url={home}/data", f"run.dir={tmp_path}/run"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0
    capsys.readouterr()
    assert "give --resume" in fails(2, *arguments)
    text = fails(5, *arguments, "run.seed=9", "--resume")
    assert "expected run.seed 1 as in the checkpoint, found 9" in text
    outcome = json.loads((tmp_path / "run" / "outcome.json").read_text())
    assert outcome["code"] == 5


def test_the_command_line_imports_nothing_heavy():
    code = (
        "import sys, mlpf_stream.cli; "
        "heavy = {'torch', 'uproot', 'awkward', 'pyarrow', 'fastjet', 'ray', 'numpy'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(code=code).stdout == "[]\n"


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("torch", "train", ["train", "recipe.yaml", "data.url=data"]),
        ("torch", "train", ["evaluate", "baseline", "--data", "data", "--out", "x"]),
        ("safetensors", "train", ["train", "recipe.yaml", "data.url=data"]),
        ("fastjet", "physics", ["evaluate", "baseline", "--data", "data", "--out", "x"]),
        ("uproot", "convert", ["convert", "sim", "--out", "x"]),
        ("awkward", "convert", ["inspect", "sim/gun-pi_1_0.root"]),
        ("pythia8mc", "simulate", ["simulate", "--process", "ttbar", "--out", "x"]),
    ],
)
def test_an_absent_package_names_the_extra_to_install(home, package, extra, arguments):
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from mlpf_stream.cli import main; main(sys.argv[1:])"
    )
    process = run(*arguments, code=code, cwd=home)
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    assert f"pip install 'mlpf-stream[{extra}]'" in process.stderr


def test_inspecting_a_dataset_needs_neither_torch_nor_root(home):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'uproot', 'awkward', 'fastjet']))\n"
        "from mlpf_stream.cli import main; main(sys.argv[1:])"
    )
    assert one_object(run("inspect", "data", "--json", code=code, cwd=home))["events"] == 40


def test_a_mistake_of_ours_is_1_with_a_traceback():
    code = (
        "import sys, mlpf_stream.inspect as module\n"
        "def broken(*_, **__): raise KeyError('ours')\n"
        "module.inspect = broken\n"
        "from mlpf_stream.cli import main; main(['inspect', 'x'])"
    )
    process = run(code=code)
    assert process.returncode == 1
    assert "Traceback" in process.stderr

"""Reports through their public face: one page of its own, all numbers on it, refusals."""

import json
import re
import shutil
from html import unescape

import pytest
import yaml

from mlpf_stream.cli import main
from mlpf_stream.errors import ConfigError, MissingDataError, SchemaError
from mlpf_stream.report import report

NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
MEASURES = ("jet", "met", "momentum")
COUNTS = [0, 1, 2, 5, 9, 20, 31, 18, 8, 4]


def spread(median, resolution):
    return {
        "count": 98, "median": median, "iqr": median * resolution, "resolution": resolution,
        "matched_fraction": 0.957, "median_error": 0.0031, "iqr_error": 0.004,
        "resolution_error": 0.0052, "matched_fraction_error": 0.006,
    }  # fmt: skip


def measures(median, resolution):
    tree = {name: spread(median, resolution) for name in MEASURES}
    tree["met"] |= {"resolution_gev": 100 * resolution, "resolution_gev_error": 0.41}
    return tree


def spectra():
    edges = {"first": 0.5, "last": 1.5, "bins": len(COUNTS)}
    part = {"edges": edges, "counts": COUNTS, "underflow": 1, "overflow": 1}
    return dict.fromkeys(MEASURES, part)


def card(simulation="fast: parametrised detector"):
    return {
        "title": "pions & <kaons>", "licence": "CC0", "sources_doi": [], "detector": "clic",
        "mode": "clusters", "field": 4.0, "field_source": "file", "events": 1996,
        "elements": 197599, "elements_by_kind": {"track": 68930, "cluster": 128669},
        "processes": [
            {"name": "qq", "role": "train", "events": 1696},
            {"name": "ZH", "role": "ood", "events": 300},
        ],
        "splits": {"train": 1114, "valid": 144, "test": 738},
        "classes": {"none": 300, "charged_hadron": 500, "photon": 200},
        "lengths": {"width": 16, "counts": [21, 53, 172, 1750]}, "truth_source": "clusters",
        "truth": {"clusters": 1000, "clusters_shared": 265, "clusters_without_target": 469},
        "missing_features": ["track.dedx"], "skipped": {"empty": 4},
        "generators": [{
            "process": "ZH", "events": 300, "seed": 7, "detector": "clic", "files": 4,
            "generator": "Pythia 8", "simulation": simulation,
        }],
    }  # fmt: skip


def evaluation(kind="lsh_gnn", resolution=0.0731):
    parts = {"baseline": measures(0.999, 0.0622), "target": measures(1.0, 0.0034)}
    model = None
    if kind is not None:
        parts["mlpf"] = measures(0.9884, resolution)
        model = {"kind": kind, "parameters": 833858, "digest": "9ac3fdaab3a8a172"}
    return {
        "checkpoint": "runs/a", "data": "data/clic", "dataset_digest": "90b96a10975d2b74",
        "split": "test", "events": 738, "physics": {"jet_radius": 0.7, "bootstrap": 200},
        "processes": {"qq": parts, "ZH": parts}, "model": model, "dataset": card(),
        "histograms": {p: {name: spectra() for name in parts} for p in ("qq", "ZH")},
    }  # fmt: skip


def write_evaluation(folder, tree):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(tree))
    return folder


def write_run(folder, kind="lsh_gnn", steps=200):
    folder.mkdir(parents=True)
    lines = []
    for step in range(steps):
        lines.append({"step": step, "loss": 1 / (step + 1), "learning_rate": 1e-3})
        if step % 50 == 49:
            lines.append({"step": step, "valid_loss": 1.5 / (step + 1)})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = {"steps": steps, "events": 19796, "valid_loss": 0.1647, "parameters": 833858}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "outcome.json").write_text(json.dumps({"code": 0, "message": "done"}))
    recipe = {"model": {"kind": kind, "width": 128}, "train": {"steps": steps}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture
def whole(tmp_path):
    """A run with its evaluation inside, as the demo leaves it."""
    run = write_run(tmp_path / "lsh")
    write_evaluation(run / "evaluation", evaluation())
    return run


@pytest.fixture
def other(tmp_path):
    """A wider second run of the same events."""
    run = write_run(tmp_path / "mlp", kind="mlp")
    write_evaluation(run / "evaluation", evaluation("mlp", 0.1971))
    return run


@pytest.fixture
def page(tmp_path):
    """Return a function that reports on folders and returns the page."""

    def make(*folders):
        out = tmp_path / "pages" / "report.html"
        assert report([str(folder) for folder in folders], str(out)) == str(out)
        return out.read_text(encoding="utf-8")

    return make


def figures(html):
    return set(re.findall(r'id="([\w-]+)-figure_1"', html))


def rows(html):
    """Return the cells of all rows of the results, without markup."""
    table = html[html.index('<table class="results">') :]
    found = re.findall(r"<tr.*?</tr>", table[: table.index("</table>")], re.S)
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        for row in found
    ]


def test_the_page_needs_nothing_but_itself(page, whole, other):
    html = page(whole, other)
    assert set(re.findall(r"https?://[^\"'\s<)]+", html)) <= NAMESPACES
    for reference in re.findall(r"""(?:src|href|action|data|poster)=["']([^"']*)""", html):
        assert reference.startswith("#")
    assert not re.findall(r"@import|@font-face|<(?:script|link|iframe|img|object|embed)\b", html)
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", html))
    assert len(html.encode()) < 3_000_000


def test_names_inside_are_unique_and_all_references_resolve(page, whole, other):
    html = page(whole, other)
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)
    assert used
    assert {a or b for a, b in used} <= set(names)


def test_every_process_and_number_is_there(page, whole):
    html = page(whole)
    table = rows(html)
    assert [row[0] for row in table[1:]] == [
        *("qq", "LSH GNN", "rule-based", "perfect targets"),
        *("ZH &middot; never trained on", "LSH GNN", "rule-based", "perfect targets"),
    ]
    model = [unescape(cell).replace("\N{NO-BREAK SPACE}", " ") for cell in table[2]]
    assert model[1:4] == ["0.988 \xb1 0.003", "0.0731 \xb1 0.0052", "0.957 \xb1 0.006"]
    assert model[5] == "7.31 \xb1 0.41"
    assert figures(html) == {
        *(f"{name}-{process}" for name in MEASURES for process in ("qq", "ZH")),
        *("training", "multiplicity-0"),
    }
    for fact in ("833,858", "19,796", "738", "90b96a10975d2b74", "9ac3fdaab3a8a172", "26.5%"):
        assert fact in html
    assert "pions &amp; &lt;kaons&gt;" in html
    assert "<kaons>" not in html
    assert "--process ZH --events 300 --seed 7" in html


def test_legends_carry_numbers_and_axes_their_units(page, whole):
    html = page(whole)
    words = re.findall(r"<text[^>]*>([^<]+)</text>", html)
    assert words.count("LSH GNN: median 0.988, IQR/median 0.073") == 2 * 2
    assert words.count("LSH GNN: IQR 7.31 GeV") == 2
    assert "LSH GNN: train 0.005, validation 0.007" in words
    assert any("[GeV]" in word for word in words)
    assert words.count("Fast simulation") == len(figures(html))


def test_the_best_is_bold_and_targets_never_are(page, whole, other):
    html = page(whole, other)
    bold = re.findall(r'<tr class="(\w+)">((?:(?!</tr>).)*<td class="best">.*?)</tr>', html, re.S)
    assert {role for role, _ in bold} == {"baseline", "mlpf"}
    (row,) = {body for role, body in bold if role == "baseline"}
    assert '<td class="best">0.0622' in row


def test_two_runs_are_compared(page, whole, other):
    html = page(whole, other)
    assert [row[0] for row in rows(html)[2:6]] == [
        *("LSH GNN", "MLP", "rule-based", "perfect targets"),
    ]
    assert "LSH GNN has the narrower jets" in html
    assert "(2 of 2 processes)" in html
    words = re.findall(r"<text[^>]*>([^<]+)</text>", html)
    assert "MLP: median 0.988, IQR/median 0.197" in words
    assert '<tr class="differs"><th scope="row">model.kind</th>' in html
    assert "must not be compared" not in html


def test_runs_of_one_kind_are_told_apart_by_their_folders(page, whole, tmp_path):
    again = shutil.copytree(whole, tmp_path / "again")
    html = page(whole, again)
    names = [row[0] for row in rows(html)]
    assert "LSH GNN (lsh)" in names
    assert "LSH GNN (again)" in names
    assert f"<code>{again}</code>" in html
    assert names.count("rule-based") == 2


def test_folders_of_one_name_are_told_apart_by_those_above(page, whole, tmp_path):
    again = shutil.copytree(whole, tmp_path / "again" / "lsh")
    names = {row[0] for row in rows(page(whole, again))}
    assert {f"LSH GNN ({tmp_path.name}/lsh)", "LSH GNN (again/lsh)"} <= names


def test_other_events_are_not_compared(page, whole, tmp_path):
    tree = evaluation("mlp", 0.02) | {"split": "valid"}
    elsewhere = write_evaluation(tmp_path / "elsewhere", tree)
    html = page(whole, elsewhere)
    assert "must not be compared" in html
    assert 'class="best"' not in html
    assert "narrower" not in html
    assert "rule-based (MLP)" in html


def test_a_run_without_evaluation_has_its_curves(page, tmp_path):
    html = page(write_run(tmp_path / "run"))
    assert figures(html) == {"training"}
    assert "no evaluation in" in html
    assert '<table class="results">' not in html


def test_an_evaluation_without_a_run_has_its_results(page, tmp_path):
    html = page(write_evaluation(tmp_path / "judged", evaluation()))
    assert "training" not in figures(html)
    assert "jet-ZH" in figures(html)
    assert "no training in" in html


def test_the_baseline_alone_can_be_shown(page, tmp_path):
    html = page(write_evaluation(tmp_path / "judged", evaluation(kind=None)))
    assert [row[0] for row in rows(html)[2:4]] == ["rule-based", "perfect targets"]
    assert "no training in" not in html


def test_an_older_evaluation_has_its_table(page, tmp_path):
    tree = evaluation()
    for name in ("histograms", "dataset", "model"):
        del tree[name]
    html = page(write_evaluation(tmp_path / "judged", tree))
    assert figures(html) == set()
    assert "run &#x27;mlpf evaluate&#x27; again" in html
    assert len(rows(html)) == 9


def test_full_simulation_is_not_called_fast(page, tmp_path):
    tree = evaluation() | {"dataset": card("full: Geant4")}
    assert "fast simulation" not in page(write_evaluation(tmp_path / "judged", tree)).lower()


def test_numbers_that_are_missing_are_dashes(page, tmp_path):
    tree = evaluation()
    nothing = dict.fromkeys(spread(1, 1)) | {"count": 0}
    tree["processes"]["ZH"] = {"mlpf": dict.fromkeys(MEASURES, nothing)}
    empty = {"edges": {"first": 0, "last": 2, "bins": 4}, "counts": [0] * 4}
    tree["histograms"]["ZH"] = {"mlpf": dict.fromkeys(MEASURES, empty)}
    html = page(write_evaluation(tmp_path / "judged", tree))
    assert ["LSH GNN", *["&ndash;"] * 7] in rows(html)
    assert "nan" not in re.sub(r"<[^>]*>", "", html[html.index("<body>") :]).lower().split()


def test_same_files_same_bytes(page, whole, other):
    assert page(whole, other) == page(whole, other)


def test_a_running_run_is_shown(page, tmp_path):
    run = write_run(tmp_path / "run")
    for name in ("summary.json", "outcome.json"):
        (run / name).unlink()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 200, "loss": NaN}\n{"step": 201, "lo')
    html = page(run)
    assert figures(html) == {"training"}
    assert "not ended" in html


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_nothing_to_report_is_named(tmp_path, name, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    out = tmp_path / "report.html"
    with pytest.raises(MissingDataError, match=f"{name}'"):
        report([str(tmp_path / name)], str(out))
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path / name), "--out", str(out)])
    assert stop.value.code == 3
    assert "expected" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("evaluation/evaluation.json", "{", "evaluation.json"),
        ("evaluation/evaluation.json", "[]", "evaluation.json"),
        ("evaluation/evaluation.json", json.dumps({"checkpoint": "x"}), "data: Field required"),
        ("metrics.jsonl", '{"step": 0}\n{"step"\n{"step": 2}\n', "line 2"),
        ("summary.json", '{"steps": "many"}', "steps"),
        ("outcome.json", "null", "outcome.json"),
        ("recipe.yaml", "a: [", "YAML"),
        ("recipe.yaml", "- 1", "recipe"),
    ],
)
def test_files_of_another_kind_are_refused(whole, tmp_path, name, content, match):
    (whole / name).write_text(content)
    with pytest.raises(SchemaError, match=match):
        report([str(whole)], str(tmp_path / "report.html"))


def test_counts_that_do_not_fit_their_bins_are_refused(tmp_path):
    tree = evaluation()
    tree["histograms"]["ZH"]["mlpf"]["jet"] = spectra()["jet"] | {"counts": [1, 2]}
    folder = write_evaluation(tmp_path / "judged", tree)
    with pytest.raises(SchemaError, match=r"expected 10 counts.*ZH mlpf.*found 2"):
        report([str(folder)], str(tmp_path / "report.html"))


def test_a_folder_given_twice_is_refused(whole, tmp_path):
    with pytest.raises(ConfigError, match="name each once"):
        report([str(whole), str(whole)], str(tmp_path / "report.html"))


def test_the_verb_names_its_file_on_one_line(whole, tmp_path, capsys):
    out = str(tmp_path / "page.html")
    with pytest.raises(SystemExit) as stop:
        main(["report", str(whole), "--out", out, "--json"])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out.count("\n")) == (0, 1)
    assert json.loads(captured.out) == {"file": out}

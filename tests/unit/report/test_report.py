"""Reports through their public face: one page of its own, all numbers on it, refusals."""

import json
import re
import shutil
from functools import partial
from html import unescape

import pytest
from report_files import (
    MEASURES,
    card,
    evaluation,
    jsonl,
    run_files,
    spread,
    timing,
    write_evaluation,
    write_other,
    write_run,
    write_whole,
)

from mlpf_stream.cli import main
from mlpf_stream.errors import ConfigError, MissingDataError, SchemaError
from mlpf_stream.report import report
from mlpf_stream.storage import open_store

NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
CURVES = {"loss", "classification", "charge", "regression", "gradient", "rate"}
SPEED = {"throughput", "step-time", "real-rows"}


@pytest.fixture
def whole(tmp_path):
    """A run that a test may change; of one process, so that it is drawn fast."""
    run, tree = write_whole(tmp_path), evaluation()
    for part in ("processes", "histograms"):
        del tree[part]["ZH"]
    write_evaluation(run / "evaluation", tree)
    return run


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The page of one run."""
    return make(tmp_path_factory.mktemp("one"), write_whole(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The page of two runs."""
    runs = tmp_path_factory.mktemp("runs")
    return make(tmp_path_factory.mktemp("two"), write_whole(runs), write_other(runs))


@pytest.fixture
def page(tmp_path):
    """Return a function that reports on folders and returns the page."""
    return partial(make, tmp_path / "pages")


def make(where, *folders):
    out = where / "report.html"
    assert report([str(folder) for folder in folders], str(out)) == str(out)
    return out.read_text(encoding="utf-8")


def figures(html):
    return set(re.findall(r'id="([\w-]+)-figure_1"', html))


def words(html):
    """Return all plain words inside figures."""
    return [unescape(word) for word in re.findall(r"<text[^>]*>([^<]+)</text>", html)]


def facts(html, name):
    """Return the cells of a row that has this name."""
    row = html[html.index(f'<th scope="row">{name}</th>') :].partition("</tr>")[0]
    return [unescape(re.sub("<[^>]+>", "", cell)) for cell in row.split("<td")[1:]]


def rows(html):
    """Return the cells of all rows of the results, without markup."""
    table = html[html.index('<table class="results">') :]
    found = re.findall(r"<tr.*?</tr>", table[: table.index("</table>")], re.S)
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        for row in found
    ]


def test_the_page_needs_nothing_but_itself(two):
    html = two
    assert set(re.findall(r"https?://[^\"'\s<)]+", html)) <= NAMESPACES
    for reference in re.findall(r"""(?:src|href|action|data|poster)=["']([^"']*)""", html):
        assert reference.startswith("#")
    assert not re.findall(r"@import|@font-face|<(?:script|link|iframe|img|object|embed)\b", html)
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)\)", html))
    assert len(html.encode()) < 3_000_000


def test_names_inside_are_unique_and_all_references_resolve(two):
    html = two
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names))
    used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html)
    assert used
    assert {a or b for a, b in used} <= set(names)


def test_every_process_and_number_is_there(one):
    html = one
    table = rows(html)
    assert [row[0] for row in table[1:]] == [
        *("qq: 98 events", "LSH GNN", "rule-based", "perfect targets"),
        *("ZH, never trained on: 98 events", "LSH GNN", "rule-based", "perfect targets"),
    ]
    model = [unescape(cell).replace("\N{NO-BREAK SPACE}", " ") for cell in table[2]]
    assert model[1:4] == ["0.9884 \xb1 0.0031", "0.073 \xb1 0.005", "0.957 \xb1 0.006"]
    assert model[5] == "7.3 \xb1 0.4"
    assert figures(html) == {
        *(f"{name}-{process}" for name in MEASURES for process in ("qq", "ZH")),
        *CURVES,
        *SPEED,
        *("overview-jet", "overview-met", "multiplicity-0"),
    }
    for fact in ("833,858", "19,796", "738", "90b96a10975d2b74", "9ac3fdaab3a8a172", "26.5%"):
        assert fact in html
    assert "pions &amp; &lt;kaons&gt;" in html
    assert "<kaons>" not in html
    assert "--process ZH --events 300 --seed 7" in html


def test_legends_carry_numbers_and_axes_their_units(one):
    said = words(one)
    figure = said[said.index("median") :]
    assert figure[:15] == [
        *("median", "IQR/median", "matched"),
        *("LSH GNN", "0.988", "0.073 \xb1 0.005", "0.957"),
        *("rule-based", "0.999", "0.062 \xb1 0.005", "0.957"),
        *("perfect targets", "1.000", "0.003 \xb1 0.005", "0.957"),
    ]
    assert said.count("IQR [GeV]") == 2
    assert said.count("7.3 \xb1 0.4") == 2
    assert any("Time per step [ms]" in word for word in said)
    assert said.count("Fast simulation") == said.count("CLIC-like") > 0


def test_speed_and_padding_are_those_of_the_journal(one):
    html = one
    known = {
        "ranks": "2",
        "launcher": "ray",
        "engine": "direct",
        "events per second": "50.0",
        "time waiting for data": "12.5%",
        "time in steps": "40.0 s",
        "time per step": "200 ms",
        "elements per second": "4,500",
        r"real rows (not padding)": "90.0%",
    }
    for name, value in known.items():
        (cell,) = facts(html, name)
        assert cell.endswith(f">{value}"), name
    said = words(html)
    assert {"Events per second", "Real rows [%]", "200", "12.5%", "90.0%"} <= set(said)


def test_steps_computed_again_after_a_resume_count_once(page, whole):
    slow = [line | {"seconds": 99.0} for line in timing(200)[5:8]]
    again = timing(200)
    (whole / "timing.jsonl").write_text(jsonl([*again[:5], *slow, *again[5:]]))
    assert facts(page(whole), "time in steps")[0].endswith(">40.0 s")


def test_an_older_run_has_no_curves_of_speed(page, whole):
    (whole / "timing.jsonl").unlink()
    html = page(whole)
    assert not figures(html) & SPEED
    assert figures(html) >= CURVES
    assert "No timing.jsonl" in html
    assert facts(html, "ranks")[0].endswith(">2")


def test_contents_name_every_section(two):
    html = two
    nav = html[html.index("<nav") : html.index("</nav>")]
    linked = re.findall(r'href="#([^"]+)"', nav)
    assert linked == re.findall(r'<h2 id="([^"]+)"', html)
    assert linked == [
        *("results", "jet", "met", "momentum", "training", "speed", "networks", "data-0", "made"),
    ]


def test_objects_in_a_store_are_read_like_files(page, whole, one):
    store = open_store("memory://reports/lsh/")
    for name, content in run_files().items():
        store.write(name, content.encode())
    store.write("evaluation/evaluation.json", json.dumps(evaluation()).encode())
    html = page("memory://reports/lsh")
    assert figures(html) == figures(one)
    assert rows(html) == rows(one)
    assert "memory://reports/lsh/evaluation" in html
    both = {row[0] for row in rows(page("memory://reports/lsh", whole))}
    assert {"LSH GNN (reports/lsh)", f"LSH GNN ({whole.parent.name}/lsh)"} <= both


def test_the_longest_event_is_known_to_a_bin(one):
    assert "filled up to the longest event (up to 64 rows)" in one


def test_the_best_is_bold_and_targets_never_are(two):
    html = two
    bold = re.findall(r'<tr class="(\w+)">((?:(?!</tr>).)*<td class="best">.*?)</tr>', html, re.S)
    assert {role for role, _ in bold} == {"baseline", "mlpf"}
    (row,) = {body for role, body in bold if role == "baseline"}
    assert '<td class="best">0.062' in row


def test_two_runs_are_compared(two):
    html = two
    assert [row[0] for row in rows(html)[2:6]] == [
        *("LSH GNN", "MLP", "rule-based", "perfect targets"),
    ]
    assert "LSH GNN has narrower jets than MLP, by more than both errors" in html
    assert "(2 of 2 processes)" in html
    assert "0.197 \xb1 0.005" in words(html)
    assert '<tr class="differs"><th scope="row">model.kind</th>' in html
    assert "must not be compared" not in html


def test_runs_of_one_kind_are_told_apart_by_their_folders(page, whole, tmp_path):
    again = shutil.copytree(whole, tmp_path / "again")
    html = page(whole, again)
    names = [row[0] for row in rows(html)]
    assert "LSH GNN (lsh)" in names
    assert "LSH GNN (again)" in names
    assert f"<code>{again}</code>" in html
    assert names.count("rule-based") == 1


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
    assert figures(html) == CURVES | SPEED
    assert "no evaluation in" in html
    assert '<table class="results">' not in html


def test_an_evaluation_without_a_run_has_its_results(page, tmp_path):
    html = page(write_evaluation(tmp_path / "judged", evaluation()))
    assert not figures(html) & (CURVES | SPEED)
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
    assert figures(html) == {"overview-jet", "overview-met"}
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


def test_same_files_same_bytes(page, whole):
    assert page(whole) == page(whole)


def test_a_running_run_is_shown(page, tmp_path):
    run = write_run(tmp_path / "run")
    for name in ("summary.json", "outcome.json"):
        (run / name).unlink()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 200, "loss": NaN}\n{"step": 201, "lo')
    html = page(run)
    assert figures(html) == CURVES | SPEED
    assert "not ended" in html
    assert "cut short" not in html


def test_lines_cut_short_by_a_kill_are_left_out_and_counted(page, whole):
    lines = (whole / "metrics.jsonl").read_text().splitlines()
    lines[7] = lines[7][:20]
    (whole / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    html = page(whole)
    assert figures(html) >= CURVES
    assert "1 line(s) of its journals were cut short" in html


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
        ("metrics.jsonl", '{"step": 0}\n{"step"\n{"step"\n', "line 2 first"),
        ("metrics.jsonl", '{"step": 0}\n\0\0\n{"step": 2}\n', "line 2"),
        ("metrics.jsonl", '{"step": 0}\n{"step": "two"}\n', "line 2.*step"),
        ("timing.jsonl", "not a journal", "timing.jsonl' line 1"),
        ("timing.jsonl", '{"step": 9, "events": -1}\n', "line 1.*events"),
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
    tree["histograms"]["ZH"]["mlpf"]["jet"] |= {"counts": [1, 2]}
    folder = write_evaluation(tmp_path / "judged", tree)
    with pytest.raises(SchemaError, match=r"expected 80 counts.*mlpf.*found 2"):
        report([str(folder)], str(tmp_path / "report.html"))


def test_a_folder_given_twice_is_refused(whole, tmp_path):
    for again in (str(whole), f"{whole}/", f"{whole}/."):
        with pytest.raises(ConfigError, match="name each once"):
            report([str(whole), again], str(tmp_path / "report.html"))


def test_a_page_is_written_to_a_local_file(whole):
    with pytest.raises(ConfigError, match="local path"):
        report([str(whole)], "s3://bucket/report.html")


def test_the_verb_names_its_file_on_one_line(whole, tmp_path, capsys):
    out = str(tmp_path / "page.html")
    with pytest.raises(SystemExit) as stop:
        main(["report", str(whole), "--out", out, "--json"])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out.count("\n")) == (0, 1)
    assert json.loads(captured.out) == {"file": out}

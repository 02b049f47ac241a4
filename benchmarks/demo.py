"""`make demo`: the main job end to end, through the same verbs that a user calls.

Simulate events to train on (ttbar, qq) and events never trained on (WW, ZH), convert them, judge
the physics of their truth, train the LSH graph network and a per-element network of the same size
on the same batches, evaluate both, print one table and draw one report and one event. Training runs
under a local Ray: two ranks, fed by Ray Data.
Ends with an error if the graph network is not ahead of the per-element network by more than the
printed errors, or if the data are too easy.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRAINED_ON = ("ttbar", "qq")
NEVER_TRAINED_ON = ("WW", "ZH")
LEAST_SHARED = 0.20
WITHOUT_TARGET = (0.30, 0.50)

Tree = dict[str, dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much the demo does."""

    train_events: int = 700
    other_events: int = 300
    steps: int = 800
    workers: int = 2
    ranks: int = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    process: str
    name: str
    measures: dict[str, dict[str, float]]


def main() -> int:
    """Run the demo; return 0 if the graph network earns its keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--out", default=str(ROOT / "demo-output"), help="folder; emptied first")
    parser.add_argument("--steps", type=int, default=DemoSize().steps, help="training steps")
    options = parser.parse_args()
    out = Path(options.out)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started = time.perf_counter()
    size = DemoSize(steps=options.steps)
    card = _make_data(out, size)
    trained = {model: _train(out, model, size) for model in ("lsh", "mlp")}
    trees = {model: _evaluate(out, model) for model in trained}
    rows = _rows(trees)
    verdict, ahead = _judge(trees)
    page = _report(out, tuple(trained))
    seconds = time.perf_counter() - started
    text = [*_data_lines(card), "", *_table(rows), "", *verdict, *_next(out, page, seconds)]
    if not options.json:
        print("\n".join(text))
    (out / "results.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    result = {
        "seconds": seconds,
        "data": card,
        "training": trained,
        "processes": trees,
        "ahead": ahead,
    }
    (out / "results.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result))
    return 0 if ahead and not _too_easy(card) else 1


def _make_data(out: Path, size: DemoSize) -> dict[str, float]:
    """Simulate and convert; return the numbers that say how hard the data are."""
    for seed, process in enumerate((*TRAINED_ON, *NEVER_TRAINED_ON)):
        events = size.train_events if process in TRAINED_ON else size.other_events
        _mlpf(
            "simulate", "--process", process, "--events", events, "--seed", 100 + seed,
            "--out", out / "edm4hep", "--workers", size.workers,
        )  # fmt: skip
    _mlpf(
        "convert", out / "edm4hep", "--out", out / "dataset", "--workers", size.workers,
        "--title", "demo: CLIC-like fast simulation at 380 GeV",
    )  # fmt: skip
    tree = _mlpf("inspect", out / "dataset", "--verify", "--physics")
    return {
        "events": tree["events"],
        "elements": tree["elements"],
        "length_p50": tree["length_quantiles"]["p50"],
        "clusters_shared": tree["shared_cluster_fraction"],
        "clusters_without_target": tree["untargeted_cluster_fraction"],
        "gates_judged": tree["physics"]["judged"],
        "gates_failed": tree["physics"]["failed"],
    }


def _train(out: Path, model: str, size: DemoSize) -> dict[str, float]:
    """Train one model by its recipe; both see the same batches in the same order.

    A local Ray starts two ranks, and Ray Data feeds them; on a single core they share it.
    """
    cores = len(os.sched_getaffinity(0))
    return _mlpf(
        "train", ROOT / "recipes" / f"clic-{model}-cpu.yaml", f"run.dir={out / model}",
        f"data.url={out / 'dataset'}", f"train.steps={size.steps}",
        "train.launcher=ray", f"train.ranks={size.ranks}",
        f"ray.cpus_per_rank={min(1.0, cores / size.ranks)}",
    )  # fmt: skip


def _evaluate(out: Path, model: str) -> Tree:
    tree = _mlpf(
        "evaluate", out / model, "--data", out / "dataset", "--out", out / model / "evaluation"
    )
    processes: Tree = tree["processes"]
    return processes


def _report(out: Path, models: Sequence[str]) -> Path:
    """Draw both runs side by side, and one event with what the first model makes of it."""
    _mlpf("report", *(out / model for model in models), "--out", out / "report.html")
    _mlpf("display", out / "dataset", "--model", out / models[0], "--out", out / "event.html")
    return out / "report.html"


def _rows(trees: dict[str, Tree]) -> list[Row]:
    rows = []
    for process in (*TRAINED_ON, *NEVER_TRAINED_ON):
        parts = trees["lsh"][process]
        rows.append(Row(process, "LSH GNN", parts["mlpf"]))
        rows.append(Row(process, "MLP", trees["mlp"][process]["mlpf"]))
        rows.append(Row(process, "rule-based", parts["baseline"]))
        rows.append(Row(process, "perfect", parts["target"]))
    return rows


def _table(rows: Sequence[Row]) -> list[str]:
    """Return the results: response is reconstructed / generated; errors are bootstrap errors."""
    head = (
        f"{'process':8}{'particles':12}{'jet median':>16}{'jet IQR/median':>19}{'matched':>9}"
        f"{'MET resp.':>11}{'MET res. [GeV]':>19}{'sum |p| median':>16}{'IQR':>8}"
    )
    lines = [head, "-" * len(head)]
    for row in rows:
        if row.name == "LSH GNN" and len(lines) > 2:
            lines.append("")
        jet, met, momentum = (row.measures[name] for name in ("jet", "met", "momentum"))
        lines.append(
            f"{row.process:8}{row.name:12}{jet['median']:8.3f} +- {jet['median_error']:.3f}"
            f"{jet['resolution']:10.4f} +- {jet['resolution_error']:.4f}"
            f"{jet['matched_fraction']:9.3f}{met['median']:11.3f}"
            f"{met['resolution_gev']:11.2f} +- {met['resolution_gev_error']:.2f}"
            f"{momentum['median']:16.3f}{momentum['iqr']:8.4f}"
        )
    return lines


def _judge(trees: dict[str, Tree]) -> tuple[list[str], bool]:
    """Return whether the graph network is ahead in the jets of every never-trained process."""
    lines, ahead = [], True
    for process in NEVER_TRAINED_ON:
        gnn, mlp = (trees[model][process]["mlpf"]["jet"] for model in ("lsh", "mlp"))
        gain = mlp["resolution"] - gnn["resolution"]
        error = mlp["resolution_error"] + gnn["resolution_error"]
        better = gain > error
        ahead = ahead and better
        lines.append(
            f"{process}: jet IQR/median of the GNN is {gain:+.4f} below the MLP's; "
            f"the two errors add up to {error:.4f}: {'ahead' if better else 'NOT AHEAD'}"
        )
    return lines, ahead


def _too_easy(card: dict[str, float]) -> bool:
    """Return whether the data lack the confusion that makes particle flow a task."""
    low, high = WITHOUT_TARGET
    return (
        card["clusters_shared"] < LEAST_SHARED or not low <= card["clusters_without_target"] <= high
    )


def _data_lines(card: dict[str, float]) -> list[str]:
    low, high = WITHOUT_TARGET
    return [
        "",
        f"data: {card['events']:,} events (fast simulation), {card['elements']:,} elements, "
        f"median {card['length_p50']} per event",
        f"clusters that hold two particles: {card['clusters_shared']:.0%} (at least "
        f"{LEAST_SHARED:.0%}); without target: {card['clusters_without_target']:.0%} "
        f"({low:.0%} to {high:.0%}){'  TOO EASY' if _too_easy(card) else ''}",
        f"physics gates of the truth: {card['gates_judged']} judged, {card['gates_failed']} failed",
    ]


def _next(out: Path, page: Path, seconds: float) -> list[str]:
    folder = _shown(out)
    return [
        "",
        f"done in {seconds:.0f} s; everything is in {folder}",
        f"report: {_shown(page)}; one event in 3-D: {folder}/event.html",
        "try next:",
        f"  .venv/bin/mlpf inspect {folder}/dataset --physics",
        f"  .venv/bin/mlpf convert {folder}/edm4hep --mode hits --out hits",
        f"  .venv/bin/mlpf evaluate {folder}/lsh --data {folder}/dataset --out eval --split valid",
        f"  .venv/bin/mlpf train recipes/clic-lsh-cpu.yaml run.dir={folder}/longer "
        f"data.url={folder}/dataset train.steps=3000",
        "  .venv/bin/mlpf convert YOUR_FILES.root --detector clic --process NAME --out your-data",
    ]


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _mlpf(*arguments: object) -> dict[str, Any]:
    """Run one verb as a user would, its progress on the screen; return its JSON.

    Ends the demo with the verb's exit code if it fails.
    """
    words = [str(word) for word in arguments]
    print(
        "$ mlpf " + " ".join(_shown(Path(w)) if w.startswith("/") else w for w in words),
        file=sys.stderr,
        flush=True,
    )
    command = [sys.executable, "-m", "mlpf_stream", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    tree: dict[str, Any] = json.loads(done.stdout)
    return tree


if __name__ == "__main__":
    sys.exit(main())

"""Files as evaluate and train leave them, made up: what the tests of the report read."""

import json
import math
import random

import yaml

MEASURES = ("jet", "met", "momentum")
EDGES = {"jet": (0.0, 2.0), "met": (-40.0, 40.0), "momentum": (0.5, 1.5)}
BINS = 80


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


def spectra(resolution):
    """Histograms of normal distributions of that width."""
    parts = {}
    for name, (first, last) in EDGES.items():
        middle, width = (first + last) / 2, (last - first) / BINS
        sigma = max(resolution * (100 if name == "met" else 1) / 1.35, width / 4)
        counts = [
            round(1000 * math.exp(-0.5 * ((first + (k + 0.5) * width - middle) / sigma) ** 2))
            for k in range(BINS)
        ]
        edges = {"first": first, "last": last, "bins": BINS}
        parts[name] = {"edges": edges, "counts": counts, "underflow": 1, "overflow": 1}
    return parts


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
    widths = {"baseline": 0.0622, "target": 0.0034}
    model = None
    if kind is not None:
        widths["mlpf"] = resolution
        model = {"kind": kind, "parameters": 833858, "digest": "9ac3fdaab3a8a172"}
    medians = {"baseline": 0.999, "target": 1.0, "mlpf": 0.9884}
    parts = {name: measures(medians[name], width) for name, width in widths.items()}
    lines = {name: spectra(width) for name, width in widths.items()}
    return {
        "checkpoint": "runs/a", "data": "data/clic", "dataset_digest": "90b96a10975d2b74",
        "split": "test", "events": 738, "physics": {"jet_radius": 0.7, "bootstrap": 200},
        "processes": {"qq": parts, "ZH": parts}, "model": model, "dataset": card(),
        "histograms": {"qq": lines, "ZH": lines},
    }  # fmt: skip


def metrics(steps):
    """A loss that falls and scatters, validated every fifty steps."""
    dice, lines = random.Random(1), []
    for step in range(steps):
        loss = (0.2 + 1 / (step + 1)) * dice.uniform(0.9, 1.1)
        line = {"step": step, "epoch": step // 100, "loss": loss, "learning_rate": 1e-3}
        line |= {"classification": 0.6 * loss, "charge": 0.1 * loss, "regression": 0.3 * loss}
        lines.append(line | {"gradient_norm": 5 * loss})
        if step % 50 == 49:
            lines.append({"step": step, "epoch": step // 100, "valid_loss": 1.1 * loss})
    return lines


def timing(steps):
    """Sums over ten steps each: 100 events in two seconds, an eighth of them waiting."""
    line = {"events": 100, "rows": 9000, "computed_rows": 10000}
    line |= {"seconds": 2.0, "wait_seconds": 0.25}
    return [{"step": step, **line} for step in range(9, steps, 10)]


def jsonl(lines):
    return "".join(json.dumps(line) + "\n" for line in lines)


def run_files(kind="lsh_gnn", steps=200):
    """The files of a run, by name."""
    summary = {"steps": steps, "events": 19796, "valid_loss": 0.1647, "parameters": 833858}
    summary |= {"ranks": 2, "launcher": "ray", "engine": "direct"}
    recipe = {"model": {"kind": kind, "width": 128}, "train": {"steps": steps}}
    return {
        "metrics.jsonl": jsonl(metrics(steps)),
        "timing.jsonl": jsonl(timing(steps)),
        "summary.json": json.dumps(summary),
        "outcome.json": json.dumps({"code": 0, "message": "done"}),
        "recipe.yaml": yaml.safe_dump(recipe),
    }


def write_run(folder, kind="lsh_gnn", steps=200):
    folder.mkdir(parents=True)
    for name, content in run_files(kind, steps).items():
        (folder / name).write_text(content)
    return folder


def write_evaluation(folder, tree):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(tree))
    return folder


def write_whole(folder):
    """Write a run with its evaluation inside, as the demo leaves it."""
    run = write_run(folder / "lsh")
    write_evaluation(run / "evaluation", evaluation())
    return run


def write_other(folder):
    """Write a wider second run of the same events."""
    run = write_run(folder / "mlp", kind="mlp")
    write_evaluation(run / "evaluation", evaluation("mlp", 0.1971))
    return run

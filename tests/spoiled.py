"""Simulated files with faults put in, through the public reader and writer."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mlpf_stream.edm4hep.leaves import all_leaves
from mlpf_stream.edm4hep.reader import open_events
from mlpf_stream.edm4hep.writer import write_collections
from mlpf_stream.event import Jagged
from mlpf_stream.simulate import SimulateRequest, simulate


def shoot(folder, process="gun-pi", events=20, seed=1, multiplicity=4):
    """Simulate one file of a gun and return its path."""
    request = SimulateRequest(
        process, events, seed, str(folder), files=1, multiplicity=multiplicity
    )
    return simulate(request).files[0]


def spoil(path, out, *changes, process="gun-pi"):
    """Write a copy of a file with changes made to its collections; return its path."""
    with open_events(str(path)) as file:
        collections = file.first(all_leaves(), file.entries)
    leaves = dict(collections.leaves)
    for change in changes:
        change(leaves)
    copy = replace(collections, leaves=leaves)
    write_collections(str(out), copy, process=process, generator={"spoiled": len(changes)})
    return str(Path(out))


def not_a_number(leaf, event):
    """Make the first number of a leaf in an event NaN."""

    def change(leaves):
        rows = leaves[leaf]
        values = rows.values.copy()
        values[rows.offsets[event]] = np.nan
        leaves[leaf] = Jagged(values, rows.offsets)

    return change


def without_rows(event, *collections):
    """Remove all rows of an event: of every leaf, or of those whose collection is named."""

    def change(leaves):
        for name, rows in leaves.items():
            owner = name.partition(".")[0].strip("_")
            if collections and not owner.startswith(collections):
                continue
            parts = [rows[e] if e != event else rows[e][:0] for e in range(rows.events)]
            leaves[name] = Jagged.from_counts(np.concatenate(parts), [len(p) for p in parts])

    return change


def reach_outside(event):
    """Let a track of an event own states that are not there."""

    def change(leaves):
        rows = leaves["SiTracks_Refitted.trackStates_end"]
        values = rows.values.copy()
        values[rows.offsets[event]] = 10_000
        leaves["SiTracks_Refitted.trackStates_end"] = Jagged(values, rows.offsets)

    return change


def weaken_field(leaves):
    """Halve all curvatures, as if the solenoid had half its field."""
    name = "_SiTracks_Refitted_trackStates.omega"
    leaves[name] = Jagged(leaves[name].values / 2, leaves[name].offsets)


def point_at(relation, event, row):
    """Let the first reference of a relation in an event point at another row."""

    def change(leaves):
        index = leaves[f"{relation}.index"]
        values = index.values.copy()
        values[index.offsets[event]] = row
        leaves[f"{relation}.index"] = Jagged(values, index.offsets)

    return change

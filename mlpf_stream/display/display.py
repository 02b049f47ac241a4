"""`mlpf display`: choose an event, draw what was measured beside what is true and reconstructed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mlpf_stream.columns import CLASSES, CLUSTER, HIT, KINDS, TRACK
from mlpf_stream.display.choice import Choice, EventRequest, choose_event
from mlpf_stream.display.figure import figure, library, views
from mlpf_stream.display.page import Page, render
from mlpf_stream.display.scene import core, extent, measured, reconstructed, target_numbers
from mlpf_stream.errors import ConfigError
from mlpf_stream.event import I64, Particles

LISTED: Final = 20
"""Targets that are listed in words."""
ROWS: Final = 1024
"""Rows of a batch, where the event is not longer."""

Sources = dict[str, tuple[Particles, I64 | None]]


@dataclass(frozen=True, slots=True)
class DisplayRequest:
    """Which event to draw where; `model` is a checkpoint whose candidates are drawn too."""

    event: EventRequest
    out: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Display:
    """The file, the event in it, and its number in the dataset or file."""

    file: str
    key: str
    number: int
    split: str


def display(request: DisplayRequest) -> Display:
    """Write the page of an event.

    Raises:
        ConfigError: no such event, a model for other elements, or a file that cannot be written.
        MissingDataError: nothing there. DataError: it cannot be read.
        MissingExtraError: plotly is not installed.
    """
    choice = choose_event(request.event)
    text = render(_page(choice, _sources(choice, request.model)), library())
    place = Path(request.out)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"expected a file that can be written at {request.out!r}, found {error}; change --out"
        ) from error
    return Display(str(place), choice.key, choice.number, choice.split)


def _sources(choice: Choice, model: str | None) -> Sources:
    """Return the particles of every source; true ones with their numbers."""
    event = choice.events
    numbers = np.arange(len(event.generator.class_P), dtype=np.int64)
    sources: Sources = {
        "targets": (event.targets, target_numbers(choice)),
        "generator": (event.generator, numbers),
        "baseline": (event.candidates, None),
    }
    if model is not None:
        sources["model"] = (_infer(choice, model), None)
    return sources


def _infer(choice: Choice, model: str) -> Particles:
    """Return the candidates of a model.

    Raises:
        ConfigError: the model is for other elements.
    """
    from mlpf_stream.infer.candidates import reconstruct  # noqa: PLC0415 - only models need torch
    from mlpf_stream.infer.checkpoint import load_model, read_newest  # noqa: PLC0415
    from mlpf_stream.stream.collate import BatchShape, collate_all  # noqa: PLC0415

    network, card = read_newest(model, load_model)
    expected = {name: KINDS[name].names for name in choice.events.elements}
    if dict(card.kinds) != expected:
        raise ConfigError(
            f"expected a model for {', '.join(expected)} of {choice.url!r}, found one for "
            f"{', '.join(card.kinds)} at {model!r}; give one that was trained in mode "
            f"{choice.mode!r}"
        )
    rows = max(ROWS, int(choice.events.lengths.max()))
    return reconstruct(network, collate_all(choice.events, BatchShape(rows, network.config.block)))


def _page(choice: Choice, sources: Sources) -> Page:
    """Say and draw everything."""
    left, right = measured(choice), reconstructed(choice, sources)
    reach = 1.02 * extent([*left, *right])
    zoom = 1.05 * core(left, choice.detector) / reach
    deposits = next(name for name in choice.events.elements if name != TRACK.name)
    shown = [
        ("tracks", "tracks", True),
        (f"{deposits}s", f"{deposits}s", True),
        ("targets", "targets (solid)", True),
        ("generator", "generator particles (dotted)", False),
        ("baseline", "baseline candidates (dashed)", True),
    ]
    if "model" in sources:
        shown.append(("model", "model candidates (dash-dotted)", True))
    head, rows = _listing(choice)
    return Page(
        title=f"Event {choice.key}",
        sentence=_sentence(choice),
        facts=_facts(choice, sources),
        figures={
            "measured": figure(left, reach, zoom),
            "particles": figure(right, reach, zoom),
        },
        views=views(zoom),
        captions={
            "measured": f"Measured: tracks in the field, and {deposits}s whose size grows with "
            "energy; those of one particle have one colour, grey ones belong to none.",
            "particles": "True and reconstructed particles; length grows with the logarithm of "
            "energy. A target has the colour of its particle in the other figure.",
        },
        sources=shown,
        head=head,
        rows=rows,
    )


def _sentence(choice: Choice) -> str:
    """Say how the event came about."""
    made = choice.simulation
    if made.startswith("fast"):
        return (
            f"The data are fast simulation ({made.removeprefix('fast').lstrip(': ')}): no "
            "statement about a real detector."
        )
    if made:
        return f"Simulation: {made}."
    return "The source does not tell how the event was simulated."


def _facts(choice: Choice, sources: Sources) -> list[tuple[str, str]]:
    """Return numbers of elements and energies [GeV]."""
    event, detector = choice.events, choice.detector
    facts = [
        ("process", choice.process),
        ("event", f"number {choice.number}" + (f", split {choice.split}" * bool(choice.split))),
        ("detector", f"{detector.name}, {choice.field:.3g} T"),
        ("mode", choice.mode),
    ]
    for name, part in event.elements.items():
        facts.append((f"{name}s", f"{len(part.x_RF):,}"))
    for kind in (CLUSTER, HIT):
        if kind.name in event.elements:
            energy = event.elements[kind.name].x_RF[:, kind.index("energy")].sum()
            facts.append((f"energy of {kind.name}s", f"{energy:.1f} GeV"))
    for name, (particles, _) in sources.items():
        energy = particles.column("energy").sum()
        facts.append((name, f"{len(particles.class_P)}, {energy:.1f} GeV"))
    return facts


def _listing(choice: Choice) -> tuple[list[str], list[list[str]]]:
    """Return the most energetic targets in words, and the head of their table."""
    head = ["particle", "class", "target", "on", "energy [GeV]", "pt [GeV]", "eta", "charge"]
    generator, found = choice.events.generator, []
    for name, part in choice.events.elements.items():
        for row in np.flatnonzero(part.class_R > 0):
            number = int(part.particle_R[row])
            pt, eta, _, _, energy = (float(value) for value in part.momentum_RM[row])
            own = CLASSES[generator.class_P[number]] if number >= 0 else "unknown"
            words = [own, CLASSES[part.class_R[row]], f"{name} {row}"]
            values = [f"{energy:.2f}", f"{pt:.2f}", f"{eta:.2f}", f"{int(part.charge_R[row]):+d}"]
            found.append((energy, [str(number), *(w.replace("_", " ") for w in words), *values]))
    found.sort(key=lambda one: -one[0])
    return head, [row for _, row in found[:LISTED]]

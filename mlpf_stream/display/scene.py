"""What is drawn of an event: lines and points in space, each with its class, source and words.

Shape letters: R element rows, P particles, N points in space, 3 coordinates x, y, z [mm].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from mlpf_stream.columns import CLASSES, CLUSTER, KINDS, SUBDETECTORS, TRACK, Detector
from mlpf_stream.display.choice import Choice
from mlpf_stream.display.colours import NOBODY_NUMBER, PARTICLE_COLOURS, RECONSTRUCTED_NUMBER
from mlpf_stream.event import F32, F64, I64, Elements, Particles
from mlpf_stream.physics.helix import track_paths

STEPS = 20
CURL_STEPS = 120
"""Points of a curved line, and of one that curls up."""
TURNS: Final = 3.0
"""Turns of a track that are drawn: some would go round a hundred times, if nothing slowed them."""
CURLS: Final = 1.9
"""Tracks whose face is farther than this many radii of curvature curl up before it."""
CURVATURE: Final = 2.99792458e-4
"""abs(omega) [1/mm] = this * field [T] / pt [GeV]."""
MOST: Final = 0.97
"""What part of clusters or hits is in sight at first: hits of muons lie far outside."""
OUTLINE: Final = "outline"
"""Source of what belongs to no event: the detector."""

Dash = Literal["solid", "dash", "dot", "longdashdot"]
DASHES: Final[dict[str, Dash]] = {
    "targets": "solid", "generator": "dot", "baseline": "dash", "model": "longdashdot"
}  # fmt: skip
"""How the particles of each source are drawn."""
WIDTHS: Final = {"targets": 5.0, "generator": 2.0, "baseline": 4.0, "model": 4.0, "tracks": 4.0}


@dataclass(frozen=True, slots=True)
class Part:
    """What is switched on and off together: all of one source and class.

    `points_N3` with rows of NaN between lines; `colour_N` numbers of `colours.SCALE`; `size_N`
    diameters in pixels where points are drawn, None for lines; `words` what hovering says, each
    with the number of points in a row that it is about.
    """

    source: str
    species: str
    points_N3: F32
    colour_N: I64
    words: tuple[tuple[str, int], ...]
    size_N: F32 | None = None
    dash: Dash = "solid"
    width: float = 3.0


def measured(choice: Choice) -> list[Part]:
    """Return the detector, tracks, and clusters or hits."""
    event = choice.events
    parts = [*outline(choice.detector)]
    for name, rows in event.elements.items():
        species_R = _species(rows, event.generator)
        words = element_words(name, rows, event.generator)
        for species in np.unique(species_R):
            keep = np.flatnonzero(species_R == species)
            draw = _tracks if name == TRACK.name else _deposits
            parts.append(draw(choice, name, _Rows(rows, keep, words), CLASSES[species]))
    return parts


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some elements of a kind, and the words for all of that kind."""

    all: Elements
    keep: I64
    words: Sequence[str]

    @property
    def x_RF(self) -> F32:
        """Features of the kept rows."""
        features: F32 = self.all.x_RF[self.keep]
        return features

    @property
    def colour_R(self) -> I64:
        """Colour of every kept row, by its particle."""
        return particle_colours(self.all.particle_R[self.keep].astype(np.int64))

    @property
    def words_R(self) -> list[str]:
        """Words of the kept rows."""
        return [self.words[row] for row in self.keep]


def particle_colours(particle_R: I64) -> I64:
    """Return a colour by the number of a particle, or that of nobody."""
    return np.where(particle_R >= 0, particle_R % len(PARTICLE_COLOURS), NOBODY_NUMBER)


def _species(rows: Elements, generator: Particles) -> I64:
    """Return the class of the particle that every element belongs to, 0 for none."""
    known_R = (rows.particle_R >= 0) & (rows.particle_R < len(generator.class_P))
    species_R = np.zeros(len(known_R), np.int64)
    species_R[known_R] = generator.class_P[rows.particle_R[known_R]]
    return species_R


def _tracks(choice: Choice, name: str, rows: _Rows, species: str) -> Part:
    """Return tracks from the point of closest approach to the calorimeter's face."""
    del name
    return _lines("tracks", species, _curves(rows.x_RF, choice), (rows.colour_R, rows.words_R))


def _curves(x_RF: F32, choice: Choice, reach_R: F64 | None = None) -> list[F64]:
    """Return the way of every track as points, (N, 3) each [mm]; those that curl have more."""
    omega_R = np.abs(x_RF[:, TRACK.index("omega")].astype(np.float64))
    curls_R = omega_R * choice.detector.barrel_radius > CURLS
    slope_R = np.hypot(1.0, x_RF[:, TRACK.index("tan_lambda")].astype(np.float64))
    turns_R = TURNS * 2 * np.pi / np.maximum(omega_R, 1e-9) * slope_R
    reach_R = turns_R if reach_R is None else np.minimum(reach_R, turns_R)
    paths: list[F64] = [np.zeros((0, 3))] * len(x_RF)
    for rows, points in ((np.flatnonzero(~curls_R), STEPS), (np.flatnonzero(curls_R), CURL_STEPS)):
        found = track_paths(x_RF[rows], choice.detector, points, reach_R[rows])
        for row, path_N3 in zip(rows, found, strict=True):
            paths[row] = path_N3
    return paths


def _lines(source: str, species: str, paths: Sequence[F64], looks: tuple[I64, list[str]]) -> Part:
    """Return one line per path, with gaps between them."""
    colour_R, words = looks
    gap = np.full((1, 3), np.nan)
    points = [piece for path in paths for piece in (path, gap)]
    lengths = [len(path) + 1 for path in paths]
    return Part(
        source,
        species,
        np.concatenate(points).astype(np.float32),
        np.repeat(colour_R, lengths),
        tuple(zip(words, lengths, strict=True)),
        dash=DASHES.get(source, "solid"),
        width=WIDTHS.get(source, 3.0),
    )


def _deposits(choice: Choice, name: str, rows: _Rows, species: str) -> Part:
    """Return clusters or hits as points whose area grows with the energy."""
    del choice
    kind = KINDS[name]
    points = rows.x_RF[:, [kind.index(axis) for axis in "xyz"]]
    energy_R = np.maximum(rows.x_RF[:, kind.index("energy")], 0)
    if kind == CLUSTER:
        size_R = np.clip(5 + 4 * np.sqrt(energy_R), 5, 30)
    else:
        size_R = np.clip(2.2 + 0.9 * np.log10(1 + 100 * energy_R), 2.2, 6)
    return Part(
        f"{name}s",
        species,
        points.astype(np.float32),
        rows.colour_R,
        tuple((word, 1) for word in rows.words_R),
        size_N=size_R.astype(np.float32),
    )


def reconstructed(choice: Choice, sources: dict[str, tuple[Particles, I64 | None]]) -> list[Part]:
    """Return the detector, and particles by source as flights from the collision.

    Each source has its particles and, where they are known, the numbers of the true ones.
    """
    parts = [*outline(choice.detector)]
    longest = max((float(p.column("energy").max(initial=0)) for p, _ in sources.values()))
    for source, (particles, number_P) in sources.items():
        if number_P is None:
            colour_P = np.full(len(particles.class_P), RECONSTRUCTED_NUMBER, np.int64)
        else:
            colour_P = particle_colours(number_P)
        paths = flights(particles, choice, longest)
        words = particle_words(source, particles, number_P)
        for species in np.unique(particles.class_P):
            keep = np.flatnonzero(particles.class_P == species)
            looks = (colour_P[keep], [words[place] for place in keep])
            parts.append(_lines(source, CLASSES[species], [paths[k] for k in keep], looks))
    return parts


def flights(particles: Particles, choice: Choice, longest: float) -> list[F64]:
    """Return how particles fly from the collision: helices or rays, (N, 3) each [mm].

    Their length grows with the logarithm of the energy, up to the calorimeter for charged ones.
    """
    detector = choice.detector
    pt = np.maximum(particles.column("pt").astype(np.float64), 1e-6)
    x_PF = np.zeros((len(pt), TRACK.width), np.float32)
    x_PF[:, TRACK.index("sin_phi")] = particles.column("sin_phi")
    x_PF[:, TRACK.index("cos_phi")] = particles.column("cos_phi")
    x_PF[:, TRACK.index("tan_lambda")] = np.sinh(np.clip(particles.column("eta"), -6, 6))
    x_PF[:, TRACK.index("omega")] = particles.charge_P * CURVATURE * choice.field / pt
    energy = np.log1p(np.maximum(particles.column("energy").astype(np.float64), 0) / 0.2)
    reach = (0.15 + 0.95 * energy / max(np.log1p(longest / 0.2), 1e-9)) * _corner(detector)
    return _curves(x_PF, choice, reach)


def _corner(detector: Detector) -> float:
    """Return how far the corner of the tracker is from the collision [mm]."""
    return float(np.hypot(detector.barrel_radius, detector.endcap_z))


def element_words(name: str, rows: Elements, generator: Particles) -> list[str]:
    """Return what is to be said of every element."""
    kind = KINDS[name]
    energy_R = rows.x_RF[:, kind.index("p" if kind == TRACK else "energy")]
    pt_R = rows.x_RF[:, kind.index("pt" if kind == TRACK else "et")]
    unit, across = ("p", "pt") if kind == TRACK else ("energy", "et")
    species_R = _species(rows, generator)
    words = []
    for row, particle in enumerate(rows.particle_R.tolist()):
        lines = [f"<b>{_place(name, rows, row)}</b>"]
        lines.append(f"{unit} {energy_R[row]:.3g} GeV, {across} {pt_R[row]:.3g} GeV")
        whose = "no particle" if particle < 0 else f"particle {particle}: {_said(species_R[row])}"
        lines.append(whose)
        found = int(rows.class_R[row])
        if found > 0:
            lines.append(f"target: {_said(found)}, {rows.momentum_RM[row, -1]:.3g} GeV")
        else:
            lines.append("no truth link" if found < 0 else "target: none")
        words.append("<br>".join(lines))
    return words


def _place(name: str, rows: Elements, row: int) -> str:
    """Name an element."""
    kind = KINDS[name]
    if "subdetector" not in kind.names:
        return f"{name} {row}"
    part = int(rows.x_RF[row, kind.index("subdetector")])
    where = SUBDETECTORS[part] if 0 <= part < len(SUBDETECTORS) else "unknown"
    return f"{where.upper() if len(where) == 4 else where} {name} {row}"


def _said(species: int) -> str:
    """Return the name of a class for people."""
    return CLASSES[species].replace("_", " ")


def particle_words(source: str, particles: Particles, number_P: I64 | None) -> list[str]:
    """Return what is to be said of every particle."""
    singular = {"targets": "target", "generator": "generator particle"}
    energy, pt, eta = (particles.column(name) for name in ("energy", "pt", "eta"))
    words = []
    for place, species in enumerate(particles.class_P.tolist()):
        name = singular.get(source, f"{source} candidate")
        number = place if number_P is None else int(number_P[place])
        charge = int(particles.charge_P[place])
        words.append(
            f"<b>{name} {number}: {_said(species)}</b><br>energy {energy[place]:.3g} GeV, "
            f"pt {pt[place]:.3g} GeV<br>eta {eta[place]:.3g}, charge {charge:+d}"
        )
    return words


def target_numbers(choice: Choice) -> I64:
    """Return the number of the generator particle of every target, in the order of `targets`."""
    numbers = [part.particle_R[part.class_R > 0] for part in choice.events.elements.values()]
    return np.concatenate(numbers).astype(np.int64)


def outline(detector: Detector) -> Iterator[Part]:
    """Return the inner face of the calorimeter and the beam, as thin lines."""
    radius, length = detector.barrel_radius, detector.endcap_z
    turn = np.linspace(0, 2 * np.pi, 61)
    ring = np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1)
    gap = np.full((1, 3), np.nan)
    pieces = []
    for z in (-length, 0.0, length):
        pieces += [np.column_stack([ring, np.full(len(turn), z)]), gap]
    for angle in np.arange(12) * np.pi / 6:
        x, y = np.cos(angle) * radius, np.sin(angle) * radius
        pieces += [np.array([[x, y, -length], [x, y, length]]), gap]
    for name, points, width in (
        ("calorimeter face", np.concatenate(pieces), 1.0),
        ("beam", np.array([[0, 0, -1.1 * length], [0, 0, 1.1 * length]]), 2.0),
    ):
        yield Part(
            OUTLINE,
            name,
            points.astype(np.float32),
            np.zeros(len(points), np.int64),
            (),
            width=width,
        )


def extent(parts: Sequence[Part]) -> float:
    """Return how far from the center anything lies along an axis [mm]."""
    far = [float(np.nanmax(np.abs(part.points_N3), initial=0)) for part in parts]
    return max(far, default=1.0)


def core(parts: Sequence[Part], detector: Detector) -> float:
    """Return how far from the center most of it lies along an axis, calorimeter included [mm]."""
    inner = 0.92 * _corner(detector)
    far = [np.abs(part.points_N3).max(axis=1) for part in parts if part.size_N is not None]
    return max(inner, float(np.quantile(np.concatenate(far), MOST))) if far else inner

"""Pythia 8 events at 380 GeV with the settings of the published CLIC samples.

Shape letters: E events, A rows of Pythia's whole event record, P particles that are kept.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from mlpf_stream.errors import ConfigError, DataError, MissingExtraError
from mlpf_stream.event import F64, I64, Bool, Rows, offsets_of
from mlpf_stream.simulate.guns import beam_spot, draw_momenta
from mlpf_stream.simulate.record import DECAYED, FINAL, NO_PARENT, Record

try:
    import awkward as ak
except ImportError as error:
    raise MissingExtraError("awkward", "convert") from error
try:
    import pythia8mc
except ImportError as error:
    raise MissingExtraError("pythia8mc", "simulate") from error

_SPREAD: Final = (
    "Beams:allowVertexSpread = on",
    "Beams:sigmaVertexX = 27.3e-3",
    "Beams:sigmaVertexY = 48.8e-6",
    "Beams:sigmaVertexZ = 1.33",
)
# Source: HEP-KBFI/key4hep-sim, clic/pythia/*.cmd (CLIC samples of Pata et al. 2023).
_BEAMS: Final = (
    "Beams:idA = 11",
    "Beams:idB = -11",
    "Beams:eCM = 380",
    *_SPREAD,
    "PartonLevel:ISR = on",
    "PartonLevel:FSR = on",
)
_DECAYS: Final = (
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 2250",
    "ParticleDecays:zMax = 2500",
)
_FERMIONS: Final = "WeakSingleBoson:ffbar2ffbar(s:gmZ) = on"
_SWITCHES: Final[dict[str, tuple[str, ...]]] = {
    "ttbar": ("Top:ffbar2ttbar(s:gmZ) = on",),
    "qq": (_FERMIONS, "23:onMode = off", "23:onIfAny = 1 2 3 4 5 6"),
    "WW": ("WeakDoubleBoson:ffbar2WW = on", "24:onMode = off", "24:onIfAny = 1 2 3 4 5 6"),
    "ZH": ("HiggsSM:ffbar2HZ = on",),
    "tautau": (_FERMIONS, "23:onMode = off", "23:onIfAny = 15"),
}
_SOFT: Final = (
    "Beams:idA = 11",
    "Beams:idB = -11",
    "PDF:lepton = off",
    "23:mMin = 2",
    "PhaseSpace:mHatMin = 2",
    "WeakSingleBoson:ffbar2ffbar(s:gm) = on",
)
_ANCESTORS: Final = (6, 15, 23, 24, 25)
_TRIES: Final = 10


def generate(process: str, seed: int, sizes: Iterable[int]) -> Iterator[Record]:
    """Yield records of `sizes` events each of a process in `columns.PROCESSES`.

    Raises:
        ConfigError: no such process.
        DataError: Pythia fails again and again.
    """
    if process not in _SWITCHES:
        found = f"expected a process of {', '.join(_SWITCHES)}, found {process!r}"
        raise ConfigError(f"{found}; 'mlpf simulate --help' lists processes and guns")
    yield from _batches((*_BEAMS, *_DECAYS, *_SWITCHES[process]), seed, sizes)


def generate_soft(mass: float, seed: int, sizes: Iterable[int]) -> Iterator[Record]:
    """Yield records of `sizes` events each of quark pairs of a low mass [GeV], at rest.

    Raises:
        DataError: Pythia fails again and again.
    """
    settings = (*_SOFT, f"Beams:eCM = {mass}", *_SPREAD, *_DECAYS)
    yield from _batches(settings, seed, sizes)


def _batches(settings: tuple[str, ...], seed: int, sizes: Iterable[int]) -> Iterator[Record]:
    """Yield records of whole batches."""
    pythia = _pythia(settings, seed)
    for size in sizes:
        parts = [pythia.nextBatch(size).prt]
        # Events that fail are left out of a batch.
        while sum(len(part) for part in parts) < size and len(parts) < _TRIES:
            parts.append(pythia.nextBatch(size - sum(len(part) for part in parts)).prt)
        if sum(len(part) for part in parts) < size:
            raise DataError(f"Pythia failed {_TRIES} times; try another --seed")
        yield _record(pythia, _columns_of_batch(ak.concatenate(parts)))


def decay_taus(
    multiplicity: int, seed: int, sizes: Iterable[int], random: np.random.Generator
) -> Iterator[Record]:
    """Yield records of `sizes` events each of tau leptons, decayed by Pythia.

    Raises:
        DataError: Pythia fails.
    """
    pythia = _pythia(("ProcessLevel:all = off", *_DECAYS), seed)
    names = ("id", "status", "mother1", "daughter1", "m", "px", "py", "pz", "x", "y", "z")
    for size in sizes:
        events = [_tau_event(pythia, multiplicity, random) for _ in range(size)]
        table = np.asarray([row for event in events for row in event], dtype=np.float64)
        columns: dict[str, Rows] = {name: table[:, i] for i, name in enumerate(names)}
        counts = np.array([len(event) for event in events], dtype=np.int64)
        columns["offsets"] = offsets_of(counts)
        yield _record(pythia, columns)


def _tau_event(
    pythia: "pythia8mc.Pythia", multiplicity: int, random: np.random.Generator
) -> list[tuple[float, ...]]:
    """Return the rows of one event of tau leptons."""
    mass = pythia.particleData.m0(15)
    momentum_N3, sign_N = draw_momenta(multiplicity, mass, random)
    energy_N = np.sqrt(np.sum(momentum_N3**2, axis=1) + mass**2)
    pythia.event.reset()
    for momentum, energy, sign in zip(momentum_N3, energy_N, sign_N, strict=True):
        row = pythia.event.append(int(15 * sign), 1, 0, 0, *momentum.tolist(), float(energy), mass)
        pythia.event[row].tau(pythia.event[row].tau0() * random.exponential())
    if not pythia.next():
        raise DataError("expected tau decays, Pythia failed; try another --seed")
    spot = beam_spot(1, random)[0].tolist()
    return [_row(pythia.event[i], spot) for i in range(pythia.event.size())]


def _pythia(settings: tuple[str, ...], seed: int) -> "pythia8mc.Pythia":
    """Return a quiet Pythia, initialised."""
    pythia = pythia8mc.Pythia("", False)
    quiet = ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {seed}")
    for line in (*quiet, *settings):
        if not pythia.readString(line):
            raise DataError(
                f"Pythia does not know the setting {line!r}; install pythia8mc >= 8.315"
            )
    if not pythia.init():
        raise DataError("Pythia could not be initialised; install pythia8mc >= 8.315")
    return pythia


def _row(particle: "pythia8mc.Particle", spot: list[float]) -> tuple[float, ...]:
    """Return one row of Pythia's record, moved to the beam spot [mm]."""
    x, y, z = spot
    return (
        particle.id(),
        particle.status(),
        particle.mother1(),
        particle.daughter1(),
        particle.m(),
        particle.px(),
        particle.py(),
        particle.pz(),
        particle.xProd() + x,
        particle.yProd() + y,
        particle.zProd() + z,
    )


def _columns_of_batch(batch: "ak.Array") -> dict[str, Rows]:
    """Return the columns of Pythia's records as flat numpy arrays, and their offsets."""
    flat = ak.flatten(batch)
    columns: dict[str, Rows] = {
        name: ak.to_numpy(flat[name]) for name in ("id", "status", "mother1", "daughter1", "m")
    }
    columns |= {name: ak.to_numpy(flat["p"][name]) for name in ("px", "py", "pz")}
    for axis in "xyz":
        columns[axis] = ak.to_numpy(ak.fill_none(flat["vProd"][f"p{axis}"], 0.0))
    columns["offsets"] = offsets_of(ak.to_numpy(ak.num(batch["id"])).astype(np.int64))
    return columns


def _record(pythia: "pythia8mc.Pythia", columns: dict[str, Rows]) -> Record:
    """Keep final particles and decayed hadrons, taus, bosons and tops of Pythia's record."""
    offsets: I64 = columns["offsets"]
    counts = np.diff(offsets)
    first_A = np.repeat(offsets[:-1], counts)
    pdg_A = columns["id"].astype(np.int32)
    size_A = np.abs(pdg_A)
    final_A = columns["status"] > 0
    mother_A = first_A + columns["mother1"].astype(np.int64)
    daughter_A = first_A + columns["daughter1"].astype(np.int64)
    parton_A = (size_A <= 8) & (size_A != 6) | (size_A == 21) | _diquark(size_A)
    hadron_A = (size_A > 100) & ~_diquark(size_A)
    last_A = pdg_A[daughter_A] != pdg_A
    keep_A = final_A | ((hadron_A | np.isin(size_A, _ANCESTORS)) & last_A)
    kept = np.flatnonzero(keep_A)
    kept_offsets = offsets_of(np.add.reduceat(keep_A, offsets[:-1], dtype=np.int64))
    new_row_A = np.cumsum(keep_A) - 1
    ancestor_P = _ancestor(mother_A, kept, keep_A, parton_A | (mother_A == first_A))
    start_P = np.repeat(kept_offsets[:-1], np.diff(kept_offsets))
    parent_P = np.where(ancestor_P >= 0, new_row_A[ancestor_P] - start_P, NO_PARENT)
    kinds, inverse = np.unique(pdg_A[kept], return_inverse=True)
    charge = np.array([pythia.particleData.charge(int(kind)) for kind in kinds], dtype=np.float64)
    return Record(
        pdg_P=pdg_A[kept],
        charge_P=charge[inverse],
        mass_P=np.maximum(columns["m"][kept], 0.0),
        momentum_P3=_three(columns, ("px", "py", "pz"))[kept],
        vertex_P3=_three(columns, ("x", "y", "z"))[kept],
        status_P=np.where(final_A[kept], FINAL, DECAYED).astype(np.int32),
        simulator_P=np.zeros(len(kept), np.int32),
        parent_P=parent_P,
        offsets=kept_offsets,
    )


def _three(columns: dict[str, Rows], names: tuple[str, str, str]) -> F64:
    """Return three columns side by side, shape (A, 3)."""
    return np.stack([columns[name] for name in names], axis=1).astype(np.float64)


def _diquark(size_A: npt.NDArray[np.int32]) -> Bool:
    """Mark diquarks: their tens digit is zero."""
    found: Bool = (size_A > 1000) & ((size_A // 10) % 10 == 0)
    return found


def _ancestor(mother_A: I64, kept: I64, keep_A: Bool, stop_A: Bool) -> I64:
    """Return the nearest kept ancestor of every kept row through copies, or -1 at a parton."""
    above = mother_A[kept]
    open_P = np.ones(len(kept), dtype=np.bool_)
    while open_P.any():
        open_P &= ~keep_A[above]
        above = np.where(open_P & stop_A[above], -1, above)
        open_P &= above >= 0
        above = np.where(open_P, mother_A[above], above)
    return above

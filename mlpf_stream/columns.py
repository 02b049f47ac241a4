"""Every column with its unit, every element kind, class and detector: the dictionary of the house.

Pure data. Whatever needs column 3 of a track asks for it by name: `TRACK.index("sin_phi")`.
Units everywhere: GeV, mm, ns, T, rad.
"""

from dataclasses import dataclass
from typing import Final, Literal

SCHEMA_VERSION: Final = 1
DATASET_FORMAT: Final = "mlpf_stream"

Mode = Literal["clusters", "hits"]
Role = Literal["train", "ood"]
Split = Literal["train", "valid", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "valid", "test")

CLASSES: Final = ("none", "charged_hadron", "neutral_hadron", "photon", "electron", "muon")
"""Target classes in index order."""
UNLINKED: Final = -1
"""Class of an element without any truth link: never trained on, always counted."""
NO_PARTICLE: Final = -1
"""Particle index of an element to which no target particle contributed."""

LOG_OFFSET: Final = 1e-3
"""A logarithmic feature is log(max(x, 0) + LOG_OFFSET), x in the column's unit."""

MOMENTUM: Final = ("pt", "eta", "sin_phi", "cos_phi", "energy")
"""Columns of every four-momentum: GeV, 1, 1, 1, GeV."""


@dataclass(frozen=True, slots=True)
class Column:
    """One input feature: name, unit, and whether the network sees its logarithm."""

    name: str
    unit: str
    log: bool = False


@dataclass(frozen=True, slots=True)
class ElementKind:
    """One kind of model input: its code in packed rows and its columns in stored order."""

    name: str
    code: int
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in stored order."""
        return tuple(column.name for column in self.columns)

    def index(self, name: str) -> int:
        """Return the position of the column called `name`.

        Raises:
            ValueError: no such column.
        """
        return self.names.index(name)


# Source: feature order of the published key4hep post-processing of jpata/particleflow.
TRACK: Final = ElementKind(
    "track",
    1,
    (
        Column("elemtype", "1"),
        Column("pt", "GeV", log=True),
        Column("eta", "1"),
        Column("sin_phi", "1"),
        Column("cos_phi", "1"),
        Column("p", "GeV", log=True),
        Column("chi2", "1"),
        Column("ndf", "1"),
        Column("dedx", "GeV/mm"),
        Column("dedx_error", "GeV/mm"),
        Column("radius_of_innermost_hit", "mm"),
        Column("tan_lambda", "1"),
        Column("d0", "mm"),
        Column("omega", "1/mm"),
        Column("z0", "mm"),
        Column("time", "ns"),
    ),
)

CLUSTER: Final = ElementKind(
    "cluster",
    2,
    (
        Column("elemtype", "1"),
        Column("et", "GeV", log=True),
        Column("eta", "1"),
        Column("sin_phi", "1"),
        Column("cos_phi", "1"),
        Column("energy", "GeV", log=True),
        Column("x", "mm"),
        Column("y", "mm"),
        Column("z", "mm"),
        Column("theta", "rad"),
        Column("energy_ecal", "GeV", log=True),
        Column("energy_hcal", "GeV", log=True),
        Column("energy_other", "GeV", log=True),
        Column("num_hits", "1", log=True),
        Column("sigma_x", "mm"),
        Column("sigma_y", "mm"),
        Column("sigma_z", "mm"),
    ),
)

HIT: Final = ElementKind(
    "hit",
    3,
    (
        Column("elemtype", "1"),
        Column("et", "GeV", log=True),
        Column("eta", "1"),
        Column("sin_phi", "1"),
        Column("cos_phi", "1"),
        Column("energy", "GeV", log=True),
        Column("x", "mm"),
        Column("y", "mm"),
        Column("z", "mm"),
        Column("time", "ns"),
        Column("subdetector", "1"),
        Column("type", "1"),
    ),
)

SUBDETECTORS: Final = ("ecal", "hcal", "other", "tracker")
"""Values of a hit's `subdetector`, in order; other: yoke and luminosity calorimeter."""
TRACKER_HIT: Final = 4
"""`elemtype` of tracker hits; all other elements have the code of their kind there."""

KINDS: Final[dict[str, ElementKind]] = {kind.name: kind for kind in (TRACK, CLUSTER, HIT)}
MODE_KINDS: Final[dict[Mode, tuple[ElementKind, ...]]] = {
    "clusters": (TRACK, CLUSTER),
    "hits": (TRACK, HIT),
}
"""Element kinds of each mode, in the order of packed rows."""

SPECIES: Final[dict[int, str]] = {22: "photon", 11: "electron", 13: "muon"}
NEUTRINOS: Final = (12, 14, 16)


def class_of(pdg: int, charge: float) -> int:
    """Return the class index of a particle by its PDG id and charge [e].

    Source: photons, electrons and muons keep their class; every other particle is a charged or a
    neutral hadron (Pata et al. 2023, section 2).
    """
    name = SPECIES.get(abs(pdg), "charged_hadron" if charge else "neutral_hadron")
    return CLASSES.index(name)


FIELD_TOLERANCE: Final = 0.05
"""By how much two fields of one detector may differ, as a part: some are measured from files."""


@dataclass(frozen=True, slots=True)
class Detector:
    """Facts of a detector: its solenoid field [T] and the inner faces of its calorimeter [mm].

    `calorimeter_hits` are the hit collections of its calorimeters, in the order of their
    subdetector: those whose name starts with ECAL are ECAL, HCAL HCAL, the rest other.
    `tracker_hits` are those of its tracker, which are elements only if asked for.
    """

    name: str
    field: float
    barrel_radius: float
    endcap_z: float
    calorimeter_hits: tuple[str, ...]
    tracker_hits: tuple[str, ...] = ()


_CALORIMETERS: Final = ("ECALBarrel", "ECALEndcap", "HCALBarrel", "HCALEndcap", "HCALOther", "MUON")

_TRACKERS: Final = (
    "VXDTrackerHits",
    "VXDEndcapTrackerHits",
    "ITrackerHits",
    "ITrackerEndcapHits",
    "OTrackerHits",
    "OTrackerEndcapHits",
)

DETECTORS: Final[dict[str, Detector]] = {
    detector.name: detector
    for detector in (
        # Source: key4hep/k4geo compact files CLIC_o3_v14, CLD_o2_v05. ILD is the FCC-ee variant:
        # 2 T, and track states at the calorimeter that lie on CLD's faces, both measured in a
        # published file (ILD at a linear collider: 3.5 T, 1804.8 mm, 2411.8 mm).
        Detector(
            "clic", 4.0, 1500.0, 2307.0, (*_CALORIMETERS, "ECALOther", "LumiCal_Hits"), _TRACKERS
        ),
        Detector("cld", 2.0, 2150.0, 2307.0, _CALORIMETERS, _TRACKERS),
        Detector("ild", 2.0, 2150.0, 2307.0, _CALORIMETERS),
    )
}

PROCESSES: Final = ("ttbar", "qq", "WW", "ZH", "tautau")
GUNS: Final = ("gun-e", "gun-mu", "gun-pi", "gun-pi0", "gun-KL", "gun-n", "gun-gamma", "gun-tau")
OOD_PROCESSES: Final = ("WW", "ZH")
"""Processes that are never trained on unless the user says so: their default role is `ood`."""
PILEUP: Final = "_PU"
"""What names pile-up in a process: `ttbar_PU10` has ten overlaid events on average."""


def default_role(process: str) -> Role:
    """Return the role of a process that the user gave none: `ood` for WW, ZH and pile-up."""
    return "ood" if process in OOD_PROCESSES or PILEUP in process.upper() else "train"

"""The gates: what is measured, which range is allowed, and why.

Ranges follow from the definition of the truth (exact ones), or from what detectors do; none is
fitted to a data set. What a gate is about decides who is judged: particles of a class that the
generator did not make are not missed.
"""

from dataclasses import dataclass
from typing import Final, Literal

Statistic = Literal["mean", "median", "iqr"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: the measure and statistic that it judges, the allowed range, and its reason.

    An `exact` gate fails at the first entry that is not as it must be; others allow for the
    statistical error.
    """

    name: str
    measure: str
    statistic: Statistic
    low: float
    high: float
    why: str
    exact: bool = False


def _always(name: str, why: str) -> Gate:
    """Return a gate that every single entry must pass."""
    return Gate(name, name, "mean", 1.0, 1.0, why, exact=True)


def _part(name: str, low: float, high: float, why: str) -> Gate:
    """Return a gate for a part of a whole, or a quotient of two sums."""
    return Gate(name, name, "mean", low, high, why)


def _middle(name: str, low: float, high: float, why: str) -> Gate:
    """Return a gate for a median."""
    return Gate(name, name, "median", low, high, why)


_SOUND = (
    _always("numbers_finite", "no number of an event is NaN or infinite"),
    _always("directions_normalised", "sin^2 + cos^2 = 1 within 0.001, float32"),
    _always("energy_above_momentum", "E > 0 and E >= p of generator particles and targets"),
    _always("deposits_positive", "clusters and hits have energy"),
)

_TRUTH = (
    _always("targets_have_particles", "every target is a generator particle"),
    _always("one_target_per_particle", "targets are exclusive: nothing is counted twice"),
    _always("energy_of_particle", "merging adds: a target has at least its own particle's energy"),
    _always("merged_energy_in_books", "what merged came from particles that are no targets"),
    _always(
        "track_targets_are_particles", "nothing merges into a track: its target is its particle"
    ),
    _always("class_of_host", "class by particle and host (Pata et al. 2023, section 2)"),
    _always("charge_of_particle", "a charged particle on a track keeps its charge"),
    _part("unmerged", 0.1, 1.0, "merging is the exception, but for the photons of hard pi0"),
    _middle(
        "target_energy",
        0.97,
        1.001,
        "per event in |eta| < 2.5: targets + merged = what is visible; the rest is dropped or "
        "leaves less than a tenth of itself",
    ),
    _part("target_energy_tail", 0.0, 0.05, "few events lose 15 % to particles that leave no trace"),
    _part(
        "energy_with_particle",
        0.85,
        1.0,
        "share of cluster or hit energy with a known particle: the rest is noise, unlinked",
    ),
    _part(
        "energy_of_targets",
        0.95,
        1.0,
        "share of that energy whose main particle is a target: the rest merged or is invisible",
    ),
    _part("dropped_energy", 0.0, 0.01, "visible energy without a host nearby is a rarity"),
    _part("merged_particles", 0.0, 0.6, "a cluster holds one photon of a hard pi0 or rho too many"),
    _part("dangling_hits", 0.0, 0.01, "hits of clusters that were not stored carry no truth"),
)

_TRACKING = (
    _middle("field_of_tracks", 0.99, 1.01, "pt |omega| / 0.0003 is the field that is stated"),
    _middle("track_pt_soft", 0.98, 1.02, "track pt / target pt at 0.5 to 2 GeV: unbiased"),
    _middle("track_pt_medium", 0.99, 1.01, "2 to 10 GeV: unbiased"),
    _middle("track_pt_hard", 0.99, 1.01, "above 10 GeV: unbiased"),
    Gate(
        "track_pt_soft_width",
        "track_pt_soft",
        "iqr",
        0.0,
        0.08,
        "CLICdet: 0.2 % central, 3 % forward (arXiv:1909.12728), and scattering",
    ),
    Gate("track_pt_medium_width", "track_pt_medium", "iqr", 0.0, 0.04, "the same, less scattering"),
    Gate(
        "track_pt_hard_width",
        "track_pt_hard",
        "iqr",
        0.0,
        0.04,
        "the same: a pt of 100 GeV adds 0.1 % central, 2 % forward",
    ),
    _part(
        "charge_of_curvature", 0.95, 1.0, "the sign of a curvature is rarely wrong below 100 GeV"
    ),
    _part("track_direction", 0.9, 1.0, "within 0.1 rad: the rest scattered or decayed"),
    _part("tracks_linked", 0.95, 1.0, "tracks without any truth link are fakes"),
    _part("tracks_with_target", 0.8, 1.0, "of charged particles: the rest are split or loop"),
    _part(
        "tracks_per_charged",
        0.8,
        1.8,
        "per charged particle with pt > 0.5 GeV and |eta| < 2.3: loops, conversions add",
    ),
)

_CLASSES = (
    _part(
        "matched_charged_hadron", 0.95, 1.0, "they make a track or a shower: hardly one is missed"
    ),
    _part("matched_electron", 0.95, 1.0, "the same"),
    _part("matched_muon", 0.95, 1.0, "the same"),
    _part("matched_photon", 0.45, 1.0, "those of one hard pi0 share a cluster: half is left"),
    _part("matched_neutral_hadron", 0.65, 1.0, "some fly through, or merge inside jets"),
    _part("kept_charged_hadron", 0.85, 1.0, "of those: a lost track makes it a neutral hadron"),
    _part("kept_electron", 0.85, 1.0, "of those: a lost track makes it a photon"),
    _part("kept_muon", 0.9, 1.0, "of those: a lost track makes it a neutral hadron"),
    _part("kept_photon", 0.8, 1.0, "of those: a conversion makes it a charged hadron"),
    _part("kept_neutral_hadron", 0.95, 1.0, "of those: a decay makes it a charged hadron"),
)

_CALORIMETRY = (
    _middle(
        "calorimeter_energy",
        0.7,
        1.25,
        "per event, over that of all particles but muons: hadrons are under-measured",
    ),
    _middle("photon_energy", 0.9, 1.1, "deposits of a lone photon are calibrated to its energy"),
    _middle("photon_direction", 0.0, 0.05, "and lie where it flies [rad]"),
    _part(
        "hits_per_gev",
        10.0,
        80.0,
        "28 to 30 in full simulation of CLD and ILD; dense showers have half, muons twice as many",
    ),
    _part(
        "clusters_per_particle",
        0.4,
        4.0,
        "per particle above 0.5 GeV: photons of a pi0 share one, hadrons break into two or three",
    ),
    _part("behind_face", 0.97, 1.0, "calorimeters begin at the face that is stated, in mm"),
)

_OUTCOME = (
    _part(
        "jets_matched",
        0.9,
        1.0,
        "of the generator, with pt > 10 GeV and |eta| < 2: targets have them too",
    ),
    _middle("jet_response", 0.96, 1.01, "target pt / generator pt"),
    Gate("jet_width", "jet_response", "iqr", 0.0, 0.05, "perfect targets are narrow"),
    _middle(
        "baseline_energy",
        0.8,
        1.25,
        "candidates over generator per event: a rule-based or "
        "Pandora particle flow double-counts little and loses little",
    ),
)

GATES: Final = (*_SOUND, *_TRUTH, *_TRACKING, *_CLASSES, *_CALORIMETRY, *_OUTCOME)
"""All gates, in the order in which they are shown."""

"""Colours of particles and classes that colour-blind readers tell apart."""

from typing import Final

# Source: M. A. Petroff, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270,
# the colours of ten that are no greys.
PARTICLE_COLOURS: Final = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd",
)  # fmt: skip
"""Particles take them in turn."""
NOBODY: Final = "#b4b8c0"
"""What belongs to no particle."""
RECONSTRUCTED: Final = "#4c505a"
"""What a reconstruction made: it knows no true particle."""
OUTLINE: Final = "#8a909c"
"""The detector."""

SCALE: Final = (*PARTICLE_COLOURS, NOBODY, RECONSTRUCTED)
"""Colours by number, as figures name them."""
NOBODY_NUMBER: Final = len(PARTICLE_COLOURS)
RECONSTRUCTED_NUMBER: Final = NOBODY_NUMBER + 1

CLASS_COLOURS: Final = {
    "none": NOBODY,
    "charged_hadron": "#3f90da",
    "neutral_hadron": "#832db6",
    "photon": "#ffa90e",
    "electron": "#bd1f01",
    "muon": "#a96b59",
}

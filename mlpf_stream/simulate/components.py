"""Simple pieces of showers: cores and trails, each an origin, a direction and two profiles.

Shape letters: D pieces of showers of all events end to end, 3 coordinates x, y, z.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np

from mlpf_stream.event import F64, I8, I64

CORE: Final = 0
"""A shower: depth by a Gamma distribution, radius by two exponentials."""
TRAIL: Final = 1
"""A minimum-ionising trail: one deposit every `scale` mm, from `start` on."""
LARGEST_TURN: Final = 0.7
"""Axes bend as parabolas up to this turn [rad], where those leave the circle, then go straight."""


class Profile(NamedTuple):
    """How the deposits of D pieces lie about their axes; all shape (D,), lengths in mm.

    Depth along the axis is `start_D` plus Gamma(`alpha_D`) x `scale_D`. The distance from the axis
    is a sum of two exponentials of mean `core_D`, or `tail_D` for the share `tail_share_D`.
    """

    start_D: F64
    alpha_D: F64
    scale_D: F64
    core_D: F64
    tail_D: F64
    tail_share_D: F64


@dataclass(frozen=True, slots=True)
class Components:
    """D pieces of showers.

    `event_D`, `particle_D` (row in the record of all events), `shape_D` (`CORE` or `TRAIL`),
    `energy_D` visible energy [GeV], `spots_D` number of deposits that share it, `origin_D3` [mm],
    `direction_D3` unit vectors, `bend_D3` how they turn per path [1/mm], `time_D` of flight up to
    the origin and `delay_D`, mean of an exponential delay [ns].
    """

    event_D: I64
    particle_D: I64
    shape_D: I8
    energy_D: F64
    spots_D: I64
    origin_D3: F64
    direction_D3: F64
    bend_D3: F64
    profile: Profile
    time_D: F64
    delay_D: F64

    def __len__(self) -> int:
        return len(self.event_D)


def joined(groups: Sequence[Components]) -> Components:
    """Join pieces, ordered by event and particle; those without deposits are left out."""
    profile = Profile(
        *[np.concatenate(columns) for columns in zip(*[g.profile for g in groups], strict=True)]
    )
    columns = {
        item.name: np.concatenate([getattr(group, item.name) for group in groups])
        for item in fields(Components)
        if item.name != "profile"
    }
    keep = np.flatnonzero(columns["spots_D"] > 0)
    order = keep[np.lexsort((columns["particle_D"][keep], columns["event_D"][keep]))]
    ordered = {name: values[order] for name, values in columns.items()}
    return Components(profile=Profile(*[values[order] for values in profile]), **ordered)

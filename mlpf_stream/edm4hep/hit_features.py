"""Hits to input features.

Shape letters: H hit rows, F features. Units: GeV, mm, ns.
"""

import numpy as np

from mlpf_stream.columns import HIT
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.hits import Hits
from mlpf_stream.edm4hep.particles import ETA_MAX
from mlpf_stream.event import F32, Rows


def hit_features(collections: Collections, hits: Hits) -> tuple[F32, tuple[str, ...]]:
    """Return the features of all hits, shape (H, F), and those that some collection lacks.

    The momentum of a hit is its energy along the line from the origin. A hit on the beam axis has
    eta = +-ETA_MAX (0 at the origin) and phi = 0.
    """
    x_HF = np.zeros((hits.count, HIT.width), np.float32)

    def put(name: str, values_H: Rows) -> None:
        x_HF[:, HIT.index(name)] = values_H

    energy, x, y, z = (
        hits.column(collections, name, "float32")
        for name in ("energy", "position.x", "position.y", "position.z")
    )
    # In single precision throughout: that of positions in files, and of features.
    radius = np.sqrt(x * x + y * y)
    aside = radius > 0
    safe = np.where(aside, radius, np.float32(1.0))
    distance = np.sqrt(radius * radius + z * z)
    along_axis = np.sign(z) * np.float32(ETA_MAX)
    eta = np.clip(np.arcsinh(z / safe), -ETA_MAX, ETA_MAX)
    put("elemtype", hits.each([source.elemtype for source in hits.sources], "float32"))
    put("et", energy * radius / np.where(distance > 0, distance, np.float32(1.0)))
    put("eta", np.where(aside, eta, along_axis))
    put("sin_phi", y / safe)
    put("cos_phi", np.where(aside, x / safe, np.float32(1.0)))
    put("energy", energy)
    for name, values in (("x", x), ("y", y), ("z", z)):
        put(name, values)
    for name in ("time", "type"):
        put(name, hits.column(collections, name, "float32"))
    put("subdetector", hits.each([source.subdetector for source in hits.sources], "float32"))
    lacking = [name for name in ("time", "type") if not hits.stored(collections, name)]
    return x_HF, tuple(f"{HIT.name}.{name}" for name in lacking)

"""Hits to input features.

Shape letters: H hit rows, F features. Units: GeV, mm, ns.
"""

import numpy as np

from mlpf_stream.columns import HIT
from mlpf_stream.edm4hep.collections import Collections
from mlpf_stream.edm4hep.hits import Cells
from mlpf_stream.edm4hep.particles import ETA_MAX
from mlpf_stream.event import F32, Rows


def hit_features(collections: Collections, cells: Cells) -> tuple[F32, tuple[str, ...]]:
    """Return the features of all hits, shape (H, F), and those that some collection lacks.

    The momentum of a hit is its energy along the line from the origin. A hit on the beam axis has
    eta = +-ETA_MAX (0 at the origin) and phi = 0.
    """
    hits = cells.elements
    x_HF = np.zeros((hits.count, HIT.width), np.float32)

    def put(name: str, values_H: Rows) -> None:
        x_HF[:, HIT.index(name)] = values_H

    energy, x, y, z = (
        hits.column(collections, name, "float32")
        for name in ("energy", "position.x", "position.y", "position.z")
    )
    # In single precision throughout: that of positions in files, and of features.
    radius = np.sqrt(x * x + y * y)
    eta = np.clip(np.arcsinh(z / radius), -ETA_MAX, ETA_MAX)
    sine, cosine = y / radius, x / radius
    transverse = energy * (radius / np.sqrt(radius * radius + z * z))
    on_axis = np.flatnonzero(radius == 0)
    eta[on_axis] = np.sign(z[on_axis]) * ETA_MAX
    transverse[on_axis], sine[on_axis], cosine[on_axis] = 0.0, 0.0, 1.0
    put("et", transverse)
    put("eta", eta)
    put("sin_phi", sine)
    put("cos_phi", cosine)
    for name, values in (("energy", energy), ("x", x), ("y", y), ("z", z)):
        put(name, values)
    for source, rows in zip(hits.sources, hits.rows, strict=True):
        x_HF[rows, HIT.index("elemtype")] = source.elemtype
        x_HF[rows, HIT.index("subdetector")] = source.subdetector
        for name in ("time", "type"):
            leaf = f"{source.name}.{name}"
            if leaf in collections:
                x_HF[rows, HIT.index(name)] = collections[leaf].values
    lacking = [name for name in ("time", "type") if not hits.stored(collections, name)]
    return x_HF, tuple(f"{HIT.name}.{name}" for name in lacking)

"""Parts of a scene as a plotly figure: plain JSON, drawn by the page."""

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from mlpf_stream.display.colours import OUTLINE, SCALE
from mlpf_stream.display.scene import OUTLINE as DETECTOR
from mlpf_stream.display.scene import Part
from mlpf_stream.errors import MissingExtraError
from mlpf_stream.event import Rows

try:
    from plotly import graph_objects
    from plotly.offline import get_plotlyjs
except ImportError as error:
    raise MissingExtraError("plotly", "display") from error

VIEWS: Final = {
    "corner": {"x": 1.05, "y": 0.55, "z": 0.72},
    "beam": {"x": 0.0, "y": 0.001, "z": 1.4},
    "side": {"x": 1.4, "y": 0.001, "z": 0.001},
}
"""Where the reader may stand, in units of half the scene; `corner` at first."""


def views(zoom: float) -> dict[str, dict[str, float]]:
    """Return where the reader may stand so that this part of the scene fills the figure."""
    return {
        name: {axis: zoom * place for axis, place in eye.items()} for name, eye in VIEWS.items()
    }


def library() -> str:
    """Return the JavaScript that draws."""
    return str(get_plotlyjs())


def figure(parts: Sequence[Part], reach: float, zoom: float) -> dict[str, object]:
    """Return the figure of a scene; `reach` is half the length of every axis [mm].

    What hovering says of each trace is beside it, as `words`: the page repeats them.
    """
    drawn = graph_objects.Figure([_trace(part) for part in parts])
    axis = {
        "range": [-reach, reach],
        "visible": False,
        "showspikes": False,
    }
    drawn.update_layout(
        template="none",
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        paper_bgcolor="#fff",
        hoverlabel={"bgcolor": "#fff", "font": {"size": 13, "color": "#1a1c20"}, "align": "left"},
        scene={
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": axis,
            "aspectmode": "cube",
            "camera": {"eye": views(zoom)["corner"], "up": {"x": 0, "y": 1, "z": 0}},
            "dragmode": "orbit",
        },
    )
    tree = json.loads(drawn.to_json())
    return {"data": tree["data"], "layout": tree["layout"], "words": [p.words for p in parts]}


def _trace(part: Part) -> "graph_objects.Scatter3d":
    """Return one part as plotly draws it."""
    x, y, z = part.points_N3.T
    common = {
        "x": x,
        "y": y,
        "z": z,
        "name": part.species.replace("_", " "),
        "meta": {"source": part.source, "species": part.species},
        "connectgaps": False,
    }
    if part.source == DETECTOR:
        line = {"color": OUTLINE, "width": part.width}
        return graph_objects.Scatter3d(**common, mode="lines", line=line, hoverinfo="skip")
    common["hoverinfo"] = "text"
    colour = _by_number(part.colour_N)
    if part.size_N is None:
        line = {**colour, "width": part.width, "dash": part.dash}
        return graph_objects.Scatter3d(**common, mode="lines", line=line)
    marker = {**colour, "size": part.size_N, "opacity": 0.85, "line": {"width": 0}}
    return graph_objects.Scatter3d(**common, mode="markers", marker=marker)


def _by_number(colour_N: Rows) -> dict[str, object]:
    """Return colours of `SCALE` by number: one flat step of the scale each."""
    count = len(SCALE)
    scale = [
        [(number + edge) / count, colour] for number, colour in enumerate(SCALE) for edge in (0, 1)
    ]
    return {
        "color": colour_N.astype(np.int8),
        "colorscale": scale,
        "cmin": -0.5,
        "cmax": count - 0.5,
        "showscale": False,
    }

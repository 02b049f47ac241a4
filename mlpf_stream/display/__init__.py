"""`mlpf display`: one event as an interactive 3-D page."""

from mlpf_stream.display.display import DisplayRequest, display

__all__ = ["DisplayRequest", "display"]

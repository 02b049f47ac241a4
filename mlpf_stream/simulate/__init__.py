"""`mlpf simulate`: events of a parametrised CLIC-like detector, labelled fast simulation."""

from mlpf_stream.simulate.simulate import SimulateRequest, SimulateSummary, simulate

__all__ = ["SimulateRequest", "SimulateSummary", "simulate"]

"""`mlpf report`: evaluations and trainings as one page that needs no network."""

from mlpf_stream.report.report import report

__all__ = ["report"]

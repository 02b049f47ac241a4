"""`mlpf inspect`: what is in a dataset, a ROOT file or a checkpoint."""

from mlpf_stream.inspect.croissant import describe_dataset
from mlpf_stream.inspect.inspect import inspect

__all__ = ["describe_dataset", "inspect"]

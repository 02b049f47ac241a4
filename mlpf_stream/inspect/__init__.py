"""`mlpf inspect`: what is in a dataset, a ROOT file or a checkpoint."""

from mlpf_stream.inspect.croissant import describe_dataset
from mlpf_stream.inspect.inspect import inspect, judge_physics
from mlpf_stream.inspect.sample import SampleRequest

__all__ = ["SampleRequest", "describe_dataset", "inspect", "judge_physics"]

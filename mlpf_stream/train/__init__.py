"""`mlpf train`: launch, loop, step; checkpoints that survive a kill at any time."""

from mlpf_stream.train.launch import train
from mlpf_stream.train.rank import TrainSummary

__all__ = ["TrainSummary", "train"]

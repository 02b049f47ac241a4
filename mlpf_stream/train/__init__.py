"""`mlpf train`: launch, loop, step; checkpoints that survive a kill at any time."""

from mlpf_stream.train.launch import TrainSummary, train

__all__ = ["TrainSummary", "train"]

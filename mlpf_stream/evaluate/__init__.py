"""`mlpf evaluate`: a checkpoint or the baseline, judged on a dataset, per process."""

from mlpf_stream.evaluate.evaluate import EvaluateRequest, Evaluation, evaluate

__all__ = ["EvaluateRequest", "Evaluation", "evaluate"]

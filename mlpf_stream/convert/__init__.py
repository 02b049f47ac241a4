"""`mlpf convert`: EDM4HEP files to a dataset of shards, manifest last."""

from mlpf_stream.convert.convert import ConvertRequest, ConvertSummary, convert

__all__ = ["ConvertRequest", "ConvertSummary", "convert"]

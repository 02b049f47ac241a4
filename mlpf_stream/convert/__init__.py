"""`mlpf convert`: EDM4HEP files to a dataset of shards, manifest last."""

from mlpf_stream.convert.convert import convert
from mlpf_stream.convert.request import Card, ConvertRequest, ConvertSummary

__all__ = ["Card", "ConvertRequest", "ConvertSummary", "convert"]

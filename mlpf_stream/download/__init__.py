"""`mlpf download`: published events from their archives, verified and resumable."""

from mlpf_stream.download.catalogue import PUBLISHED, PublishedSet, published
from mlpf_stream.download.download import (
    DownloadRequest,
    DownloadSummary,
    download,
    list_files,
)
from mlpf_stream.download.server import Patience

__all__ = [
    "PUBLISHED",
    "DownloadRequest",
    "DownloadSummary",
    "Patience",
    "PublishedSet",
    "download",
    "list_files",
    "published",
]

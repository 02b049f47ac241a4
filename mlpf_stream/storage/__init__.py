"""The only door to objects: named byte strings below one URL, local, in memory or in S3."""

from mlpf_stream.storage.local import LocalStore
from mlpf_stream.storage.memory import MemoryStore
from mlpf_stream.storage.store import Store, open_store
from mlpf_stream.storage.upload import Upload

__all__ = ["LocalStore", "MemoryStore", "Store", "Upload", "open_store"]

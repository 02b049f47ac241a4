"""The only door to objects: named byte strings below one URL, local, in memory or in S3."""

from mlpf_stream.storage.local import LocalStore
from mlpf_stream.storage.memory import MemoryStore
from mlpf_stream.storage.store import Store, open_store

__all__ = ["LocalStore", "MemoryStore", "Store", "open_store"]

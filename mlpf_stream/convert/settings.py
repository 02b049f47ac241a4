"""What decides the bytes of a dataset besides its source files."""

import hashlib

from mlpf_stream import __version__
from mlpf_stream.columns import SCHEMA_VERSION, Mode
from mlpf_stream.manifest import Entry

DIGITS = 16


class Settings(Entry):
    """How events are read and stored; `field` in T, None where file or detector decides."""

    mode: Mode
    detector: str
    field: float | None
    tracker_hits: bool = False
    schema_version: int = SCHEMA_VERSION
    software: str = __version__


def digest_of(*parts: Entry | str) -> str:
    """Return 16 hexadecimal digits that name some values."""
    digest = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else part.model_dump_json()
        digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()[:DIGITS]

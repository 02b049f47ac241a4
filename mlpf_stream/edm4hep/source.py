"""Who a source file is: an identity by content, and the physics process it holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import xxhash

from mlpf_stream.edm4hep.process_names import published_process
from mlpf_stream.edm4hep.rootfile import RootFile, open_root
from mlpf_stream.errors import DataError, MissingDataError

PROCESS_TREE: Final = "mlpf_simulation"
"""Our own table with one row: process name, and generator settings as JSON."""

_MIB: Final = 2**20
_FILE_ID_DIGITS: Final = 12


def source_file_id(path: str) -> str:
    """Return 12 hexadecimal digits that identify a file by its size, first and last MiB.

    Raises:
        MissingDataError: no file is at that place.
    """
    place = Path(path)
    if not place.is_file():
        raise MissingDataError(f"expected a file, found none at {path!r}; check the path")
    size = place.stat().st_size
    digest = xxhash.xxh3_64(size.to_bytes(8, "little"))
    with place.open("rb") as stream:
        digest.update(stream.read(_MIB))
        stream.seek(max(0, size - _MIB))
        digest.update(stream.read(_MIB))
    return digest.hexdigest()[:_FILE_ID_DIGITS]


def process_of_path(path: str) -> str | None:
    """Return the process that the simulation wrote into the file, else that of a published name.

    Published names look like `p8_ee_ttbar_ecm380_1.root`. None where neither tells.

    Raises:
        MissingDataError: no file is at that place.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_root(path) as file:
        return process_of_file(file)


def process_of_file(file: RootFile) -> str | None:
    """Return the process of an open file, see `process_of_path`."""
    names = _written(file, "process")
    if names:
        return str(names[0])
    return published_process(file.path)


def generator_of_path(path: str) -> Mapping[str, str | int | float]:
    """Return the generator settings that the simulation wrote into the file; empty where none.

    Raises:
        MissingDataError: no file is at that place.
        DataError: the file is not ROOT, truncated or corrupt.
    """
    with open_root(path) as file:
        return generator_of_file(file)


def generator_of_file(file: RootFile) -> Mapping[str, str | int | float]:
    """Return the generator settings that the simulation wrote into a file; empty where none.

    Raises:
        DataError: the file is corrupt, or they are not JSON.
    """
    texts = _written(file, "generator")
    try:
        settings = json.loads(str(texts[0])) if texts else {}
    except (TypeError, ValueError) as error:
        raise DataError(
            f"expected generator settings as JSON in {PROCESS_TREE!r} of {file.path!r}, "
            f"found {texts[0]!r}; produce the file again"
        ) from error
    return settings if isinstance(settings, dict) else {}


def _written(file: RootFile, column: str) -> list[object]:
    """Return a column of the table that the simulation wrote; empty where there is none."""
    branches = file.branches(PROCESS_TREE) if PROCESS_TREE in file.keys else {}
    return file.objects(branches[column]) if column in branches else []

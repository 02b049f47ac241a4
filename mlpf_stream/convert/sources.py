"""Which files to convert, and what each one is: name, process, identity."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlpf_stream.columns import OOD_PROCESSES, Role
from mlpf_stream.edm4hep.source import generator_of_path, process_of_path, source_file_id
from mlpf_stream.errors import ConfigError, MissingDataError


@dataclass(frozen=True, slots=True)
class Source:
    """One source file: where it is, what physics process it holds, and its identity."""

    path: str
    process: str
    role: Role
    file_id: str
    bytes: int
    generator: dict[str, str | int | float]


def find_sources(patterns: Sequence[str]) -> list[str]:
    """Return the ROOT files that paths, globs and folders name, in order, each once.

    Raises:
        MissingDataError: a pattern that matches nothing.
    """
    found: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_dir():
            matches = sorted(str(path) for path in Path(pattern).rglob("*.root"))
        else:
            matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute globs
        if not matches:
            msg = f"expected ROOT files, a glob or a folder of them, found nothing at {pattern!r}"
            raise MissingDataError(msg)
        found.extend(matches)
    return list(dict.fromkeys(found))


def describe_source(path: str, process: str | None, role: Role | None) -> Source:
    """Return what a file is: its process by option, by the name written in it, or by its name.

    Raises:
        ConfigError: no way to tell the process.
    """
    name = process or process_of_path(path)
    if name is None:
        msg = (
            f"expected a physics process for {path!r}, found none: not written by "
            "'mlpf simulate' and not named p8_ee_NAME_ecm*; give --process NAME"
        )
        raise ConfigError(msg)
    if "/" in name or "." in name:
        raise ConfigError(f"expected a process name without dots or slashes, found {name!r}")
    default: Role = "ood" if name in OOD_PROCESSES else "train"
    return Source(
        path=path,
        process=name,
        role=role or default,
        file_id=source_file_id(path),
        bytes=Path(path).stat().st_size,
        generator=dict(generator_of_path(path)),
    )

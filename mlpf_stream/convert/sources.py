"""Which files to convert, and what each one is: name, process, identity."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlpf_stream.columns import OOD_PROCESSES, Role
from mlpf_stream.edm4hep.source import generator_of_path, process_of_path, source_file_id
from mlpf_stream.errors import ConfigError, DataError, MissingDataError


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

    A file that two paths lead to is taken by the first of them.

    Raises:
        MissingDataError: a pattern that matches nothing.
    """
    found: list[str] = []
    for pattern in patterns:
        if Path(pattern).is_file():
            matches = [pattern]  # a name may hold the special characters of a glob
        elif Path(pattern).is_dir():
            matches = sorted(str(path) for path in Path(pattern).rglob("*.root"))
        else:
            matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute globs
        if not matches:
            msg = f"expected ROOT files, a glob or a folder of them, found nothing at {pattern!r}"
            raise MissingDataError(msg)
        found.extend(matches)
    first: dict[Path, str] = {}
    for path in found:
        first.setdefault(Path(path).resolve(), path)
    return list(first.values())


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


def check_distinct(sources: Sequence[Source]) -> None:
    """Refuse two files of one identity: their events would share their keys.

    Raises:
        DataError: two files have the same size, first and last MiB.
    """
    known: dict[str, Source] = {}
    for source in sources:
        other = known.setdefault(source.file_id, source)
        if other is not source:
            msg = (
                f"expected files of different content, found {source.path!r} to be a copy of "
                f"{other.path!r}; leave one of them out"
            )
            raise DataError(msg)

"""The first look: who every source file is and about how much it holds; each file opened once."""

import re
from collections.abc import Sequence

from mlpf_stream.columns import DETECTORS
from mlpf_stream.convert.journal import record
from mlpf_stream.convert.quarantine import BadFile, bad_file
from mlpf_stream.convert.settings import Settings, digest_of
from mlpf_stream.convert.sources import Found, file_identity, local_file
from mlpf_stream.edm4hep.survey import Survey, survey_file
from mlpf_stream.errors import ConfigError, DataError
from mlpf_stream.manifest import Entry

PROCESS_NAME = re.compile(r"[A-Za-z0-9_-]+")
CHUNK = 16
"""Files of one task."""


class Look(Entry):
    """What a survey found: see `edm4hep.survey.Survey`."""

    process: str
    generator: dict[str, str | int | float]
    entries: int
    rows: dict[str, int]
    field: float
    field_source: str


class Scanned(Entry):
    """One file: its identity, and what it holds, or why it cannot be used.

    Neither is there for a file that the dataset has already.
    """

    path: str
    file_id: str
    bytes: int
    look: Look | None = None
    bad: BadFile | None = None

    @property
    def name(self) -> str:
        """Name of the file without its folders."""
        return self.path.rsplit("/", 1)[-1]


class ScanTask(Entry):
    """Some files to look at; those whose identity is `known` are only identified.

    `known` is None where only identities are asked for.
    """

    out: str
    settings: Settings
    process: str | None
    files: tuple[tuple[str, str], ...]
    known: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """Name of the task in the journal."""
        return f"scan/{digest_of(self.model_copy(update={'out': ''}))}"


class ScanResult(Entry):
    """What was found of the files of a task, in their order."""

    files: tuple[Scanned, ...]


def scan_tasks(task: ScanTask, found: Sequence[Found]) -> list[ScanTask]:
    """Return the tasks that look at all files, each made from `task`."""
    pairs = [(file.path, file.stamp) for file in found]
    chunks = [tuple(pairs[start : start + CHUNK]) for start in range(0, len(pairs), CHUNK)]
    return [task.model_copy(update={"files": chunk}) for chunk in chunks]


def scan(text: str) -> str:
    """Look at the files of a task: what a worker does, JSON in and out.

    Raises:
        ConfigError: a file does not tell its process.
    """
    task = ScanTask.model_validate_json(text)
    known = None if task.known is None else frozenset(task.known)
    files = tuple(_scan_file(task, path, known) for path, _ in task.files)
    result = ScanResult(files=files).model_dump_json()
    # A verdict on a bad file is never kept: the file may be mended before the next try.
    if task.known is not None and not any(file.bad for file in files):
        record(task.out, task.name, result)
    return result


def _scan_file(task: ScanTask, path: str, known: frozenset[str] | None) -> Scanned:
    with local_file(path) as place:
        file_id, size = file_identity(place)
        scanned = Scanned(path=path, file_id=file_id, bytes=size)
        if known is None or file_id in known:
            return scanned
        settings = task.settings
        detector = DETECTORS[settings.detector]
        try:
            survey = survey_file(place, detector, settings.mode, settings.field)
        except DataError as error:
            bad = bad_file(error, scanned.path, place, file_id, size)
            return scanned.model_copy(update={"bad": bad})
    return scanned.model_copy(update={"look": _look(survey, task.process, path)})


def _look(survey: Survey, process: str | None, path: str) -> Look:
    """Return what was found, with the process decided."""
    name = process or survey.process
    if name is None:
        msg = (
            f"expected a physics process for {path!r}, found none: not written by "
            "'mlpf simulate' and not named p8_ee_NAME_ecm*; give --process NAME"
        )
        raise ConfigError(msg)
    if not PROCESS_NAME.fullmatch(name):
        msg = f"expected a process name of letters, digits, '-' and '_', found {name!r}"
        raise ConfigError(f"{msg} for {path!r}; give one with --process")
    return Look(
        process=name,
        generator=dict(survey.generator),
        entries=survey.entries,
        rows=dict(survey.rows),
        field=survey.field,
        field_source=survey.field_source,
    )

"""One group of files into shards of its own: a task that is done whole or not at all.

Files are read step by step; in memory are one step, one shard and one pack per process and split.
A file that cannot be read to its end is left out: the group begins again without it.
"""

from collections.abc import Iterator

from mlpf_stream.columns import DETECTORS, MODE_KINDS
from mlpf_stream.convert.journal import record
from mlpf_stream.convert.plan import Source
from mlpf_stream.convert.quarantine import BadFile, bad_file
from mlpf_stream.convert.settings import Settings, digest_of
from mlpf_stream.convert.sources import local_file
from mlpf_stream.convert.tally import Tally
from mlpf_stream.edm4hep.events import ReadCounts, ReadRequest, read_events, sum_counts
from mlpf_stream.errors import DataError
from mlpf_stream.event import Events
from mlpf_stream.manifest import Entry, Manifest
from mlpf_stream.physics.baseline import reconstruct
from mlpf_stream.shards.writer import ShardLimits, ShardWriter
from mlpf_stream.storage import open_store


class GroupTask(Entry):
    """Files that one task converts, and the version and number that their shards are named by."""

    out: str
    settings: Settings
    version: int
    number: int
    files: tuple[Source, ...]

    @property
    def digest(self) -> str:
        """Name of what comes out: the same for the same files, wherever they lie."""
        who = (f"{file.path.rsplit('/', 1)[-1]} {file.file_id} {file.role}" for file in self.files)
        looks = (file.look for file in self.files)
        return digest_of(self.settings, f"{self.version} {self.number}", *who, *looks)

    @property
    def name(self) -> str:
        """Name of the task in the journal."""
        return f"group/{self.number:05d}-{self.digest}"

    @property
    def prefix(self) -> str:
        """What the names of the shards begin with; no two datasets in one place share it."""
        return f"v{self.version:04d}-{self.number:05d}-{self.digest[:8]}-"

    @property
    def entries(self) -> int:
        """Events in the files."""
        return sum(file.look.entries for file in self.files)


class Receipt(Entry):
    """What a group has become: its part of the manifest, and the files that were left out."""

    part: Manifest | None
    bad: tuple[BadFile, ...] = ()


def convert_group(text: str) -> str:
    """Convert a group of files: what a worker does, JSON in and out."""
    task = GroupTask.model_validate_json(text)
    bad: list[BadFile] = []
    while True:
        try:
            part = _write(task, frozenset(file.path for file in bad))
        except _BadFileError as stop:
            bad.append(stop.file)
        else:
            break
    receipt = Receipt(part=part, bad=tuple(bad)).model_dump_json()
    # A verdict on a bad file is never kept: the file may be mended before the next try.
    if not bad:
        record(task.out, task.name, receipt)
    return receipt


class _BadFileError(Exception):
    """One file of the group cannot be read to its end."""

    def __init__(self, file: BadFile) -> None:
        super().__init__(file.path)
        self.file = file


def _write(task: GroupTask, left_out: frozenset[str]) -> Manifest | None:
    """Write all files but those that are left out."""
    settings = task.settings
    kinds = MODE_KINDS[settings.mode]
    tally = Tally(DETECTORS[settings.detector], settings.mode, kinds)
    with ShardWriter(open_store(task.out), kinds, ShardLimits(), task.prefix) as writer:
        for source in task.files:
            if source.path not in left_out:
                tally.add_source(source, _write_file(settings, source, tally, writer))
        return tally.part(writer.close())


def _write_file(
    settings: Settings, source: Source, tally: Tally, writer: ShardWriter
) -> ReadCounts:
    """Write the events of one file; return what was found in it."""
    request = _request(settings, source)
    found: list[ReadCounts] = []
    with local_file(source.path) as place:
        for events, counts in _reading(source, place, request):
            found.append(counts)
            if len(events):
                tally.add_events(events, source.role)
                writer.add(events, source.role)
    return sum_counts(found)


def _reading(
    source: Source, place: str, request: ReadRequest
) -> Iterator[tuple[Events, ReadCounts]]:
    """Yield the steps of a file; what is wrong with it becomes one error."""
    try:
        yield from read_events(place, request)
    except DataError as error:
        bad = bad_file(error, source.path, place, source.file_id, source.bytes)
        raise _BadFileError(bad) from error


def _request(settings: Settings, source: Source) -> ReadRequest:
    """Return how to read a file; the rule-based baseline stands in where it holds none."""
    detector = DETECTORS[settings.detector]
    return ReadRequest(
        detector=detector,
        field=settings.field,
        process=source.look.process,
        mode=settings.mode,
        file_id=source.file_id,
        baseline=lambda events: reconstruct(events, detector).particles,
        tracker_hits=settings.tracker_hits,
    )

"""The two rounds of tasks of a conversion, each as far as the journal does not know it yet."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlpf_stream.convert.group import GroupTask, Receipt, convert_group
from mlpf_stream.convert.journal import Journal
from mlpf_stream.convert.launcher import Launcher
from mlpf_stream.convert.plan import Source, plan_groups
from mlpf_stream.convert.request import ConvertRequest
from mlpf_stream.convert.scan import Scanned, ScanResult, ScanTask, scan, scan_tasks
from mlpf_stream.convert.sources import Found
from mlpf_stream.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A conversion at work: what was asked, where it writes, who works."""

    request: ConvertRequest
    journal: Journal
    launcher: Launcher
    out: str

    def scan(self, found: Sequence[Found], known: Sequence[str] | None) -> list[Scanned]:
        """Look at all files, in their order; those whose identity is `known` are only identified.

        With None, all are only identified, and nothing is kept.

        Raises:
            ConfigError: a file does not tell its process.
        """
        example = ScanTask(
            out=self.out,
            settings=self.request.settings,
            process=self.request.process,
            files=(),
            known=None if known is None else tuple(known),
        )
        tasks = scan_tasks(example, found)
        results: dict[int, ScanResult] = {}
        for number, task in enumerate(tasks if known is not None else ()):
            if text := self.journal.result(task.name):
                results[number] = ScanResult.model_validate_json(text)
        left = [number for number in range(len(tasks)) if number not in results]
        done = sum(len(result.files) for result in results.values())
        texts = [tasks[number].model_dump_json() for number in left]
        with progress(len(found), "file", "scan", done=done) as bar:
            for item, text in self.launcher.results(scan, texts):
                results[left[item]] = ScanResult.model_validate_json(text)
                bar.update(len(results[left[item]].files))
        return [file for number in range(len(tasks)) for file in results[number].files]

    def groups(self, sources: Sequence[Source], version: int) -> list[GroupTask]:
        """Return the tasks that convert all sources into a version of the dataset."""
        groups = plan_groups(sources, self.request.mode)
        settings = self.request.settings
        return [
            GroupTask(out=self.out, settings=settings, version=version, number=n, files=files)
            for n, files in enumerate(groups)
        ]

    def finished(self, tasks: Sequence[GroupTask]) -> dict[int, Receipt]:
        """Return the groups that an earlier call has done."""
        receipts = {}
        for number, task in enumerate(tasks):
            if text := self.journal.result(task.name):
                receipts[number] = Receipt.model_validate_json(text)
        return receipts

    def convert(
        self, tasks: Sequence[GroupTask], receipts: dict[int, Receipt]
    ) -> Iterator[Receipt]:
        """Convert the groups that `receipts` lacks; yield all, in their order."""
        left = [number for number in range(len(tasks)) if number not in receipts]
        texts = [tasks[number].model_dump_json() for number in left]
        total = sum(task.entries for task in tasks)
        done = sum(tasks[number].entries for number in receipts)
        files = sum(len(tasks[number].files) for number in receipts)
        following = 0
        with progress(total, "event", "convert", done=done) as bar:
            for item, text in self.launcher.results(convert_group, texts):
                number = left[item]
                receipt = receipts[number] = Receipt.model_validate_json(text)
                files += len(tasks[number].files)
                bar.set_postfix(files=files, refresh=False)
                bar.update(tasks[number].entries)
                for bad in receipt.bad:
                    log.warning("left out %s: %s", bad.path, bad.reason)
                while following in receipts:
                    yield receipts[following]
                    following += 1
        yield from (receipts[number] for number in range(following, len(tasks)))

"""What a run writes down as it goes: per step a line of metrics, of event keys and of timing.

JSON lines on any store, gathered in memory and appended at every flush (that is, at every
checkpoint), and cut back to the checkpoint on resume, so that the journal of a resumed run equals
that of an undisturbed one. Timings never repeat, so they have a file of their own.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Self

import xxhash

from mlpf_stream.storage import Store

METRICS_FILE: Final = "metrics.jsonl"
KEYS_FILE: Final = "keys.jsonl"
TIMING_FILE: Final = "timing.jsonl"

Line = dict[str, float]


class Journal:
    """The logs of a run, open for appending after step `start`."""

    def __init__(self, run: Store, start: int) -> None:
        self._run = run
        self._waiting: dict[str, list[str]] = {METRICS_FILE: [], KEYS_FILE: [], TIMING_FILE: []}
        self._unsure: set[str] = set()
        for name in self._waiting:
            _cut_back(run, name, start)

    def metrics(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """Note the metrics of a step: what a repeated run repeats."""
        self._note(METRICS_FILE, {"step": step, **values})

    def keys(self, step: int, epoch: int, keys: Sequence[str], *, whole: bool) -> None:
        """Note a digest of the events of a global step, in order; the keys too if `whole`."""
        digest = xxhash.xxh3_64_hexdigest("\n".join(keys).encode())
        line = {"step": step, "epoch": epoch, "events": len(keys), "digest": digest}
        self._note(KEYS_FILE, line | ({"keys": list(keys)} if whole else {}))

    def timing(self, step: int, values: Mapping[str, float]) -> None:
        """Note the timings of a step [s]."""
        self._note(TIMING_FILE, {"step": step, **values})

    def _note(self, name: str, line: Mapping[str, object]) -> None:
        self._waiting[name].append(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Append what was noted since the last flush to the files; after an error, call it again.

        A store that reports an error may have appended all the same, or a part: then only what is
        not there is added.
        """
        for name, lines in self._waiting.items():
            if not lines:
                continue
            if name in self._unsure:
                _complete(self._run, name, lines)
            else:
                self._unsure.add(name)
                self._run.append(name, "".join(lines).encode())
            self._unsure.discard(name)
            lines.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def read_journal(run: Store, name: str) -> list[Line]:
    """Return the lines of a journal that are whole; none where there is no journal."""
    return [line for line in map(_parse, _lines(run, name)) if line is not None]


def _cut_back(run: Store, name: str, start: int) -> None:
    """Keep only whole lines of steps before `start`."""
    lines = _lines(run, name)
    parsed = [(text, _parse(text)) for text in lines if start]
    kept = [text for text, line in parsed if line is not None and line["step"] < start]
    if kept != lines:
        run.write(name, "".join(kept).encode())


def _complete(run: Store, name: str, lines: Sequence[str]) -> None:
    """Add those of the lines that are not in the file yet; what is cut short in it goes."""
    whole = [text for text in _lines(run, name) if _parse(text) is not None]
    there = set(whole)
    run.write(name, "".join([*whole, *(x for x in lines if x not in there)]).encode())


def _lines(run: Store, name: str) -> list[str]:
    """Return the lines of a file with their ends."""
    if not run.exists(name):
        return []
    # Bytes that a kill cut through are no reason to stop: their line is dropped.
    return run.read(name).decode("utf-8", "replace").splitlines(keepends=True)


def _parse(text: str) -> Line | None:
    """Return one line, or None for one that a kill cut short."""
    try:
        line: Line = json.loads(text)
    except ValueError:
        return None
    whole = text.endswith("\n") and isinstance(line, dict) and "step" in line
    return line if whole else None

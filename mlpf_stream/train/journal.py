"""What a run writes down as it goes: a line of metrics and a line of event keys per step.

JSON lines, flushed at every checkpoint and cut back to the checkpoint on resume, so that the
journal of a resumed run equals that of an undisturbed one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

import xxhash

METRICS_FILE = "metrics.jsonl"
KEYS_FILE = "keys.jsonl"


class Journal:
    """The two logs of a run, open for appending after step `start`."""

    def __init__(self, run: Path, start: int) -> None:
        self._metrics = _reopen(run / METRICS_FILE, start)
        self._keys = _reopen(run / KEYS_FILE, start)

    def metrics(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """Write the metrics of a step."""
        self._metrics.write(json.dumps({"step": step, **values}) + "\n")

    def keys(self, step: int, epoch: int, keys: Sequence[str], *, whole: bool) -> None:
        """Write a digest of the events of a global step, in order; the keys too if `whole`."""
        digest = xxhash.xxh3_64_hexdigest("\n".join(keys).encode())
        line = {"step": step, "epoch": epoch, "events": len(keys), "digest": digest}
        if whole:
            line["keys"] = list(keys)
        self._keys.write(json.dumps(line) + "\n")

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._metrics.flush()
        self._keys.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()
        self._keys.close()


def read_journal(path: Path) -> list[dict[str, float]]:
    """Return the lines of a journal that are whole."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in map(_parse, lines) if line is not None]


def _reopen(path: Path, start: int) -> IO[str]:
    """Open for appending, keeping only whole lines of steps before `start`."""
    kept = []
    if path.exists() and start:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = _parse(text)
            if line is not None and line["step"] < start:
                kept.append(text + "\n")
    path.write_text("".join(kept), encoding="utf-8")
    return path.open("a", encoding="utf-8")


def _parse(text: str) -> dict[str, float] | None:
    """Return one line, or None for one that a kill cut short."""
    try:
        line: dict[str, float] = json.loads(text)
    except ValueError:
        return None
    return line

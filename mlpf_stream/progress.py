"""Progress of long work on stderr: a live bar for people, a line now and then for logs."""

import sys
from typing import NoReturn

from tqdm import tqdm


def progress(total: int, unit: str, description: str, *, done: int = 0) -> "tqdm[NoReturn]":
    """Return a bar over `total` units, of which `done` are behind us; use it in a `with`."""
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        unit_scale=unit == "B",
        desc=description,
        file=sys.stderr,
        mininterval=0.2 if live else 15.0,
        ncols=None if live else 100,
        ascii=not live,
    )

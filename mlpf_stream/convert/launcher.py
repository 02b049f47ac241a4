"""Who does the tasks of a conversion: processes of this machine, or a Ray cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mlpf_stream.errors import ConfigError
from mlpf_stream.workers import open_pool


class Launcher(Protocol):
    """Does tasks, each from text to text, in any order."""

    def results(
        self, work: Callable[[str], str], items: Sequence[str]
    ) -> Iterator[tuple[int, str]]:
        """Yield the number and the result of every task as they come."""
        ...


def open_launcher(
    workers: int | None, ray_address: str | None, out: str
) -> AbstractContextManager[Launcher]:
    """Return the launcher that the user asked for.

    Raises:
        ConfigError: what several processes write would be lost.
        MissingExtraError, DeviceError: Ray is not installed, or no cluster answers.
    """
    if out.startswith("memory://") and ((workers or 1) > 1 or ray_address is not None):
        msg = f"expected a folder or s3:// for several processes, found {out!r}; use one worker"
        raise ConfigError(msg)
    if ray_address is None:
        return open_pool(workers or 1)
    from mlpf_stream.convert.ray_job import open_ray  # noqa: PLC0415 - only Ray jobs need Ray

    return open_ray(workers, ray_address)

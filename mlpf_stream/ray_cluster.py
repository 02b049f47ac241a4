"""A Ray cluster: one that is there already, or a local one of our own while the work lasts."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from mlpf_stream.config import RayConfig
from mlpf_stream.errors import DeviceError, MissingExtraError, MlpfError

try:
    import ray
    from ray.exceptions import RayError
except ImportError as error:
    raise MissingExtraError("ray[train,data]", "ray") from error

WARM_WORKERS = 16
"""Worker processes that a local Ray keeps between tasks."""


@contextmanager
def cluster(config: RayConfig) -> Iterator[None]:
    """Connect to a cluster; a local one is started here and ends with the context.

    The address is always given to Ray, so that another Ray on this host, or RAY_ADDRESS in the
    environment, is never taken by accident.

    Raises:
        DeviceError: no cluster answers at that address.
    """
    options: dict[str, Any] = {}
    _check_answers(config)
    if config.address == "local":
        options = {
            "num_cpus": config.cpus or len(os.sched_getaffinity(0)),
            "object_store_memory": int(config.object_store_mb * 1e6),
            "include_dashboard": False,
            # A small host allows few idle workers, for a second: each segment would start its own.
            "_system_config": {
                "num_workers_soft_limit": WARM_WORKERS,
                "idle_worker_killing_time_threshold_ms": 600_000,
            },
        }
    try:
        ray.init(
            address=config.address, log_to_driver=False, logging_level=logging.ERROR, **options
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(config, error) from error
    try:
        # Ray prints what its daemons say, and standard output is for our result.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def _check_answers(config: RayConfig) -> None:
    """Make sure that somebody listens at HOST:PORT: Ray itself would ask for minutes."""
    host, colon, port = config.address.rpartition(":")
    if not colon or not port.isdigit():
        return
    end = time.monotonic() + config.startup_seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=3.0).close()
        except OSError as error:
            if time.monotonic() >= end:
                raise _no_cluster(config, error) from error
            time.sleep(0.5)
        else:
            return


def _no_cluster(config: RayConfig, error: Exception) -> DeviceError:
    return DeviceError(
        f"expected a Ray cluster at ray.address = {config.address!r}, found none: {error}; "
        "start one, give HOST:PORT, or set ray.address=local"
    )


def typed_cause(error: BaseException) -> MlpfError | None:
    """Return the typed error inside what Ray raised, if there is one.

    Ray's wrapper poses as an error of the same type, with a traceback for its text: looked through.
    What Ray Data adds to the text, advice about its own settings, is taken off again.
    """
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, MlpfError) and not isinstance(at, RayError):
            at.args = (str(at).partition("\nFailed to apply UDF")[0],)
            return at
        at = getattr(at, "cause", None) or at.__cause__
    return None

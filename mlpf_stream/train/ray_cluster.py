"""The Ray cluster of a run: the one that the recipe names, or a local one while it lasts."""

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from mlpf_stream.config import RayConfig
from mlpf_stream.errors import DeviceError, MissingExtraError
from mlpf_stream.train.capacity import Capacity, Demand, check_capacity

try:
    import ray
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


def offered_accelerators() -> float:
    """Return the accelerators of the whole cluster."""
    return float(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]


def wait_for_capacity(config: RayConfig, demand: Demand) -> None:
    """Wait until the cluster can take the run; one that grows gets `startup_seconds`.

    Raises:
        DeviceError: it cannot; names the numbers.
    """
    patience = 0.0 if config.address == "local" else config.startup_seconds
    end = time.monotonic() + patience
    while True:
        try:
            check_capacity(_capacities(), demand)
        except DeviceError:
            if time.monotonic() >= end:
                raise
            time.sleep(1.0)
        else:
            return


def _capacities() -> list[Capacity]:
    """Return what each living node offers."""
    return [
        Capacity(
            cpus=float(node["Resources"].get("CPU", 0)),
            gpus=float(node["Resources"].get("GPU", 0)),
            store_bytes=int(node["Resources"].get("object_store_memory", 0)),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]

"""What a Ray cluster offers to a run, and the wait until it is enough."""

import time

from mlpf_stream.config import RayConfig
from mlpf_stream.errors import DeviceError, MissingExtraError
from mlpf_stream.train.capacity import Capacity, Demand, check_capacity

try:
    import ray
except ImportError as error:
    raise MissingExtraError("ray[train,data]", "ray") from error


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

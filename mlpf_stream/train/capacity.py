"""Whether a cluster can take all ranks and readers at once: asked before anything waits for it.

Ranks that hold every CPU while their readers wait for one hang for ever, without a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlpf_stream.config import Recipe
from mlpf_stream.errors import DeviceError

LARGEST_STORE_SHARE = 0.6
"""Part of the object store that live windows may fill; above 0.8 Ray begins to spill to disk."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one node offers."""

    cpus: float
    gpus: float
    store_bytes: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run asks for; CPUs and bytes of one rank include those of its readers."""

    ranks: int
    cpus_per_rank: float
    reader_cpus: float
    gpus_per_rank: int
    store_bytes: int


def demand_of(recipe: Recipe, pack_bytes: Sequence[int], *, accelerated: bool) -> Demand:
    """Return what a run on packs of these sizes needs of a cluster."""
    through_ray = recipe.engine == "ray"
    window = max(int(recipe.stream.window_mb * 1e6), max(pack_bytes, default=0))
    # Training and validation each have two segments, and two windows that the rank looks at.
    windows = 2 * (2 * recipe.ray.segment_windows + 2) * min(window, sum(pack_bytes))
    return Demand(
        ranks=recipe.train.ranks,
        cpus_per_rank=recipe.ray.cpus_per_rank,
        reader_cpus=recipe.ray.readers * recipe.ray.reader_cpus * through_ray,
        gpus_per_rank=int(accelerated),
        store_bytes=windows // recipe.train.ranks * through_ray,
    )


def check_capacity(nodes: Sequence[Capacity], demand: Demand) -> None:
    """Make sure that every rank and its readers find a place at the same time.

    Raises:
        DeviceError: they do not; names the numbers.
    """
    places = sum(_ranks_on(node, demand) for node in nodes)
    if places >= demand.ranks:
        return
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    store = sum(node.store_bytes for node in nodes)
    msg = (
        f"expected a cluster for {demand.ranks} ranks, each with {demand.cpus_per_rank:g} CPUs, "
        f"{demand.reader_cpus:g} CPUs of readers, {demand.gpus_per_rank} GPUs and "
        f"{demand.store_bytes / 1e6:.0f} MB of windows in the object store; found room for "
        f"{places}: {len(nodes)} nodes with {cpus:g} CPUs, {gpus:g} GPUs and "
        f"{store / 1e6:.0f} MB of object store, of which {LARGEST_STORE_SHARE:.0%} may fill; "
        "lower train.ranks, ray.cpus_per_rank, ray.reader_cpus, ray.segment_windows or "
        "stream.window_mb, or give the cluster more (a local one: ray.cpus, ray.object_store_mb)"
    )
    raise DeviceError(msg)


def _ranks_on(node: Capacity, demand: Demand) -> int:
    """Return how many ranks one node can take."""
    cpus = demand.cpus_per_rank + demand.reader_cpus
    fits = [int(node.cpus / cpus + 1e-9)]
    if demand.gpus_per_rank:
        fits.append(int(node.gpus / demand.gpus_per_rank + 1e-9))
    if demand.store_bytes:
        fits.append(int(node.store_bytes * LARGEST_STORE_SHARE / demand.store_bytes))
    return min(fits)

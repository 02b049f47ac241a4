"""A run that cannot start is refused before anything waits for it."""

from pathlib import Path

import pytest

from mlpf_stream.config import load_recipe
from mlpf_stream.errors import DeviceError
from mlpf_stream.train.capacity import Capacity, Demand, check_capacity, demand_of

RECIPES = Path(__file__).parents[3] / "recipes"
MB = 1_000_000


def node(cpus=2.0, gpus=0.0, store_mb=500):
    return Capacity(cpus, gpus, store_mb * MB)


def demand(**changes):
    values = {"ranks": 2, "cpus_per_rank": 1.0, "reader_cpus": 0.0, "gpus_per_rank": 0}
    return Demand(**{**values, "store_bytes": 0, **changes})


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([node()], demand()),
        ([node(1), node(1)], demand()),
        ([node(2.5)], demand(reader_cpus=0.25)),
        ([node(0.3)], demand(ranks=3, cpus_per_rank=0.1)),
        ([node(8, gpus=2)], demand(gpus_per_rank=1)),
        ([node(store_mb=500)], demand(store_bytes=150 * MB)),
    ],
)
def test_what_fits_is_let_through(nodes, wanted):
    check_capacity(nodes, wanted)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_recipes_fit_a_local_ray_with_data_of_any_size(path, ranks):
    recipe = load_recipe(str(path), ["train.launcher=ray", f"train.ranks={ranks}"])
    wanted = demand_of(recipe, [5 * MB] * 10_000, accelerated=False)
    assert wanted.store_bytes > 100 * MB
    check_capacity([node(2, store_mb=recipe.ray.object_store_mb)], wanted)


@pytest.mark.parametrize(
    ("nodes", "wanted", "message"),
    [
        ([], demand(), "found room for 0: 0 nodes"),
        ([node(1)], demand(), "2 ranks, each with 1 CPUs.* found room for 1: 1 nodes with 1 CPUs"),
        ([node(2)], demand(reader_cpus=0.25), r"0\.25 CPUs of readers.* found room for 1"),
        ([node(1.5), node(1.5)], demand(ranks=3), "found room for 2: 2 nodes with 3 CPUs"),
        ([node(8, gpus=1)], demand(gpus_per_rank=1), "1 GPUs.* found room for 1"),
        ([node(store_mb=500)], demand(store_bytes=151 * MB), "151 MB.* found room for 1: .*500 MB"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(nodes, wanted, message):
    with pytest.raises(DeviceError, match=message):
        check_capacity(nodes, wanted)

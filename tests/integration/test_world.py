"""Real processes and gloo: several ranks compute what one rank computes."""

import pickle
from dataclasses import replace

import pytest
import torch
from dataset import write_dataset
from torch import distributed, multiprocessing

from mlpf_stream.config import LossConfig, Recipe, StreamConfig, TrainConfig
from mlpf_stream.errors import NonFiniteLossError, TrainingError
from mlpf_stream.models.artifact import parameter_digest
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.storage import open_store
from mlpf_stream.stream.collate import BatchShape
from mlpf_stream.stream.direct import DirectReader
from mlpf_stream.stream.plan import share_range, shares
from mlpf_stream.stream.planner import Planner
from mlpf_stream.stream.rank_plan import route
from mlpf_stream.stream.steps import stream_steps
from mlpf_stream.train.rank import fresh_network
from mlpf_stream.train.step import backward, build_learner, train_step
from mlpf_stream.train.world import World

G = 4
STREAM = {"row_budget": 128, "micro_batches": G, "window_mb": 0.03, "buckets": 3}
MODEL = {"width": 16, "layers": 2, "heads": 2, "block": 8}


def open_world(world, url, layout, kind, *, deterministic=False):
    """Return this rank's learner, and its steps over one epoch: the last one is half empty."""
    torch.set_num_threads(1)
    torch.manual_seed(4)
    index = open_dataset(open_store(url))
    model = {**MODEL, "kind": kind}
    if kind == "mlp":
        del model["heads"]
    recipe = Recipe.model_validate({"data": {"url": url}, "model": model})
    network = fresh_network(recipe, index.manifest)
    stream = StreamConfig(layout=layout, **STREAM)
    own = share_range(shares(G, world.size), world.rank)
    plan = Planner(index, stream, 3, own).rank_plan("train", 0)
    steps = stream_steps(
        DirectReader(index.store, index.kinds, 0), index,
        lambda: route(lambda _: plan, 0, 0, plan.plan.steps), BatchShape(128, MODEL["block"]),
    )  # fmt: skip
    learner = build_learner(network, world, TrainConfig(deterministic=deterministic), LossConfig())
    return learner, list(steps)


def rank_main(rank, size, folder, work, arguments):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size
    )
    result = globals()[work](World(rank, size), *arguments)
    with (folder / f"{rank}.pickle").open("wb") as file:
        pickle.dump(result, file)
    distributed.destroy_process_group()


def on_ranks(size, folder, work, *arguments):
    """Return what `work(world, ...)` returned on each of `size` processes."""
    folder.mkdir()
    multiprocessing.spawn(rank_main, (size, folder, work, arguments), nprocs=size)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(size)]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("world") / "data")
    write_dataset(path, {"ttbar": (90, "train"), "qq": (60, "train")}, pack_events=8)
    return path


def all_gradients(world, url, layout, kind):
    learner, steps = open_world(world, url, layout, kind)
    found = []
    for step in steps:
        learner.optimizer.zero_grad()
        sums = backward(learner, step)
        gradients = {name: p.grad.clone() for name, p in learner.network.named_parameters()}
        found.append((gradients, world.sum(sums)))
    return found


@pytest.mark.parametrize(
    ("layout", "kind"),
    [("packed", "lsh_gnn"), ("bucketed", "lsh_gnn"), ("packed", "performer"), ("packed", "mlp")],
)
def test_two_ranks_have_the_gradients_of_one(url, tmp_path, layout, kind):
    alone = all_gradients(World(), url, layout, kind)
    ranks = on_ranks(2, tmp_path / "ranks", "all_gradients", url, layout, kind)
    assert len(alone) > 5
    for number, (expected, sums) in enumerate(alone):
        scale = max(float(gradient.abs().max()) for gradient in expected.values())
        for gradients, own_sums in (rank[number] for rank in ranks):
            assert own_sums == pytest.approx(sums, rel=1e-5)
            for name, gradient in expected.items():
                assert torch.allclose(gradients[name], gradient, rtol=1e-4, atol=1e-6 * scale), name
        for name in expected:
            assert torch.equal(ranks[0][number][0][name], ranks[1][number][0][name])


def trained(world, url, deterministic):
    learner, steps = open_world(world, url, "packed", "lsh_gnn", deterministic=deterministic)
    for number, step in enumerate(steps):
        train_step(learner, step, number)
    digest = parameter_digest(learner.network)
    world.check_same(digest, "parameters")
    return digest


def test_ranks_stay_in_step_through_an_epoch(url, tmp_path):
    digests = on_ranks(3, tmp_path / "ranks", "trained", url, True)
    assert len(set(digests)) == 1


def in_rank_order(world, url):
    """Return whether each gradient is the sum of the ranks' own, added in rank order."""
    learner, steps = open_world(world, url, "packed", "lsh_gnn", deterministic=True)
    alone = replace(learner, replica=learner.network)
    same = []
    for step in steps:
        learner.optimizer.zero_grad()
        backward(learner, step)
        found = [p.grad.clone() for p in learner.network.parameters()]
        learner.optimizer.zero_grad()
        backward(alone, step)
        for parameter, mean in zip(learner.network.parameters(), found, strict=True):
            parts = [torch.empty_like(parameter.grad) for _ in range(world.size)]
            distributed.all_gather(parts, parameter.grad)
            total = parts[0].clone()
            for part in parts[1:]:
                total += part
            same.append(torch.equal(mean, total / world.size))
    return all(same), len(same)


def test_deterministic_adds_gradients_in_rank_order(url, tmp_path):
    for same, count in on_ranks(3, tmp_path / "ranks", "in_rank_order", url):
        assert same
        assert count > 100


def drifted(world, url):
    try:
        world.check_same(f"{world.rank // 2:016x}", "parameters")
    except TrainingError as error:
        return str(error)
    return ""


def test_a_rank_that_drifted_is_named_on_all_ranks(url, tmp_path):
    messages = on_ranks(3, tmp_path / "ranks", "drifted", url)
    assert all("same parameters on all 3 ranks, found others than rank 0's on rank 2" in m
               for m in messages)  # fmt: skip


def poisoned(world, url):
    learner, steps = open_world(world, url, "packed", "mlp")
    if world.rank == 1:
        steps[0].batches[0].x_TF[:] = float("nan")
    before = parameter_digest(learner.network)
    try:
        train_step(learner, steps[0], 7)
    except NonFiniteLossError as error:
        return error.step, error.rank, error.keys, before == parameter_digest(learner.network)
    return None


def test_a_loss_that_is_not_finite_names_its_rank_and_changes_nothing(url, tmp_path):
    found = on_ranks(2, tmp_path / "ranks", "poisoned", url)
    assert found[0] == found[1]
    step, rank, keys, untouched = found[0]
    assert (step, rank, untouched) == (7, 1, True)
    assert keys

"""The Ray engine gives what the direct engine gives, bit for bit, through a real Ray."""

from pathlib import Path

import numpy as np
import pytest
import ray
from batches import same
from dataset import write_dataset

from mlpf_stream.config import RayConfig, StreamConfig
from mlpf_stream.errors import MissingDataError, ShardError
from mlpf_stream.stream.collate import BatchShape
from mlpf_stream.stream.direct import DirectReader
from mlpf_stream.stream.plan import share_range, shares
from mlpf_stream.stream.planner import Planner
from mlpf_stream.stream.rank_plan import route
from mlpf_stream.stream.ray_data import RayDataReader
from mlpf_stream.stream.steps import stream_steps
from mlpf_stream.stream.window import WindowRequest, window_requests

SHAPE = BatchShape(rows=128, block=16)
EPOCHS = 2


@pytest.fixture(scope="module")
def ray_cluster():
    """A Ray of its own with two CPUs; a worker's import of torch alone takes a second."""
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=100_000_000,
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray") / "data"
    return write_dataset(
        str(folder), {"ttbar": (90, "train"), "qq": (60, "train")}, pack_events=8,
        shard_bytes=1 << 15,
    )  # fmt: skip


def ray_reader(index, record=lambda text: None, **changes):
    config = RayConfig(**{"segment_windows": 3, **changes})
    return RayDataReader(index.store.url, index.manifest.mode, config, record)


def planner(index, layout, world, rank):
    stream = StreamConfig(
        layout=layout, buckets=3, row_budget=SHAPE.rows, micro_batches=4, window_mb=0.03
    )
    own = share_range(shares(stream.micro_batches, world), rank)
    return Planner(index, stream, 3, own)


def steps(read, index, plans, start=0, count=None):
    count = EPOCHS * plans.rank_plan("train", 0).plan.steps if count is None else count

    def routes():
        return route(lambda epoch: plans.rank_plan("train", epoch), 0, start, count)

    return list(stream_steps(read, index, routes, SHAPE))


@pytest.mark.parametrize("layout", ["packed", "bucketed"])
@pytest.mark.parametrize("world", [1, 3])
def test_both_engines_give_the_same_batches_over_two_epochs(ray_cluster, index, layout, world):
    for rank in range(world):
        plans = planner(index, layout, world, rank)
        direct = steps(DirectReader(index.store, index.kinds, 2), index, plans)
        through_ray = steps(ray_reader(index), index, plans)
        assert [step.number for step in through_ray] == [step.number for step in direct]
        assert len(through_ray) > plans.rank_plan("train", 0).plan.steps
        for a, b in zip(direct, through_ray, strict=True):
            assert a.keys == b.keys
            assert all(same(x, y) for x, y in zip(a.batches, b.batches, strict=True))


def test_starting_in_the_middle_reads_only_the_rest(ray_cluster, index):
    plans, texts = planner(index, "packed", 2, 1), []
    whole = steps(DirectReader(index.store, index.kinds, 0), index, plans)
    rest = steps(ray_reader(index, texts.append), index, plans, start=5, count=len(whole) - 5)
    for a, b in zip(whole[5:], rest, strict=True):
        assert all(same(x, y) for x, y in zip(a.batches, b.batches, strict=True))


def test_statistics_name_every_window(ray_cluster, index):
    texts = []
    plans = planner(index, "packed", 1, 0)
    steps(ray_reader(index, texts.append), index, plans)
    windows = sum(len(plans.rank_plan("train", epoch).windows) for epoch in range(EPOCHS))
    assert sum(int(rows_of(text, "read_windows")) for text in texts) == windows


def rows_of(text, operator):
    part = text.partition(operator)[2]
    return part.partition("Output num rows per block: ")[2].partition(" total")[0].split()[-1]


@pytest.mark.parametrize("spoil", ["flip", "remove"])
def test_a_spoilt_shard_is_a_typed_error_with_its_place(ray_cluster, tmp_path, spoil):
    index = write_dataset(str(tmp_path), {"qq": (60, "train")})
    path = Path(tmp_path) / "shards" / "000000.tar"
    expected = {"flip": ShardError, "remove": MissingDataError}[spoil]
    if spoil == "remove":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        for place in index.packs:
            data[place.entry.offset + 100] ^= 0xFF
        path.write_bytes(data)
    with pytest.raises(expected, match=r"000000\.tar") as caught:
        steps(ray_reader(index), index, planner(index, "packed", 1, 0))
    assert caught.type is expected
    assert "\n" not in str(caught.value)


def test_a_request_survives_the_wire(index):
    plans = planner(index, "bucketed", 2, 0)
    for request in window_requests(index, [plans.rank_plan("train", 0)]):
        back = WindowRequest.decode(request.encode())
        assert back.packs == request.packs
        assert (back.epoch, back.number, back.keys) == (request.epoch, request.number, request.keys)
        assert np.array_equal(back.pack, request.pack)
        assert np.array_equal(back.row, request.row)

"""The same network on a CUDA device and on the CPU gives the same answer."""

import pytest
import torch
from dataset import write_dataset

from mlpf_stream.config import Recipe
from mlpf_stream.device import open_device
from mlpf_stream.shards.reader import read_events
from mlpf_stream.stream.collate import BatchShape, collate_all
from mlpf_stream.train import train
from mlpf_stream.train.rank import fresh_network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def recipe(folder, url, device):
    return Recipe.model_validate(
        {
            "run": {"dir": str(folder), "seed": 4},
            "data": {"url": url},
            "stream": {"row_budget": 512},
            "model": {"kind": "lsh_gnn", "width": 32, "layers": 2, "heads": 2, "block": 16},
            "train": {"steps": 20, "device": device, "threads": 1},
        }
    )


def test_predictions_agree_with_the_cpu(tmp_path):
    url = "memory://cuda-predict"
    index = write_dataset(url, {"ttbar": (40, "train")})
    torch.manual_seed(1)
    network = fresh_network(recipe(tmp_path, url, "cpu"), index.manifest).eval()
    batches = list(collate_all(read_events(index), BatchShape(512, 16)))
    device = open_device("cuda")
    with torch.no_grad():
        for batch in batches:
            here = network.cpu()(batch)
            there = network.to(device)(batch.to(device))
            for a, b in zip(here, there, strict=True):
                apart = (a - b.cpu()).abs().flatten()
                assert apart.quantile(0.999) <= 1e-4


def test_training_agrees_with_the_cpu(tmp_path):
    url = "memory://cuda-train"
    write_dataset(url, {"ttbar": (60, "train")})
    here = train(recipe(tmp_path / "cpu", url, "cpu"))
    there = train(recipe(tmp_path / "cuda", url, "cuda"))
    assert there.last_loss == pytest.approx(here.last_loss, rel=1e-2)

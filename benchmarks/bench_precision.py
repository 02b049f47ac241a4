"""What fp32 and bf16 cost on this machine: ms of a training step per network, one thread.

Steps of all networks and precisions take turns, so that a drifting machine touches them alike; the
median of each is printed, with the ratio of bf16 to fp32.
"""

import argparse
import itertools
import json
import statistics
import sys
import time

import numpy as np
import torch
from pydantic import TypeAdapter

from mlpf_stream.columns import DETECTORS, KINDS, MOMENTUM
from mlpf_stream.config import LossConfig, ModelConfig, TrainConfig
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.layout import build_layout
from mlpf_stream.models.network import build_network
from mlpf_stream.stream.collate import WIDTH
from mlpf_stream.stream.steps import Step
from mlpf_stream.train.step import Learner, build_learner, train_step
from mlpf_stream.train.world import World

MODELS = ("lsh_gnn", "performer", "mlp")
PRECISIONS = ("fp32", "bf16")


def main() -> int:
    """Print one row per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--rows", type=int, default=1024, help="rows T of the batch")
    parser.add_argument("--repeats", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    step = make_step(options.rows)
    learners = {pair: make_learner(*pair) for pair in itertools.product(MODELS, PRECISIONS)}
    spent: dict[tuple[str, str], list[float]] = {pair: [] for pair in learners}
    for repeat in range(options.repeats + 1):
        for pair, learner in learners.items():
            began = time.perf_counter()
            train_step(learner, step, repeat)
            if repeat:  # the first one warms up
                spent[pair].append(1e3 * (time.perf_counter() - began))
    rows = []
    for model in MODELS:
        fp32, bf16 = (statistics.median(spent[model, precision]) for precision in PRECISIONS)
        rows.append({"model": model, "fp32_ms": fp32, "bf16_ms": bf16, "bf16_ratio": bf16 / fp32})
    result = {"rows_of_batch": options.rows, "threads": 1, "rows": rows}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))
    return 0


def make_learner(model: str, precision: str) -> Learner:
    """Return a learner of the lite size."""
    torch.manual_seed(1)
    config: ModelConfig = TypeAdapter(ModelConfig).validate_python({"kind": model})
    network = build_network(config, FeatureStatistics.neutral(), DETECTORS["clic"])
    train = TrainConfig.model_validate({"precision": precision})
    return build_learner(network, World(), train, LossConfig())


def make_step(rows: int) -> Step:
    """Return one micro-batch of random events of about 110 elements."""
    rng = np.random.default_rng(1)
    sizes = np.array([110] * (rows // 110), np.int64)
    real = int(sizes.sum())
    x_TF = torch.from_numpy(np.abs(rng.normal(size=(rows, WIDTH))).astype(np.float32))
    codes = np.array([kind.code for kind in KINDS.values()])
    kind_T = torch.from_numpy(rng.choice(codes, rows))
    kind_T[real:] = 0
    class_T = torch.from_numpy(rng.integers(0, 6, rows))
    class_T[real:] = -1
    momentum_TM = torch.from_numpy(rng.uniform(0.1, 1.0, (rows, len(MOMENTUM))).astype(np.float32))
    batch = Batch(
        x_TF,
        kind_T,
        build_layout(sizes, rows, 64),
        class_T,
        torch.zeros(rows, dtype=torch.int64),
        momentum_TM,
        tuple(f"event-{number}" for number in range(len(sizes))),
        real,
    )
    return Step(0, 0, (batch,), real, int((class_T > 0).sum()), rows, batch.keys)


if __name__ == "__main__":
    sys.exit(main())

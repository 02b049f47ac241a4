"""What it costs that a consumer is slower than Ray Data: one Dataset, or segments of a few windows.

The same windows go through one streaming Dataset and through segments as the Ray engine cuts
them, to a consumer that only sleeps. Printed is the CPU time of the consuming process [s], which is
what training loses. Source of the question: docs/decisions/0007.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data

MB = 1_000_000


def main() -> int:
    """Print CPU and wall seconds of both ways, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--window-mb", type=float, default=10.0)
    parser.add_argument("--sleep", type=float, default=0.5, help="consumer's seconds per window")
    parser.add_argument("--segment", type=int, default=4, help="windows of a segment")
    options = parser.parse_args()
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
        object_store_memory=512 * MB,
    )  # fmt: skip
    size = int(options.window_mb * MB)
    consume(whole(range(2), size), 0.0)  # workers and imports are warm before anything is timed
    rows = {
        "one_dataset": consume(whole(range(options.windows), size), options.sleep),
        "segments": consume(
            in_segments(range(options.windows), size, options.segment), options.sleep
        ),
    }
    ray.shutdown()
    ratio = rows["segments"]["cpu_seconds"] / rows["one_dataset"]["cpu_seconds"]
    result = {"windows": options.windows, "window_mb": options.window_mb, "cpu_ratio": ratio} | rows
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))
    return 0


def consume(blocks: Iterator[pa.Table], seconds: float) -> dict[str, float]:
    """Take every block, sleep for each, and measure this process."""
    wall, cpu, first, count = time.perf_counter(), time.process_time(), 0.0, 0
    for count, block in enumerate(blocks, 1):
        first = first or time.perf_counter() - wall
        if block["window"][0].as_py() != count - 1:
            msg = f"expected window {count - 1}, found {block['window'][0]}"
            raise RuntimeError(msg)
        time.sleep(seconds)
    return {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
        "first_seconds": first,
        "windows": count,
    }


def dataset(windows: range, size: int) -> "ray.data.Dataset":
    """Return the windows as a Dataset of one row and block each, read by tasks without a CPU."""
    rows = [{"window": number} for number in windows]
    found = ray.data.from_items(rows, override_num_blocks=len(rows))
    context = found.context
    context.execution_options.preserve_order = True
    context.target_max_block_size = None
    context.enable_progress_bars = False
    return found.map_batches(
        make_window,  # type: ignore[arg-type]
        fn_kwargs={"size": size},
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=0,
        compute=ray.data.TaskPoolStrategy(size=1),
    )


def make_window(table: pa.Table, size: int) -> pa.Table:
    """Stand for reading: fill a window with bytes."""
    data = [
        np.full(size, number % 256, np.uint8).tobytes() for number in table["window"].to_pylist()
    ]
    return pa.table({"window": table["window"], "data": pa.array(data, pa.large_binary())})


def whole(windows: range, size: int) -> Iterator[Any]:
    """Yield the windows from one streaming Dataset."""
    yield from dataset(windows, size).iter_batches(
        batch_size=None, batch_format="pyarrow", prefetch_batches=1
    )


def in_segments(windows: range, size: int, largest: int) -> Iterator[pa.Table]:
    """Yield the windows from segments, one executed while the one before is consumed."""

    def execute(part: range) -> list[Any]:
        bundles = dataset(part, size).materialize().iter_internal_ref_bundles()
        return [block for bundle in bundles for block in bundle.block_refs]

    parts, start, length = [], windows.start, 1
    while start < windows.stop:
        parts.append(range(start, min(start + length, windows.stop)))
        start, length = start + length, min(2 * length, largest)
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(execute, part) for part in parts[:1]]
        for part in (*parts[1:], None):
            blocks = coming.pop().result()
            if part is not None:
                coming.append(pool.submit(execute, part))
            while blocks:
                yield ray.get(blocks.pop(0))


if __name__ == "__main__":
    sys.exit(main())

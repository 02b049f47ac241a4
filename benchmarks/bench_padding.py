"""How much of what is computed is real, and how fast an epoch is planned: packed and bucketed.

Lengths are lognormal as those of CLIC events with clusters (median 150, sigma 0.5, 10 to 600).
"""

import argparse
import json
import sys
import time

import numpy as np

from mlpf_stream.stream.plan import PlanSpec, PlanTable, plan_epoch

PACK = 250
PACK_BYTES = 4_500_000


def main() -> int:
    """Print one row per layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--row-budget", type=int, default=16_384)
    parser.add_argument("--window-mb", type=float, default=32.0)
    options = parser.parse_args()
    table = make_table(options.events)
    rows = []
    for layout, buckets in (("packed", 1), ("bucketed", 8), ("bucketed", 16)):
        spec = PlanSpec(
            seed=1,
            epoch=0,
            micro_batches=16,
            row_budget=options.row_budget,
            window_bytes=int(options.window_mb * 1e6),
            layout="packed" if layout == "packed" else "bucketed",
            buckets=buckets,
        )
        began = time.perf_counter()
        plan = plan_epoch(table, spec)
        seconds = time.perf_counter() - began
        rows.append(
            {
                "layout": layout,
                "buckets": buckets if layout == "bucketed" else None,
                "real_row_fraction": plan.real_row_fraction,
                "events_per_second": options.events / seconds,
            }
        )
    result = {"events": options.events, "row_budget": options.row_budget, "rows": rows}
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))
    return 0


def make_table(events: int) -> PlanTable:
    """Return an index of one process in packs of 250 events."""
    rng = np.random.default_rng(1)
    length = np.clip(rng.lognormal(np.log(150), 0.5, events), 10, 600).astype(np.int64)
    pack = np.arange(events, dtype=np.int64) // PACK
    packs = int(pack[-1]) + 1
    return PlanTable(
        digest="bench",
        keys=[f"qq-0-{number}" for number in range(events)],
        length=length,
        particles=length // 3,
        pack=pack,
        chosen=np.ones(events, np.bool_),
        pack_bytes=np.full(packs, PACK_BYTES, np.int64),
        pack_process=np.zeros(packs, np.int64),
        process_names=("qq",),
    )


if __name__ == "__main__":
    sys.exit(main())

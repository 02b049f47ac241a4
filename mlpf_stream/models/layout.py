"""Where the rows of a batch go: events, strips, blocks and slots, as index tensors.

A packed batch holds T rows: the rows of one event after the other, then a tail that forms one more
event. A padded batch gives each event L rows; its pads, wherever they stand, are the tail. Every
event is cut into blocks of at most W rows, of equal size to within one row, and
consecutive blocks form strips. Which row lies in which block is decided later, by sorting: the
layout only says which *rank* of the sorted rows lies in which strip and in which *slot* of which
block. It depends on the event sizes alone, so the host makes it while the device computes.

Shape letters: T packed rows, E events, L rows of a padded event, B blocks, W slots of a block,
S = B * W slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Index tensors of one batch (int64, `real_BW` bool).

    `event_T` event number of each row, that of the tail the largest; `strip_of_rank_T` strip number
    of each rank, unique over the batch; `slot_of_rank_T` slot of each rank; `rank_of_slot_S` rank
    in each slot, in a pad the first rank of the same block; `real_BW` true where a slot holds a
    row.
    """

    event_T: Tensor
    strip_of_rank_T: Tensor
    slot_of_rank_T: Tensor
    rank_of_slot_S: Tensor
    real_BW: Tensor

    @property
    def rows(self) -> int:
        """Number of rows T."""
        return self.event_T.shape[0]

    @property
    def blocks(self) -> int:
        """Number of blocks B, empty ones included."""
        return self.real_BW.shape[0]

    @property
    def block(self) -> int:
        """Slots of a block W."""
        return self.real_BW.shape[1]

    def to(self, device: torch.device) -> "Layout":
        """Return the same layout on `device`."""
        return Layout(
            self.event_T.to(device, non_blocking=True),
            self.strip_of_rank_T.to(device, non_blocking=True),
            self.slot_of_rank_T.to(device, non_blocking=True),
            self.rank_of_slot_S.to(device, non_blocking=True),
            self.real_BW.to(device, non_blocking=True),
        )


def build_layout(
    sizes_E: I64 | Sequence[int], rows: int, block: int, blocks: int | None = None
) -> Layout:
    """Lay out events of `sizes_E` rows and a tail in `rows` rows, at most `block` rows per block.

    `blocks` fixes the number of blocks, for static shapes: the surplus is empty. By default there
    are as many as needed.

    Raises:
        ValueError: a size is negative, the events do not fit in `rows`, or `blocks` is too small.
    """
    sizes = _with_tail(np.asarray(sizes_E, dtype=np.int64), rows)
    needed_E = -(-sizes // block)
    event_B = np.repeat(np.arange(len(sizes), dtype=np.int64), needed_E)
    number_B = np.arange(len(event_B), dtype=np.int64) - _starts(needed_E)[event_B]
    smaller_E, larger_E = np.divmod(sizes, np.maximum(needed_E, 1))
    size_B = smaller_E[event_B] + (number_B < larger_E[event_B])
    strips_E = np.rint(np.sqrt(needed_E)).astype(np.int64)
    strip_B = _starts(strips_E)[event_B] + number_B * strips_E[event_B] // needed_E[event_B]
    start_B = _starts(size_B)
    first_slot_B = np.arange(len(event_B), dtype=np.int64) * block
    empty = _surplus(len(event_B), blocks)
    slot_W = np.arange(block, dtype=np.int64)
    real_BW = slot_W < np.concatenate([size_B, empty])[:, None]
    rank_BW = np.concatenate([start_B, empty])[:, None] + slot_W * real_BW
    slot_of_rank_T = np.repeat(first_slot_B - start_B, size_B) + np.arange(rows, dtype=np.int64)
    return Layout(
        torch.from_numpy(np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)),
        torch.from_numpy(np.repeat(strip_B, size_B)),
        torch.from_numpy(slot_of_rank_T),
        torch.from_numpy(rank_BW.reshape(-1)),
        torch.from_numpy(real_BW),
    )


def padded_layout(
    sizes_E: I64 | Sequence[int], events: int, length: int, block: int, blocks: int | None = None
) -> Layout:
    """Lay out events in `events` places of `length` rows each; event e owns the first of place e.

    All other rows, those of places without event too, are the tail. Ranks, blocks and slots are
    those of the same events packed: sorting by event number brings the rows together.

    Raises:
        ValueError: a size is negative or beyond `length`, more events than places, or `blocks` is
            too small.
    """
    sizes = np.asarray(sizes_E, dtype=np.int64)
    if len(sizes) > events:
        raise ValueError(f"expected at most {events} events, found {len(sizes)}")
    if len(sizes) and int(sizes.max()) > length:
        raise ValueError(
            f"expected events of at most {length} rows, found {int(sizes.max())} in event "
            f"{int(sizes.argmax())}; it belongs to a longer bucket"
        )
    packed = build_layout(sizes, events * length, block, blocks)
    event_EL = np.full((events, length), len(sizes), dtype=np.int64)
    number_E1 = np.arange(len(sizes), dtype=np.int64)[:, None]
    real_EL = np.arange(length, dtype=np.int64) < sizes[:, None]
    event_EL[: len(sizes)] = np.where(real_EL, number_E1, len(sizes))
    return replace(packed, event_T=torch.from_numpy(event_EL.reshape(-1)))


def _with_tail(sizes_E: I64, rows: int) -> I64:
    """Append the rows that no event owns as one more event."""
    if len(sizes_E) and int(sizes_E.min()) < 0:
        raise ValueError(f"expected event sizes >= 0, found {int(sizes_E.min())}")
    tail = rows - int(sizes_E.sum())
    if tail < 0:
        raise ValueError(
            f"expected events of at most {rows} rows together, found {rows - tail}; "
            "raise stream.row_budget or plan fewer events per micro-batch"
        )
    return np.append(sizes_E, tail) if tail else sizes_E


def _surplus(needed: int, blocks: int | None) -> I64:
    """Return a zero for every empty block."""
    if blocks is not None and blocks < needed:
        raise ValueError(f"expected at least {needed} blocks for these events, found {blocks}")
    return np.zeros((blocks or needed) - needed, dtype=np.int64)


def _starts(counts: I64) -> I64:
    """Return the exclusive running sum of `counts`."""
    return np.cumsum(counts, dtype=np.int64) - counts

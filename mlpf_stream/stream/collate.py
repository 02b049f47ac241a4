"""Events to packed rows: the last copy before the device.

Shape letters: T packed rows, F features of the widest kind, M momentum columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlpf_stream.columns import KINDS, MOMENTUM, UNLINKED
from mlpf_stream.event import Elements, Events, Rows
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.layout import build_layout

WIDTH = max(kind.width for kind in KINDS.values())


@dataclass(frozen=True, slots=True)
class BatchShape:
    """What is fixed for a whole run: packed rows T of a batch, largest block."""

    rows: int
    block: int


@dataclass(frozen=True, slots=True)
class Pick:
    """One event of a pack in memory."""

    events: Events
    row: int


def collate(picks: Sequence[Pick], shape: BatchShape) -> Batch:
    """Gather events, in order, into one batch of `shape.rows` rows; the rest is the tail."""
    # Memory of torch, not of numpy: it is always 64-byte aligned, and the last bit of a matrix
    # product on a CPU may depend on the alignment of its operands.
    x_TF = torch.zeros(shape.rows, WIDTH)
    kind_T = torch.zeros(shape.rows, dtype=torch.int64)
    class_T = torch.full((shape.rows,), UNLINKED, dtype=torch.int64)
    charge_T = torch.zeros(shape.rows, dtype=torch.int64)
    momentum_TM = torch.zeros(shape.rows, len(MOMENTUM))
    into = [tensor.numpy() for tensor in (x_TF, kind_T, class_T, charge_T, momentum_TM)]
    sizes, at = [], 0
    for pick in picks:
        first = at
        for name, part in pick.events.elements.items():
            at = _copy(part, pick.row, KINDS[name].code, into, at)
        sizes.append(at - first)
    return Batch(
        x_TF,
        kind_T,
        build_layout(np.array(sizes, np.int64), shape.rows, shape.block),
        class_T,
        charge_T,
        momentum_TM,
        tuple(pick.events.keys[pick.row] for pick in picks),
        at,
    )


def _copy(part: Elements, event: int, code: int, into: Sequence[Rows], at: int) -> int:
    """Copy one event's elements of one kind to row `at` on; return the row after them."""
    rows = slice(int(part.offsets[event]), int(part.offsets[event + 1]))
    to = slice(at, at + rows.stop - rows.start)
    x_TF, kind_T, class_T, charge_T, momentum_TM = into
    x_TF[to, : part.x_RF.shape[1]] = part.x_RF[rows]
    kind_T[to] = code
    class_T[to] = part.class_R[rows]
    charge_T[to] = part.charge_R[rows]
    momentum_TM[to] = part.momentum_RM[rows]
    return to.stop


def collate_all(events: Events, shape: BatchShape) -> Iterator[Batch]:
    """Yield all events, in order, in batches filled by next-fit: what inference reads."""
    picks: list[Pick] = []
    rows = 0
    for number, length in enumerate(events.lengths.tolist()):
        if picks and rows + length > shape.rows:
            yield collate(picks, shape)
            picks, rows = [], 0
        picks.append(Pick(events, number))
        rows += length
    if picks:
        yield collate(picks, shape)

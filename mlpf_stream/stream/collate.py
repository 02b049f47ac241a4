"""Events to the rows of a batch: the last copy before the device.

Rows are gathered per window and kind in numpy calls that release the interpreter lock.

Shape letters: T rows of a batch, F features of the widest kind, M momentum columns, B events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlpf_stream.columns import KINDS, MOMENTUM, UNLINKED
from mlpf_stream.event import I64, Elements, Events, Rows, gather_index, offsets_of
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.layout import Layout, build_layout, padded_layout

WIDTH = max(kind.width for kind in KINDS.values())


@dataclass(frozen=True, slots=True)
class BatchShape:
    """What is fixed for a whole run: rows of a batch (a budget, where padded), largest block."""

    rows: int
    block: int


@dataclass(frozen=True, slots=True)
class Pick:
    """Some events in memory and their places: event `order[i]` is number `slot[i]` of the batch."""

    events: Events
    order: I64
    slot: I64


def collate(picks: Sequence[Pick], shape: BatchShape, length: int = 0) -> Batch:
    """Gather events into one batch: packed rows, or one event every `length` rows, padded.

    Rows that no event owns are of kind 0 and teach nothing.
    """
    sizes = np.zeros(sum(len(pick.slot) for pick in picks), np.int64)
    keys = [""] * len(sizes)
    for pick in picks:
        sizes[pick.slot] = pick.events.lengths[pick.order]
        for slot, event in zip(pick.slot.tolist(), pick.order.tolist(), strict=True):
            keys[slot] = pick.events.keys[event]
    layout, starts = _layout(sizes, shape, length)
    rows = layout.rows
    # Memory of torch, not of numpy: it is always 64-byte aligned, and the last bit of a matrix
    # product on a CPU may depend on the alignment of its operands.
    x_TF = torch.zeros(rows, WIDTH)
    kind_T = torch.zeros(rows, dtype=torch.int64)
    class_T = torch.full((rows,), UNLINKED, dtype=torch.int64)
    charge_T = torch.zeros(rows, dtype=torch.int64)
    momentum_TM = torch.zeros(rows, len(MOMENTUM))
    into = [tensor.numpy() for tensor in (x_TF, kind_T, class_T, charge_T, momentum_TM)]
    for pick in picks:
        at = starts[pick.slot]
        for name, part in pick.events.elements.items():
            at = _gather(part, pick.order, at, KINDS[name].code, into)
    return Batch(
        x_TF, kind_T, layout, class_T, charge_T, momentum_TM, tuple(keys), int(sizes.sum())
    )


def _layout(sizes: I64, shape: BatchShape, length: int) -> tuple[Layout, I64]:
    """Return the layout of a batch and the first row of each of its events."""
    if not length:
        return build_layout(sizes, shape.rows, shape.block), offsets_of(sizes)
    events = shape.rows // length
    starts = np.arange(events, dtype=np.int64) * length
    return padded_layout(sizes, events, length, shape.block), starts


def _gather(part: Elements, order: I64, at: I64, code: int, into: Sequence[Rows]) -> I64:
    """Copy one kind's elements of some events to rows `at` on; return the rows after them."""
    source, taken = gather_index(part.offsets, order)
    counts = np.diff(taken)
    to = np.repeat(at - taken[:-1], counts) + np.arange(taken[-1], dtype=np.int64)
    x_TF, kind_T, class_T, charge_T, momentum_TM = into
    x_TF[to, : part.x_RF.shape[1]] = np.take(part.x_RF, source, axis=0)
    kind_T[to] = code
    class_T[to] = part.class_R[source]
    charge_T[to] = part.charge_R[source]
    momentum_TM[to] = np.take(part.momentum_RM, source, axis=0)
    return np.asarray(at + counts)


def collate_all(events: Events, shape: BatchShape) -> Iterator[Batch]:
    """Yield all events, in order, in packed batches filled by next-fit: what inference reads."""
    first, rows = 0, 0
    for number, length in enumerate(events.lengths.tolist()):
        if number > first and rows + length > shape.rows:
            yield _collate_run(events, first, number, shape)
            first, rows = number, 0
        rows += length
    if first < len(events):
        yield _collate_run(events, first, len(events), shape)


def _collate_run(events: Events, first: int, last: int, shape: BatchShape) -> Batch:
    order = np.arange(first, last, dtype=np.int64)
    return collate([Pick(events, order, order - first)], shape)

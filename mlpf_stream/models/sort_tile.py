"""Sort-tile: neighbours in space become neighbours in order, and so come to lie in one block.

Rows of an event are sorted by their first coordinate and cut into strips, then sorted by their
second coordinate inside each strip and cut into blocks: two argsorts for all events at once, since
the event or strip number leads the key. Blocks have equal size by construction and do not depend on
the order of the rows (up to exactly equal coordinates) nor on the other events of the batch.

Source: sort-tile-recursive packing, Leutenegger, Lopez, Edgington, ICDE 1997; used here as the
locality-sensitive hash on learnt coordinates.

Shape letters: T packed rows, S slots, D any trailing width.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from mlpf_stream.models.layout import Layout


class Tiling(NamedTuple):
    """Which row lies in which slot: `row_of_slot_S` (pads hold a row of their own block) and back.

    `real_S` is false in pads.
    """

    row_of_slot_S: Tensor
    slot_of_row_T: Tensor
    real_S: Tensor


@torch.no_grad()
def sort_tile(s_T2: Tensor, layout: Layout) -> Tensor:
    """Return the row of each rank, shape (T,) int64: rows by event, strip and coordinate.

    Only the first two columns of `s_T2` (float32) are read.
    """
    first_T = torch.argsort(_key(layout.event_T, s_T2[:, 0]), stable=True)
    second_T = torch.argsort(_key(layout.strip_of_rank_T, s_T2[first_T, 1]), stable=True)
    return first_T[second_T]


@torch.no_grad()
def tiling(order_T: Tensor, layout: Layout) -> Tiling:
    """Put the rows, in the order of their ranks, into the slots of the layout."""
    slot_of_row_T = torch.empty_like(order_T)
    slot_of_row_T[order_T] = layout.slot_of_rank_T
    return Tiling(order_T[layout.rank_of_slot_S], slot_of_row_T, layout.real_BW.reshape(-1))


def to_slots(x_TD: Tensor, tiles: Tiling) -> Tensor:
    """Copy rows into their slots, shape (S, D); pads hold copies that must not be used."""
    slots: Tensor = _ToSlots.apply(  # type: ignore[no-untyped-call]
        x_TD, tiles.row_of_slot_S, tiles.slot_of_row_T
    )
    return slots


def to_rows(y_SD: Tensor, tiles: Tiling) -> Tensor:
    """Copy slots back to their rows, shape (T, D); pads are left behind."""
    rows: Tensor = _ToRows.apply(  # type: ignore[no-untyped-call]
        y_SD, tiles.slot_of_row_T, tiles.row_of_slot_S, tiles.real_S
    )
    return rows


def _key(group_T: Tensor, value_T: Tensor) -> Tensor:
    """Return int64 keys that sort by group, then by value: no bit of the float32 is lost."""
    bits_T = (value_T.float() + 0.0).view(torch.int32)  # + 0.0: minus zero equals zero
    ordered_T = bits_T ^ ((bits_T >> 31) & 0x7FFFFFFF)
    return (group_T << 32) + ordered_T.to(torch.int64)


class _ToSlots(torch.autograd.Function):
    """Gather whose backward is a gather too: no atomics, so gradients are deterministic."""

    @staticmethod
    def forward(ctx: FunctionCtx, x_TD: Tensor, row_of_slot_S: Tensor, back_T: Tensor) -> Tensor:
        ctx.save_for_backward(back_T)
        return x_TD.index_select(0, row_of_slot_S)

    @staticmethod
    def backward(ctx: Any, grad_SD: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (back_T,) = ctx.saved_tensors
        return grad_SD.index_select(0, back_T), None, None


class _ToRows(torch.autograd.Function):
    """The way back: pads receive no gradient."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, y_SD: Tensor, slot_of_row_T: Tensor, back_S: Tensor, real_S: Tensor
    ) -> Tensor:
        ctx.save_for_backward(back_S, real_S)
        return y_SD.index_select(0, slot_of_row_T)

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: ANN401
        back_S, real_S = ctx.saved_tensors
        grad_SD = grad_TD.index_select(0, back_S)
        return grad_SD * real_S[:, None].to(grad_SD.dtype), None, None, None

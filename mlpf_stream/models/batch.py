"""One micro-batch on a device: packed rows with their layout and targets.

`stream.collate` builds it, the networks and the loss read it.
Shape letters: T packed rows (fixed per run, tail rows included), F features of the widest kind,
M momentum columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlpf_stream.models.layout import Layout


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of whole events, one event after the other, tracks first; then the tail.

    `x_TF` float32, columns of the row's kind, zero beyond its width and in the tail; `kind_T` int64
    kind code, 0 in the tail; `class_T` int64 class index, -1 where nothing may be learnt (tail,
    unlinked); `charge_T` int64 [e]; `momentum_TM` float32 target momentum, zero where no target;
    `keys` the events in row order; `rows` the number of real rows (kind > 0): the first ones where
    packed, the first of each event's where padded.
    """

    x_TF: Tensor
    kind_T: Tensor
    layout: Layout
    class_T: Tensor
    charge_T: Tensor
    momentum_TM: Tensor
    keys: tuple[str, ...]
    rows: int

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors, without those of the layout."""
        tensors = (self.x_TF, self.kind_T, self.class_T, self.charge_T, self.momentum_TM)
        return sum(tensor.nbytes for tensor in tensors)

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on `device`."""
        return Batch(
            self.x_TF.to(device, non_blocking=True),
            self.kind_T.to(device, non_blocking=True),
            self.layout.to(device),
            self.class_T.to(device, non_blocking=True),
            self.charge_T.to(device, non_blocking=True),
            self.momentum_TM.to(device, non_blocking=True),
            self.keys,
            self.rows,
        )

"""When two batches are the same: bit for bit, the layout included."""

import torch

TENSORS = ("x_TF", "kind_T", "class_T", "charge_T", "momentum_TM")


def same(a, b):
    return (
        a.keys == b.keys
        and a.rows == b.rows
        and all(torch.equal(getattr(a, name), getattr(b, name)) for name in TENSORS)
        and all(
            torch.equal(getattr(a.layout, name), getattr(b.layout, name))
            for name in a.layout.__slots__
        )
    )

"""Batches in, candidate particles of every event out, in the order of the events.

Shape letters: T packed rows.
"""

from collections.abc import Iterable

import numpy as np
import torch

from mlpf_stream.event import Particles, concatenate_particles, offsets_of
from mlpf_stream.models.batch import Batch
from mlpf_stream.models.heads import decode
from mlpf_stream.models.network import Network


@torch.no_grad()
def reconstruct(network: Network, batches: Iterable[Batch]) -> Particles:
    """Return the candidates of every event: rows whose most likely class is not none."""
    network.eval()
    device = next(network.parameters()).device
    parts = [_reconstruct(network, batch.to(device)) for batch in batches]
    return concatenate_particles(parts) if parts else Particles.empty(0)


def _reconstruct(network: Network, batch: Batch) -> Particles:
    candidates = decode(network(batch), batch.x_TF, batch.kind_T)
    rows = batch.rows
    class_T = candidates.class_T[:rows].cpu().numpy().astype(np.int8)
    event_T = batch.layout.event_T[:rows].cpu().numpy()
    keep = class_T > 0
    counts = np.bincount(event_T[keep], minlength=len(batch.keys)).astype(np.int64)
    return Particles(
        class_T[keep],
        candidates.charge_T[:rows].cpu().numpy().astype(np.int8)[keep],
        candidates.momentum_TM[:rows].cpu().numpy().astype(np.float32)[keep],
        offsets_of(counts),
    )

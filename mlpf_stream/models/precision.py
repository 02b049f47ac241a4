"""Where autocast must not reach: directions, normalisation, exponentials, losses.

Under autocast the wide matrix products run in bfloat16, whose numbers have 8 bits: enough for
weights and messages, too few for differences of positions and for logarithms of energies.
"""

import torch
from torch import Tensor


def full_precision(like: Tensor) -> torch.autocast:
    """Return a context where operations on the device of `like` keep the dtype of their inputs."""
    return torch.autocast(like.device.type, enabled=False)

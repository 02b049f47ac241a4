"""The only file that touches cuda or cpu at run time."""

import os
from typing import Literal

import torch

from mlpf_stream.errors import DeviceError


def open_device(name: str) -> torch.device:
    """Return the device called `name`: auto, cpu or cuda.

    Raises:
        DeviceError: cuda was asked for and is not usable.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        msg = (
            "expected a CUDA device, found none that torch can use; "
            "check 'nvidia-smi' and that torch is a CUDA build, or set train.device=cpu"
        )
        raise DeviceError(msg)
    return torch.device(name)


def wants_accelerator(name: str, ranks: int, offered: float) -> bool:
    """Return whether each of `ranks` ranks shall reserve one of the `offered` accelerators."""
    built = torch.version.cuda is not None or torch.version.hip is not None
    return name == "cuda" or (name == "auto" and built and offered >= ranks)


def rank_device(*, accelerated: bool) -> Literal["cpu", "cuda"]:
    """Return the name of the device of every rank."""
    return "cuda" if accelerated else "cpu"


def collective_backend(*, accelerated: bool) -> str:
    """Return the name of torch's backend for exchanges between ranks."""
    return "nccl" if accelerated else "gloo"


def set_threads(threads: int) -> int:
    """Set the CPU threads of torch; 0 asks for every core this process may use."""
    count = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(count)
    return count


def seed_everything(seed: int, *, deterministic: bool = True) -> None:
    """Seed torch and ask for algorithms that give the same bits each time."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


def describe(device: torch.device) -> str:
    """Return a line that names the device for logs and records."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (cuda)"
    return f"cpu, {torch.get_num_threads()} threads"

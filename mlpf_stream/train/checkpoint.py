"""Training state on disk: a folder per step, made whole before it gets its name.

`step-00000100/` holds the model (`model.safetensors`, `model.json`), the optimiser's tensors
(`optimizer.safetensors`) and `state.json` with the position in the stream. The folder is written
under another name, flushed, and renamed: a kill at any moment leaves the old checkpoints readable
and the new one absent or whole. Nothing is ever unpickled.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpf_stream.errors import MlpfError, ResumeError
from mlpf_stream.infer.checkpoint import FOLDER, list_checkpoints
from mlpf_stream.models.artifact import card_of, load_model, save_model
from mlpf_stream.models.network import Network

OPTIMIZER_FILE: Final = "optimizer.safetensors"
STATE_FILE: Final = "state.json"


class TrainState(BaseModel):
    """Where a run stands: the next step to do, and what it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    epoch: int
    step_in_epoch: int
    events: int
    seconds: float
    recipe: str
    dataset: str
    optimizer_digest: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A readable checkpoint: its folder, its state, the network and the optimiser's tensors."""

    folder: Path
    state: TrainState
    network: Network
    optimizer: dict[str, Tensor]


def save_checkpoint(
    run: Path, network: Network, optimizer: torch.optim.Optimizer, state: TrainState, keep: int
) -> Path:
    """Commit a checkpoint, then remove all but the newest `keep`."""
    final = run / FOLDER / f"step-{state.step:08d}"
    part = final.with_name(f".{final.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    save_model(part, network, card_of(network, {"dataset": state.dataset, "step": str(state.step)}))
    data = save(_optimizer_tensors(network, optimizer))
    digest = xxhash.xxh3_64_hexdigest(data)
    _write(part / OPTIMIZER_FILE, data)
    text = state.model_copy(update={"optimizer_digest": digest}).model_dump_json(indent=1)
    _write(part / STATE_FILE, text.encode())
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    _flush_folder(final.parent)
    for old in list_checkpoints(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def latest_checkpoint(run: Path) -> Checkpoint | None:
    """Return the newest checkpoint that reads whole, or None where there is none.

    Raises:
        ResumeError: there are checkpoints, but none of them can be read.
    """
    reasons = []
    for folder in reversed(list_checkpoints(run)):
        try:
            return read_checkpoint(folder)
        except MlpfError as error:
            reasons.append(f"{folder.name}: {error}")
    if reasons:
        raise ResumeError("expected a readable checkpoint, found none: " + "; ".join(reasons))
    return None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read one checkpoint, verifying every tensor against its digest.

    Raises:
        ResumeError: a file is missing or damaged.
    """
    network, _ = load_model(folder)
    try:
        state = TrainState.model_validate_json((folder / STATE_FILE).read_bytes())
        data = (folder / OPTIMIZER_FILE).read_bytes()
        tensors = load(data)
    except (OSError, ValidationError, SafetensorError) as error:
        raise ResumeError(f"checkpoint {str(folder)!r} cannot be read: {error}") from error
    found = xxhash.xxh3_64_hexdigest(data)
    if found != state.optimizer_digest:
        msg = f"expected optimiser state {state.optimizer_digest}, found {found} in {str(folder)!r}"
        raise ResumeError(msg)
    return Checkpoint(folder, state, network, tensors)


def restore_optimizer(
    network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put saved moments back into a fresh optimiser of the same network.

    Raises:
        ResumeError: a parameter has no saved state.
    """
    for name, parameter in network.named_parameters():
        own = {
            key: tensors[f"{name}:{key}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"{name}:{key}" in tensors
        }
        if len(own) != 3:
            raise ResumeError(f"expected optimiser state of {name!r}, found {sorted(own)}")
        # Adam keeps its step counter on the CPU. Its moments get the strides and the alignment of
        # their parameter, as in the run that made them: the last bit may depend on both.
        optimizer.state[parameter] = {
            key: value.clone() if key == "step" else torch.zeros_like(parameter.data).copy_(value)
            for key, value in own.items()
        }


def _optimizer_tensors(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}:{key}": value.detach().cpu().contiguous()
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

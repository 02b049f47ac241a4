"""Training state on any store: objects of one prefix per step, committed by the one written last.

`checkpoints/step-00000100/` holds the model (`model.safetensors`, `model.json`), the optimiser's
tensors (`optimizer.safetensors`) and `state.json` with the position in the stream. `state.json` is
written last and holds the digests of the others; without it there is no checkpoint, and it is the
first to go when a checkpoint is removed or written again. So a kill at any moment leaves the old
checkpoints readable and the new one absent or whole. Nothing is ever unpickled.
"""

from dataclasses import dataclass
from typing import Final

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpf_stream.errors import MissingDataError, ResumeError, SchemaError
from mlpf_stream.infer.checkpoint import FOLDER, STATE_FILE, list_checkpoints, open_checkpoint
from mlpf_stream.models.artifact import CARD_FILE, WEIGHTS_FILE, card_of, decode_model, encode_model
from mlpf_stream.models.network import Network
from mlpf_stream.storage import Store

OPTIMIZER_FILE: Final = "optimizer.safetensors"
FILES: Final = (STATE_FILE, WEIGHTS_FILE, CARD_FILE, OPTIMIZER_FILE)
"""The files of a checkpoint, in the order of removal."""


class TrainState(BaseModel):
    """Where a run stands: the next step to do, and what it belongs to.

    Attributes:
        files: xxh3-64 of every other file of the checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    epoch: int
    step_in_epoch: int
    events: int
    seconds: float
    recipe: str
    dataset: str
    ranks: int = 1
    files: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A readable checkpoint: its place, its state, the network and the optimiser's tensors."""

    url: str
    state: TrainState
    network: Network
    optimizer: dict[str, Tensor]


def save_checkpoint(
    run: Store, network: Network, optimizer: torch.optim.Optimizer, state: TrainState, keep: int
) -> str:
    """Commit a checkpoint, then remove all but the newest `keep`; return its URL.

    What lies after this step is removed too: a run comes by a step again only where it could not
    go on from later ones, and the newest must be the one to resume from.
    """
    name = f"step-{state.step:08d}"
    folder = open_checkpoint(run, name)
    card = card_of(network, {"dataset": state.dataset, "step": str(state.step)})
    files = encode_model(network, card)
    files[OPTIMIZER_FILE] = save(_optimizer_tensors(network, optimizer))
    digests = {file: xxhash.xxh3_64_hexdigest(data) for file, data in files.items()}
    folder.delete(STATE_FILE)
    for file, data in files.items():
        folder.write(file, data)
    text = state.model_copy(update={"files": digests}).model_dump_json(indent=1)
    folder.write(STATE_FILE, text.encode())
    kept = [old for old in list_checkpoints(run) if old <= name][-keep:]
    for old in sorted({path.split("/")[1] for path in run.list(FOLDER)} - set(kept)):
        _remove(run, f"{FOLDER}/{old}")
    return folder.url


def _remove(run: Store, folder: str) -> None:
    """Remove a checkpoint, or what a killed run left of one; first what commits it."""
    for path in (*(f"{folder}/{file}" for file in FILES), *run.list(folder)):
        run.delete(path)


def latest_checkpoint(run: Store) -> Checkpoint | None:
    """Return the newest checkpoint that reads whole, or None where there is none.

    A store that does not answer is an error, no reason to take an older checkpoint.

    Raises:
        ResumeError: there are checkpoints, but none of them can be read.
    """
    reasons = []
    for name in reversed(list_checkpoints(run)):
        try:
            return read_checkpoint(run, name)
        except (ResumeError, SchemaError, MissingDataError) as error:
            reasons.append(f"{name}: {error}")
    if reasons:
        raise ResumeError("expected a readable checkpoint, found none: " + "; ".join(reasons))
    return None


def read_checkpoint(run: Store, name: str) -> Checkpoint:
    """Read one checkpoint, verifying every file against its digest.

    Raises:
        ResumeError: a file is missing or damaged.
        SchemaError: the model is of another version.
    """
    folder = open_checkpoint(run, name)
    try:
        state = TrainState.model_validate_json(folder.read(STATE_FILE))
        files = {file: folder.read(file) for file in FILES if file != STATE_FILE}
    except (MissingDataError, ValidationError) as error:
        raise ResumeError(f"checkpoint {folder.url!r} cannot be read: {error}") from error
    for file, data in files.items():
        expected, found = state.files.get(file), xxhash.xxh3_64_hexdigest(data)
        if found != expected:
            msg = f"expected {file} with digest {expected}, found {found} in {folder.url!r}"
            raise ResumeError(msg)
    network, _ = decode_model(files, folder.url)
    try:
        tensors = load(files[OPTIMIZER_FILE])
    except SafetensorError as error:
        raise ResumeError(f"checkpoint {folder.url!r} cannot be read: {error}") from error
    return Checkpoint(folder.url, state, network, tensors)


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

"""Training state on any store: objects of one prefix per step, committed by the one written last.

`checkpoints/step-00000100/` holds the model (`model.safetensors`, `model.json`), the optimiser's
tensors (`optimizer.safetensors`) and `state.json` with the position in the stream. `state.json` is
written last and holds the digests of the others and of itself; without it there is no checkpoint,
and it is the first to go when a checkpoint is removed or written again. So a kill at any moment
leaves the old checkpoints readable and the new one absent or whole. Nothing is ever unpickled.
"""

from contextlib import suppress
from dataclasses import dataclass

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpf_stream.errors import MissingDataError, ResumeError, SchemaError
from mlpf_stream.infer.checkpoint import (
    FILES,
    FOLDER,
    OPTIMIZER_FILE,
    STATE_FILE,
    is_checkpoint,
    list_checkpoints,
    open_checkpoint,
    read_verified,
    state_digest,
)
from mlpf_stream.models.artifact import card_of, decode_model, encode_model
from mlpf_stream.models.network import Network
from mlpf_stream.storage import Store


class TrainState(BaseModel):
    """Where a run stands: the next step to do, and what it belongs to.

    Attributes:
        dataset, version: digest and version of the dataset that the run began with.
        files: xxh3-64 of every other file of the checkpoint.
        digest: xxh3-64 of the fields above.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    epoch: int
    step_in_epoch: int
    events: int
    seconds: float
    recipe: str
    dataset: str
    version: int = 1
    ranks: int = 1
    files: dict[str, str] = {}
    digest: str = ""


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
    name = _name(state.step)
    folder = open_checkpoint(run, name)
    provenance = {
        "dataset": state.dataset,
        "dataset_version": str(state.version),
        "step": str(state.step),
    }
    card = card_of(network, provenance)
    files = encode_model(network, card)
    files[OPTIMIZER_FILE] = save(_optimizer_tensors(network, optimizer))
    digests = {file: xxhash.xxh3_64_hexdigest(data) for file, data in files.items()}
    folder.delete(STATE_FILE)
    for file, data in files.items():
        folder.write(file, data)
    whole = state.model_copy(update={"files": digests})
    sealed = whole.model_copy(update={"digest": state_digest(whole.model_dump(mode="json"))})
    folder.write(STATE_FILE, sealed.model_dump_json(indent=1).encode())
    kept = [old for old in list_checkpoints(run) if old <= name][-keep:]
    found = {path.split("/")[1] for path in run.list(FOLDER)}
    # What has another name is not of this module, and stays.
    for old in sorted(set(filter(is_checkpoint, found)) - set(kept)):
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


def begun_version(run: Store) -> int | None:
    """Return the version of the dataset that a run began with; None if nothing tells."""
    for name in reversed(list_checkpoints(run)):
        with suppress(ValidationError, MissingDataError):
            text = open_checkpoint(run, name).read(STATE_FILE)
            return TrainState.model_validate_json(text).version
    return None


def read_checkpoint(run: Store, name: str) -> Checkpoint:
    """Read one checkpoint, verifying every file against its digest.

    Raises:
        ResumeError: a file is missing or damaged, or the state is of another step.
        SchemaError: the model is of another version.
    """
    folder = open_checkpoint(run, name)
    try:
        tree, files = read_verified(folder)
        state = TrainState.model_validate(tree)
    except (MissingDataError, SchemaError) as error:
        raise ResumeError(str(error)) from error
    except ValidationError as error:
        raise ResumeError(f"checkpoint {folder.url!r} cannot be read: {error}") from error
    if name != _name(state.step):
        msg = f"expected the state of {name}, found that of step {state.step} in {folder.url!r}"
        raise ResumeError(msg)
    network, _ = decode_model(files, folder.url)
    try:
        tensors = load(files[OPTIMIZER_FILE])
    except SafetensorError as error:
        raise ResumeError(f"checkpoint {folder.url!r} cannot be read: {error}") from error
    return Checkpoint(folder.url, state, network, tensors)


def _name(step: int) -> str:
    return f"step-{step:08d}"


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

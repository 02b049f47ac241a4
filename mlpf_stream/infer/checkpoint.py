"""Where a trained model is: below a model card, or in the newest checkpoint of a run.

Any store will do. A run keeps checkpoints as `checkpoints/step-NUMBER/`; the one file written last
commits it, so that what a killed run left behind is not taken for a checkpoint.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import xxhash

from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.models.artifact import (
    CARD_FILE,
    MODEL_FILES,
    WEIGHTS_FILE,
    ModelCard,
    decode_model,
)
from mlpf_stream.models.network import Network
from mlpf_stream.storage import Store, open_store

FOLDER: Final = "checkpoints"
"""Where a run keeps its checkpoints, one prefix `step-NUMBER` each."""
STATE_FILE: Final = "state.json"
"""The training state; written last, so that it commits a checkpoint."""
OPTIMIZER_FILE: Final = "optimizer.safetensors"
"""The tensors of the optimiser."""
FILES: Final = (STATE_FILE, WEIGHTS_FILE, CARD_FILE, OPTIMIZER_FILE)
"""The files of a checkpoint, in the order of removal."""
RECIPE_FILE: Final = "recipe.yaml"
"""What a run writes before anything else."""
_NAME: Final = re.compile(r"step-[0-9]{8}")

R = TypeVar("R")


def load_model(place: str | Store) -> tuple[Network, ModelCard]:
    """Read the model of a URL or store, on the CPU.

    Raises:
        MissingDataError: a file is not there.
        SchemaError: not a model, of another version, or weights that do not fit the card.
    """
    store = open_store(place) if isinstance(place, str) else place
    return decode_model({name: store.read(name) for name in MODEL_FILES}, store.url)


def is_checkpoint(name: str) -> bool:
    """Return whether a name below `checkpoints/` is one that a run gives."""
    return _NAME.fullmatch(name) is not None


def list_checkpoints(run: Store) -> list[str]:
    """Return the names of the committed checkpoints of a run, oldest first."""
    committed = (name.split("/") for name in run.list(FOLDER))
    return sorted(
        parts[1]
        for parts in committed
        if len(parts) == 3 and is_checkpoint(parts[1]) and parts[2] == STATE_FILE
    )


def open_checkpoint(run: Store, name: str) -> Store:
    """Return the store of one checkpoint of a run."""
    return run.child(f"{FOLDER}/{name}")


def state_digest(tree: Mapping[str, object]) -> str:
    """Return the xxh3-64 of a training state as JSON: of every field but `digest`."""
    fields = {name: value for name, value in tree.items() if name != "digest"}
    return xxhash.xxh3_64_hexdigest(json.dumps(fields, sort_keys=True).encode())


def read_verified(folder: Store) -> tuple[dict[str, object], dict[str, bytes]]:
    """Return the training state of a checkpoint and its other files, every byte verified.

    Raises:
        MissingDataError: a file is not there. SchemaError: a file is damaged.
    """
    try:
        tree = json.loads(folder.read(STATE_FILE))
    except ValueError as error:
        raise SchemaError(f"expected JSON in '{folder.url}/{STATE_FILE}': {error}") from error
    if not isinstance(tree, dict):
        raise SchemaError(f"expected an object in '{folder.url}/{STATE_FILE}', found {tree!r:.40}")
    _compare(STATE_FILE, tree.get("digest"), state_digest(tree), folder)
    promised = tree.get("files")
    files = {name: folder.read(name) for name in FILES if name != STATE_FILE}
    for name, data in files.items():
        expected = promised.get(name) if isinstance(promised, dict) else None
        _compare(name, expected, xxhash.xxh3_64_hexdigest(data), folder)
    return tree, files


def _compare(name: str, expected: object, found: str, folder: Store) -> None:
    if found != expected:
        msg = (
            f"expected {name} with digest {expected}, found {found} in {folder.url!r}; "
            "restore the file, or remove this checkpoint and take the one before"
        )
        raise SchemaError(msg)


def is_run(store: Store) -> bool:
    """Return whether a run has begun there."""
    return store.exists(RECIPE_FILE) or bool(store.list(FOLDER))


def read_newest(url: str, read: Callable[[Store], R]) -> R:
    """Read from the model of a URL; a run's newest may be pruned meanwhile, then from the next.

    Raises:
        MissingDataError: neither a model nor a run, or a file is not there.
    """
    folder = resolve_checkpoint(url)
    try:
        return read(folder)
    except MissingDataError:
        newer = resolve_checkpoint(url)
        if newer.url == folder.url:
            raise
        return read(newer)


def resolve_checkpoint(url: str) -> Store:
    """Return the store of a model: the URL itself, or the newest checkpoint of a run.

    Raises:
        MissingDataError: neither a model nor a run, or a run without a checkpoint yet.
    """
    store = open_store(url)
    if store.exists(CARD_FILE):
        return store
    names = list_checkpoints(store)
    if not names and is_run(store):
        msg = (
            f"expected a committed checkpoint of the run at {url!r}, found none yet; wait for its "
            "first (train.checkpoint_every), or train on with 'mlpf train --resume'"
        )
        raise MissingDataError(msg)
    if not names:
        msg = (
            f"expected a checkpoint (a folder with {CARD_FILE}) or a run folder, found neither "
            f"at {url!r}; check the path, or make one with 'mlpf train'"
        )
        raise MissingDataError(msg)
    return open_checkpoint(store, names[-1])

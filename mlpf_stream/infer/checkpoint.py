"""Where a trained model is: below a model card, or in the newest checkpoint of a run.

Any store will do. A run keeps checkpoints as `checkpoints/step-NUMBER/`; the one file written last
commits it, so that what a killed run left behind is not taken for a checkpoint.
"""

from typing import Final

from mlpf_stream.errors import MissingDataError
from mlpf_stream.models.artifact import (
    CARD_FILE,
    MODEL_FILES,
    ModelCard,
    decode_model,
    encode_model,
)
from mlpf_stream.models.network import Network
from mlpf_stream.storage import Store, open_store

FOLDER: Final = "checkpoints"
"""Where a run keeps its checkpoints, one prefix `step-NUMBER` each."""
STATE_FILE: Final = "state.json"
"""The training state; written last, so that it commits a checkpoint."""


def save_model(store: Store, network: Network, card: ModelCard) -> None:
    """Write a model; an interrupted write leaves no readable one.

    Raises:
        ValueError: the card describes other parameters.
    """
    files = encode_model(network, card)
    store.delete(CARD_FILE)
    for name, data in files.items():
        store.write(name, data)


def load_model(place: str | Store) -> tuple[Network, ModelCard]:
    """Read the model of a URL or store, on the CPU.

    Raises:
        MissingDataError: a file is not there.
        SchemaError: not a model, of another version, or weights that do not fit the card.
    """
    store = open_store(place) if isinstance(place, str) else place
    return decode_model({name: store.read(name) for name in MODEL_FILES}, store.url)


def list_checkpoints(run: Store) -> list[str]:
    """Return the names of the committed checkpoints of a run, oldest first."""
    committed = (name.split("/") for name in run.list(FOLDER))
    return sorted(
        parts[1]
        for parts in committed
        if len(parts) == 3 and parts[1].startswith("step-") and parts[2] == STATE_FILE
    )


def open_checkpoint(run: Store, name: str) -> Store:
    """Return the store of one checkpoint of a run."""
    return run.child(f"{FOLDER}/{name}")


def resolve_checkpoint(url: str) -> Store:
    """Return the store of a model: the URL itself, or the newest checkpoint of a run.

    Raises:
        MissingDataError: neither a model nor a run.
    """
    store = open_store(url)
    if store.exists(CARD_FILE):
        return store
    names = list_checkpoints(store)
    if not names:
        msg = (
            f"expected a checkpoint (a folder with {CARD_FILE}) or a run folder, found neither "
            f"at {url!r}; check the path, or make one with 'mlpf train'"
        )
        raise MissingDataError(msg)
    return open_checkpoint(store, names[-1])

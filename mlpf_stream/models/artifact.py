"""A trained network as bytes: `model.safetensors` beside `model.json`. Nothing is ever unpickled.

The JSON card tells how to rebuild the network and holds the digest of its tensors. It is written
last: without it, or with a digest that does not fit, there is no model. Where the bytes lie is
not this module's matter: see `infer/checkpoint.py`.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlpf_stream.columns import CLASSES, KINDS, MOMENTUM, SCHEMA_VERSION, Detector
from mlpf_stream.config import ModelConfig
from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.models.encoder import FeatureStatistics
from mlpf_stream.models.network import Network, build_network

MODEL_FORMAT: Final = "mlpf_stream_model"
WEIGHTS_FILE: Final = "model.safetensors"
CARD_FILE: Final = "model.json"
MODEL_FILES: Final = (WEIGHTS_FILE, CARD_FILE)
"""The files of a model, in the order of writing."""


class ModelCard(BaseModel):
    """What a model is: enough to rebuild it and to refuse data that it was not made for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["mlpf_stream_model"] = MODEL_FORMAT
    schema_version: int = SCHEMA_VERSION
    model: ModelConfig
    detector: Detector
    kinds: dict[str, tuple[str, ...]]
    classes: tuple[str, ...] = CLASSES
    momentum: tuple[str, ...] = MOMENTUM
    parameters: int
    digest: str
    provenance: dict[str, str] = {}


def parameter_digest(network: Network) -> str:
    """Return the xxh3-64 of all parameters and buffers: names in sorted order, shapes, bytes."""
    digest = xxhash.xxh3_64()
    for name, tensor in sorted(network.state_dict().items()):
        held = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{held.dtype}:{tuple(held.shape)};".encode())
        digest.update(held.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def card_of(network: Network, provenance: Mapping[str, str] | None = None) -> ModelCard:
    """Describe a network; `provenance` says in free words where it comes from."""
    return ModelCard(
        model=network.config,
        detector=network.detector,
        kinds={kind.name: kind.names for kind in network.kinds},
        parameters=network.parameter_count,
        digest=parameter_digest(network),
        provenance=dict(provenance or {}),
    )


def encode_model(network: Network, card: ModelCard) -> dict[str, bytes]:
    """Return the files of a model, name to bytes, in the order of writing: the card is last.

    Raises:
        ValueError: the card describes other parameters.
    """
    found = parameter_digest(network)
    if card.digest != found:
        raise ValueError(f"expected parameters {card.digest}, found {found}; use card_of(network)")
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    text = json.dumps(card.model_dump(mode="json"), indent=2, sort_keys=True)
    return {WEIGHTS_FILE: save(tensors, {"format": "pt"}), CARD_FILE: text.encode() + b"\n"}


def decode_model(files: Mapping[str, bytes], where: str) -> tuple[Network, ModelCard]:
    """Rebuild a network from its files (others are not looked at), on the CPU.

    `where` names the place of the files in messages.

    Raises:
        MissingDataError: a file is not there.
        SchemaError: not a model, of another version, or weights that do not fit the card.
    """
    card = _card(_file(files, CARD_FILE, where), f"{where}/{CARD_FILE}")
    network = build_network(card.model, FeatureStatistics.neutral(tuple(card.kinds)), card.detector)
    path = f"{where}/{WEIGHTS_FILE}"
    try:
        tensors = load(_file(files, WEIGHTS_FILE, where))
    except SafetensorError as error:
        raise SchemaError(f"expected safetensors in {path!r}: {error}") from error
    _check_fit(tensors, network.state_dict(), path)
    network.load_state_dict(tensors)
    found = parameter_digest(network)
    if found != card.digest:
        raise SchemaError(
            f"expected parameters {card.digest} in {path!r}, found {found}; "
            "the two files are not of one model, copy both again"
        )
    return network, card


def _card(text: bytes, path: str) -> ModelCard:
    """Parse and check the card."""
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise SchemaError(f"expected JSON in {path!r}: {error}") from error
    found = tree.get("format") if isinstance(tree, dict) else None
    if found != MODEL_FORMAT:
        raise SchemaError(f"expected format {MODEL_FORMAT!r} in {path!r}, found {found!r}")
    version = tree.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"expected schema version {SCHEMA_VERSION} in {path!r}, found {version!r}; "
            "read it with the release that wrote it, or train again"
        )
    try:
        card = ModelCard.model_validate(tree)
    except ValidationError as error:
        raise SchemaError(f"{path!r} is not a valid model card: {error}") from error
    _check_columns(card, path)
    return card


def _check_columns(card: ModelCard, path: str) -> None:
    """Refuse a model whose columns or classes are not those of this release."""
    known = {name: kind.names for name, kind in KINDS.items() if name in card.kinds}
    expected = {"kinds": known, "classes": CLASSES, "momentum": MOMENTUM}
    for key, value in expected.items():
        found = getattr(card, key)
        if found != value:
            raise SchemaError(f"expected {key} {value} in {path!r}, found {found}")


def _check_fit(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: str) -> None:
    """Refuse tensors of other names, shapes or dtypes than the network has."""
    for name in sorted(wanted.keys() | tensors.keys()):
        expected, found = _signature(wanted.get(name)), _signature(tensors.get(name))
        if expected != found:
            raise SchemaError(
                f"expected tensor {name!r} {expected} in {path!r}, found {found}; "
                "weights and card belong to different networks"
            )


def _signature(tensor: Tensor | None) -> str:
    """Return dtype and shape in words."""
    return "absent" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def _file(files: Mapping[str, bytes], name: str, where: str) -> bytes:
    """Return the bytes of a file that must be among those given."""
    try:
        return files[name]
    except KeyError as error:
        raise MissingDataError(
            f"expected a model file {name!r} in {where!r}, found none"
        ) from error

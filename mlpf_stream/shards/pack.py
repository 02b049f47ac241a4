"""A pack: a few hundred events of one process and split in one Arrow IPC file.

One record batch, one row per event, events sorted by length. Written by pyarrow, opened by buffer
offsets alone: nothing is parsed, and nothing can be unpickled, because a pack is only ever read as
numbers at places that the index names.

Columns: `key`; per element kind `K`: `K` (features), `K_class`, `K_charge`, `K_momentum`,
`K_particle`; then `generator_*` and `candidate_*`: class, charge, momentum.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from mlpf_stream.columns import MOMENTUM, SCHEMA_VERSION, ElementKind
from mlpf_stream.errors import ShardError
from mlpf_stream.event import Elements, Events, Particles

M = len(MOMENTUM)


@dataclass(frozen=True, slots=True)
class PackColumn:
    """One list column: values of `dtype`, `width` of them per row (1: a plain list)."""

    name: str
    dtype: str
    width: int


@dataclass(frozen=True, slots=True)
class BufferPlace:
    """Where a column's list offsets and values lie inside a pack, in bytes from its start."""

    offsets: int
    values: int
    rows: int


@dataclass(frozen=True, slots=True)
class PackEntry:
    """What the index knows of a pack: its place in the shard, its checksum and its buffers."""

    key: str
    offset: int
    bytes: int
    xxh3: str
    events: int
    process: str
    split: str
    buffers: dict[str, BufferPlace]


def particle_columns(name: str) -> tuple[PackColumn, ...]:
    """Return the columns that store the particles called `name`."""
    return (
        PackColumn(f"{name}_class", "int8", 1),
        PackColumn(f"{name}_charge", "int8", 1),
        PackColumn(f"{name}_momentum", "float32", M),
    )


def element_columns(kind: ElementKind) -> tuple[PackColumn, ...]:
    """Return the columns that store one element kind."""
    return (
        PackColumn(kind.name, "float32", kind.width),
        *particle_columns(kind.name),
        PackColumn(f"{kind.name}_particle", "int32", 1),
    )


def row_bytes(columns: Sequence[PackColumn]) -> int:
    """Return the bytes that one row takes in some columns."""
    return sum(np.dtype(column.dtype).itemsize * column.width for column in columns)


def pack_columns(kinds: Sequence[ElementKind]) -> tuple[PackColumn, ...]:
    """Return every list column of a pack, in order."""
    elements = tuple(column for kind in kinds for column in element_columns(kind))
    return (*elements, *particle_columns("generator"), *particle_columns("candidate"))


def encode_pack(events: Events, kinds: Sequence[ElementKind]) -> pa.Buffer:
    """Return `events` as an Arrow IPC file: same events, same bytes."""
    names, arrays = ["key"], [pa.array(events.keys, type=pa.string())]
    for column, values, offsets in _flat_columns(events, kinds):
        names.append(column.name)
        arrays.append(_list_array(column, values, offsets))
    metadata = {
        "format": "mlpf_stream.pack",
        "schema_version": str(SCHEMA_VERSION),
        **{kind.name: ",".join(kind.names) for kind in kinds},
        "momentum": ",".join(MOMENTUM),
    }
    batch = pa.record_batch(arrays, names=names).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode_pack(data: pa.Buffer, kinds: Sequence[ElementKind]) -> Events:
    """Return the events of an encoded pack, without a copy: one that this process trusts.

    A pack from a store goes through `open_pack`, which checks every byte first.
    """
    batch = pa.ipc.open_file(data).get_batch(0)
    places = _places(batch, data, pack_columns(kinds))
    return _open_columns(memoryview(data), tuple(batch.column("key").to_pylist()), places, kinds)


def locate_buffers(data: pa.Buffer, kinds: Sequence[ElementKind]) -> dict[str, BufferPlace]:
    """Return where each column of an encoded pack lies, for the index."""
    return _places(pa.ipc.open_file(data).get_batch(0), data, pack_columns(kinds))


def _places(
    batch: pa.RecordBatch, whole: pa.Buffer, columns: Sequence[PackColumn]
) -> dict[str, BufferPlace]:
    """Return where each column of a record batch lies inside the buffer that it was read from."""
    places = {}
    for column in columns:
        array = batch.column(column.name)
        flat = array.values.values if column.width > 1 else array.values
        offsets, values = array.buffers()[1], flat.buffers()[1]
        places[column.name] = BufferPlace(
            offsets.address - whole.address,
            # An empty buffer has an address of its own, outside the pack.
            values.address - whole.address if len(array.values) else 0,
            len(array.values),
        )
    return places


def open_pack(
    data: memoryview,
    entry: PackEntry,
    keys: Sequence[str],
    kinds: Sequence[ElementKind],
    shard: str,
) -> Events:
    """Return the events of a pack as views of `data`, after checking every byte.

    Raises:
        ShardError: the pack is shorter than its index says, or its checksum differs.
    """
    where = f"{shard}#{entry.key}"
    if len(data) != entry.bytes:
        raise ShardError(where, f"{entry.bytes} bytes", f"{len(data)}")
    found = xxhash.xxh3_64_hexdigest(data)
    if found != entry.xxh3:
        raise ShardError(where, f"checksum {entry.xxh3}", found)
    return _open_columns(data, tuple(keys), entry.buffers, kinds)


def _flat_columns(
    events: Events, kinds: Sequence[ElementKind]
) -> Iterator[tuple[PackColumn, npt.NDArray[Any], npt.NDArray[np.int64]]]:
    """Yield every list column with its flat values and offsets, in `pack_columns` order."""
    for kind in kinds:
        part = events.elements[kind.name]
        values: tuple[npt.NDArray[Any], ...] = (
            part.x_RF,
            part.class_R,
            part.charge_R,
            part.momentum_RM,
            part.particle_R,
        )
        for column, flat in zip(element_columns(kind), values, strict=True):
            yield column, flat, part.offsets
    for name, particles in (("generator", events.generator), ("candidate", events.candidates)):
        flats: tuple[npt.NDArray[Any], ...] = (
            particles.class_P,
            particles.charge_P,
            particles.momentum_PM,
        )
        for column, flat_P in zip(particle_columns(name), flats, strict=True):
            yield column, flat_P, particles.offsets


def _list_array(
    column: PackColumn, values: npt.NDArray[Any], offsets: npt.NDArray[np.int64]
) -> pa.Array:
    flat = np.ascontiguousarray(values[offsets[0] : offsets[-1]], dtype=column.dtype)
    child = pa.array(flat.reshape(-1))
    if column.width > 1:
        child = pa.FixedSizeListArray.from_arrays(child, column.width)
    places = pa.array((offsets - offsets[0]).astype(np.int32))
    return pa.ListArray.from_arrays(places, child)


def _open_columns(
    data: memoryview,
    keys: tuple[str, ...],
    places: Mapping[str, BufferPlace],
    kinds: Sequence[ElementKind],
) -> Events:
    """Return the events whose columns lie at `places`, as views of `data`."""
    columns = {
        column.name: _column(data, len(keys), places[column.name], column)
        for column in pack_columns(kinds)
    }

    def particles(name: str) -> Particles:
        parts = [columns[column.name] for column in particle_columns(name)]
        class_P, charge_P, momentum_PM = (values for values, _ in parts)
        return Particles(class_P, charge_P, momentum_PM, parts[0][1])

    def elements(kind: ElementKind) -> Elements:
        parts = [columns[column.name] for column in element_columns(kind)]
        x_RF, class_R, charge_R, momentum_RM, particle_R = (values for values, _ in parts)
        return Elements(x_RF, class_R, charge_R, momentum_RM, particle_R, parts[0][1])

    return Events(
        keys,
        {kind.name: elements(kind) for kind in kinds},
        particles("generator"),
        particles("candidate"),
    )


def _column(
    data: memoryview, events: int, place: BufferPlace, column: PackColumn
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return one column's flat values, (rows,) or (rows, width), and its offsets (E + 1,)."""
    offsets = np.frombuffer(data, np.int32, events + 1, place.offsets).astype(np.int64)
    values = np.frombuffer(data, column.dtype, place.rows * column.width, place.values)
    return (values.reshape(-1, column.width) if column.width > 1 else values), offsets

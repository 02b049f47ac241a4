"""Files into groups, what one task converts: a function of the files, never of the workers."""

from collections.abc import Sequence

from mlpf_stream.columns import MODE_KINDS, Mode, Role
from mlpf_stream.convert.scan import Look
from mlpf_stream.manifest import Entry
from mlpf_stream.shards.pack import element_columns, particle_columns, row_bytes

PARTS = 16
"""Groups of a small conversion, so that several workers have something to do."""
LEAST_BYTES = 8 << 20
MOST_BYTES = 128 << 20
"""Bytes of a group, as estimated: those of one shard at most, unless one file holds more."""


class Source(Entry):
    """One file to convert: where and who it is, what it holds, its role."""

    path: str
    file_id: str
    bytes: int
    role: Role
    look: Look


def plan_groups(sources: Sequence[Source], mode: Mode) -> list[tuple[Source, ...]]:
    """Cut files, in their order, into groups of about equal output; no file is divided."""
    sizes = [output_bytes(source, mode) for source in sources]
    target = min(max(sum(sizes) // PARTS, LEAST_BYTES), MOST_BYTES)
    groups: list[tuple[Source, ...]] = []
    open_group: list[Source] = []
    filled = 0
    for source, size in zip(sources, sizes, strict=True):
        if open_group and filled + size > target:
            groups.append(tuple(open_group))
            open_group, filled = [], 0
        open_group.append(source)
        filled += size
    if open_group:
        groups.append(tuple(open_group))
    return groups


def output_bytes(source: Source, mode: Mode) -> int:
    """Estimate the bytes of a file's events in shards."""
    rows = source.look.rows
    elements = sum(
        rows.get(kind.name, 0) * row_bytes(element_columns(kind)) for kind in MODE_KINDS[mode]
    )
    return elements + rows.get("particle", 0) * row_bytes(particle_columns(""))

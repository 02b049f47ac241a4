"""Journals of runs: one JSON object per line, written while a run goes on and may be killed."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from mlpf_stream.errors import SchemaError

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Journal(Generic[R]):
    """The lines that are whole, and how many a kill cut short."""

    lines: tuple[R, ...]
    cut: int


def read_journal(content: bytes, record: type[R], where: str) -> Journal[R]:
    """Read a journal; lines that a kill cut short are left out and counted.

    The last line of a run that still goes on may be half written: that is not counted.

    Raises:
        SchemaError: a line is whole but of another kind, or most lines are not whole.
    """
    lines, cut, first = [], 0, ""
    texts = content.split(b"\n")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            lines.append(record.model_validate_json(text))
        except ValidationError as error:
            if error.errors()[0]["type"] != "json_invalid" or not text.startswith(b"{"):
                raise refuse(where, error, f" line {number}") from error
            if number < len(texts):
                first = first or f"line {number}"
                cut += 1
    if cut > len(lines):
        msg = (
            f"expected lines of JSON in {where!r}, found {cut} that are not ({first} first) and "
            f"{len(lines)} that are; restore the file or train again"
        )
        raise SchemaError(msg)
    return Journal(tuple(lines), cut)


def refuse(where: str, error: ValidationError, line: str = "") -> SchemaError:
    """Say what is wrong with a file."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return SchemaError(
        f"expected what mlpf writes in {where!r}{line}, found at {place or 'its start'}: "
        f"{first['msg']}; write it again with 'mlpf evaluate' or 'mlpf train'"
    )

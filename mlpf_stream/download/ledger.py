"""The ledger of a folder of downloads: what was verified, so that it need not be read again."""

from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mlpf_stream.download.listing import RemoteFile
from mlpf_stream.errors import DataError
from mlpf_stream.storage import LocalStore

LEDGER_NAME: Final = "downloads.json"
LEDGER_FORMAT: Final = "mlpf_stream.downloads.1"


class Entry(BaseModel):
    """A part of the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class KeptFile(Entry):
    """A file as it was when it was verified; of an archive's member, with its own digest."""

    name: str
    bytes: int
    mtime_ns: int
    checksum: str

    @classmethod
    def of(cls, folder: Path, name: str, checksum: str) -> Self:
        """Return the file called `name` as it is now."""
        facts = (folder / name).stat()
        return cls(name=name, bytes=facts.st_size, mtime_ns=facts.st_mtime_ns, checksum=checksum)

    def is_untouched(self, folder: Path) -> bool:
        """Return whether the file is as it was, by size and time."""
        path = folder / self.name
        if not path.is_file():
            return False
        facts = path.stat()
        return (facts.st_size, facts.st_mtime_ns) == (self.bytes, self.mtime_ns)


class LedgerEntry(Entry):
    """One download: where from, its published checksum, and the files that are left of it."""

    url: str
    bytes: int
    checksum: str
    kept: tuple[KeptFile, ...]


class Ledger(Entry):
    """All downloads of a folder by name."""

    format: str = LEDGER_FORMAT
    downloads: dict[str, LedgerEntry] = {}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the ledger of a folder, empty where there is none.

        Raises:
            DataError: not a ledger.
        """
        path = folder / LEDGER_NAME
        if not path.exists():
            return cls()
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            msg = (
                f"expected the ledger of downloads in {str(path)!r}, found something else; "
                "remove it: files that are there are then verified by reading them"
            )
            raise DataError(msg) from error
        return found

    def write(self, folder: Path) -> None:
        """Replace the ledger of a folder, atomically."""
        data = self.model_dump_json(indent=1) + "\n"
        LocalStore(str(folder)).write(LEDGER_NAME, data.encode())

    def with_entry(self, name: str, entry: LedgerEntry) -> Self:
        """Return the ledger with one more download."""
        return self.model_copy(update={"downloads": {**self.downloads, name: entry}})

    def holds(self, file: RemoteFile, folder: Path) -> bool:
        """Return whether a file was verified against its published checksum and is untouched."""
        entry = self.downloads.get(file.name)
        return (
            entry is not None
            and entry.checksum == file.checksum
            and all(kept.is_untouched(folder) for kept in entry.kept)
        )

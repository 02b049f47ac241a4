"""Bad files: left out whole with their reason, up to a limit; beyond it an error lists them."""

from collections.abc import Sequence

from mlpf_stream.errors import AccessError, DataError, MissingDataError, error_from_tree, error_tree
from mlpf_stream.manifest import Entry, QuarantineEntry


class BadFile(Entry):
    """A file that cannot be used: where it is, who it is, and the error that says why."""

    path: str
    file_id: str
    bytes: int
    error: dict[str, object]

    @property
    def reason(self) -> str:
        """The text of the error."""
        return str(self.error["message"])

    @property
    def entry(self) -> QuarantineEntry:
        """What the manifest says of it."""
        name = self.path.rsplit("/", 1)[-1]
        # Without folders: the same files give the same manifest, wherever they lie.
        reason = self.reason.replace(self.path, name)
        return QuarantineEntry(name=name, file_id=self.file_id, bytes=self.bytes, reason=reason)


def bad_file(error: DataError, path: str, place: str, file_id: str, size: int) -> BadFile:
    """Return the record of a bad file that was read at `place`.

    Raises:
        DataError: that error, if it is none of the file's: it is not there, or not for us to read.
    """
    if isinstance(error, MissingDataError | AccessError):
        raise error
    tree = error_tree(error)
    tree["message"] = str(tree["message"]).replace(place, path)
    return BadFile(path=path, file_id=file_id, bytes=size, error=tree)


def check_bad_files(bad: Sequence[BadFile], limit: int) -> None:
    """Stop when there are more bad files than the user allows.

    Raises:
        DataError: lists them all; of the kind that the file met, if it is only one.
    """
    if len(bad) <= limit:
        return
    if len(bad) == 1:
        raise error_from_tree(bad[0].error)
    listed = "".join(f"\n  {file.path}: {file.reason}" for file in bad)
    raise DataError(
        f"expected at most {limit} files that cannot be used, found {len(bad)}:{listed}\n"
        "copy or produce them again, leave them out, or raise --max-bad-files; "
        "what is converted already is kept for the next try"
    )

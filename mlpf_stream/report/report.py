"""Read folders, write one page."""

from collections.abc import Sequence
from pathlib import Path

from mlpf_stream.errors import ConfigError
from mlpf_stream.report.comparison import compare_folders, parts_of
from mlpf_stream.report.folder import open_folder
from mlpf_stream.report.page import render


def report(folders: Sequence[str], out: str) -> str:
    """Write what evaluate and train left in folders as one HTML file; return its path.

    Args:
        folders: paths or URLs of runs or evaluations; two or more are compared.
        out: the local file to write.

    Raises:
        ConfigError: no folder, the same one twice, or `out` is not a local path.
        MissingDataError: nothing to report in a folder.
        SchemaError: a file is not what evaluate or train writes.
    """
    if not folders or len(set(map(parts_of, folders))) < len(folders):
        msg = f"expected one or more different folders, found {list(folders)}; name each once"
        raise ConfigError(msg)
    if "://" in out:
        raise ConfigError(f"expected a local path to write the page to, found {out!r}")
    page = render(compare_folders([open_folder(folder) for folder in folders]))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return out

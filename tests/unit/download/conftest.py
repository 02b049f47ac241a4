"""An archive that runs, and downloads from it."""

import pytest
from record_server import run_archive

from mlpf_stream.download import DownloadRequest, Patience, download


@pytest.fixture
def archive():
    """A running archive without files."""
    with run_archive() as found:
        yield found


@pytest.fixture
def fetch_all(archive, tmp_path):
    """Return a function that downloads a set into a folder, by default the whole record."""

    def call(out=tmp_path / "out", name="zenodo-8260741", **options):
        patience = {"seconds": 2.0, "silence": 0.5, "first_pause": 0.02, "longest_pause": 0.1}
        patience |= options.pop("patience", {})
        options = {"mirror": archive.url, "workers": 1, **options}
        return download(DownloadRequest(name, str(out), patience=Patience(**patience), **options))

    return call

"""Which files a conversion takes, and that it takes none of them twice."""

import shutil

import pytest

from mlpf_stream.convert import ConvertRequest, convert
from mlpf_stream.errors import DataError, MissingDataError
from mlpf_stream.manifest import MANIFEST_NAME
from mlpf_stream.simulate import SimulateRequest, simulate


@pytest.fixture(scope="module")
def photons(tmp_path_factory):
    """One file of 20 photons."""
    folder = tmp_path_factory.mktemp("photons")
    request = SimulateRequest("gun-gamma", events=20, seed=3, out=str(folder), files=1)
    return simulate(request).files[0]


def test_a_copy_of_a_file_is_refused_since_its_events_have_the_same_keys(photons, tmp_path):
    copy = shutil.copy(photons, tmp_path / "copy.root")
    with pytest.raises(DataError, match=r"copy\.root"):
        convert(ConvertRequest([photons, str(copy)], str(tmp_path / "out")))
    assert not (tmp_path / "out" / MANIFEST_NAME).exists()


def test_one_file_by_two_paths_is_taken_once(photons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photons, "a.root")
    summary = convert(ConvertRequest(["a.root", str(tmp_path / "a.root")], str(tmp_path / "out")))
    assert summary.manifest.events == 20


def test_a_misspelt_source_leaves_the_dataset_that_it_should_replace(photons, tmp_path):
    out = tmp_path / "out"
    convert(ConvertRequest([photons], str(out)))
    before = sorted(path for path in out.rglob("*") if path.is_file())
    with pytest.raises(MissingDataError, match=r"nothing\.root"):
        convert(ConvertRequest([str(tmp_path / "nothing.root")], str(out), overwrite=True))
    assert sorted(path for path in out.rglob("*") if path.is_file()) == before

"""The Croissant description: mlcroissant accepts it, reads records of it, and all of it is true."""

import json
import tarfile
from hashlib import sha256
from pathlib import Path

import mlcroissant
import pyarrow as pa
import pytest
import rdflib
from dataset import write_dataset
from spoiled import shoot

from mlpf_stream.cli import main
from mlpf_stream.columns import CLASSES, CLUSTER, TRACK
from mlpf_stream.errors import MissingDataError, SchemaError
from mlpf_stream.inspect import describe_dataset
from mlpf_stream.inspect.croissant import MOST_SHARDS, describe

# rdflib, which mlcroissant reads JSON-LD with, warns of its own old names.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib.*")

NO_DATE = 'Property "https://schema.org/datePublished" is recommended, but does not exist.'


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A dataset of two processes in several shards."""
    url = str(tmp_path_factory.mktemp("data"))
    counts = {"ttbar": (30, "train"), "WW": (10, "ood")}
    return write_dataset(url, counts, pack_events=4, shard_bytes=40_000, weights={"WW": 0.5})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A dataset made through the command line of two simulated files."""
    folder = tmp_path_factory.mktemp("simulated")
    for seed in (1, 2):
        shoot(folder / "sim", seed=seed)
    with pytest.raises(SystemExit) as stop:
        main(["convert", str(folder / "sim"), "--out", str(folder / "data"), "--json"])
    assert stop.value.code == 0
    return folder / "data"


def validated(tree):
    """Return the dataset that mlcroissant sees; it may miss the date of publication, only that."""
    dataset = mlcroissant.Dataset(jsonld=json.loads(json.dumps(tree, allow_nan=False)))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert [NO_DATE in warning for warning in issues.warnings] == [True]
    return dataset


def test_every_file_is_named_with_its_size_and_digest(index):
    described = validated(describe_dataset(index.store.url)).metadata
    root = Path(index.store.url)
    named = {entry.content_url: entry for entry in described.file_objects}
    there = [path for path in root.rglob("*") if path.is_file()]
    assert len(there) > 4
    assert sorted(named) == sorted(path.relative_to(root).as_posix() for path in there)
    for name, entry in named.items():
        data = (root / name).read_bytes()
        assert entry.sha256 == sha256(data).hexdigest()
        assert entry.content_size == f"{len(data)} B"
    formats = {".tar": "application/x-tar", ".arrow": "application/vnd.apache.arrow.file"}
    formats[".json"] = "application/json"
    for name, entry in named.items():
        assert entry.encoding_formats == [formats[Path(name).suffix]]


def test_a_loader_reads_classes_splits_processes_and_features(index):
    dataset = validated(describe_dataset(index.store.url))

    def records(name):
        rows = list(dataset.records(name))
        return [{key.partition("/")[2]: value for key, value in row.items()} for row in rows]

    classes = records("classes")
    assert [row["name"] for row in classes] == list(CLASSES)
    assert [row["index"] for row in classes] == list(range(len(CLASSES)))
    assert {row["name"]: row["targets"] for row in classes} == index.manifest.class_counts
    assert {row["name"]: row["events"] for row in records("splits")} == index.manifest.splits
    assert records("processes") == [
        {"name": "ttbar", "role": "train", "weight": 1.0, "events": 30},
        {"name": "WW", "role": "ood", "weight": 0.5, "events": 10},
    ]
    features = records("features")
    for kind in (TRACK, CLUSTER):
        rows = [row for row in features if row["kind"] == kind.name]
        assert [row["name"] for row in rows] == list(kind.names)
        assert [row["unit"] for row in rows] == [column.unit for column in kind.columns]
        assert [row["position"] for row in rows] == list(range(kind.width))


def test_a_loader_reads_the_source_files_from_the_manifest(simulated):
    place = simulated / "croissant.json"
    place.write_text(json.dumps(describe_dataset(str(simulated))))
    try:
        rows = list(mlcroissant.Dataset(jsonld=str(place)).records("sources"))
    finally:
        place.unlink()
    files = json.loads((simulated / "manifest.json").read_text())["files"]
    assert len(files) == 2
    for row, file in zip(rows, files, strict=True):
        found = {key: row[f"sources/{key}"] for key in ("name", "file_id", "process")}
        texts = {key: value.decode() for key, value in found.items()}
        assert texts == {key: file[key] for key in texts}
        assert [row["sources/bytes"], row["sources/events"]] == [file["bytes"], file["events"]]


def test_the_columns_of_the_events_are_those_of_the_packs(index):
    described = validated(describe_dataset(index.store.url)).metadata
    (events,) = [each for each in described.record_sets if each.id == "events"]
    with tarfile.open(Path(index.store.url) / "shards" / "000000.tar") as tar:
        member = tar.extractfile(next(m for m in tar if m.name.endswith(".events.arrow")))
        schema = pa.ipc.open_file(pa.py_buffer(member.read())).schema
    assert [field.source.extract.column for field in events.fields] == schema.names
    for field in events.fields[1:]:
        inner = schema.field(field.name).type.value_type
        wide = pa.types.is_fixed_size_list(inner)
        shape = (-1, inner.list_size) if wide else (-1,)
        assert field.array_shape_tuple == shape
        dtype = pa.from_numpy_dtype(field.data_type)
        assert dtype == (inner.value_type if wide else inner)
    track = next(field for field in events.fields if field.name == "track")
    assert "sin_phi [1]" in track.description
    assert "d0 [mm]" in track.description
    (rows,) = [each for each in described.record_sets if each.id == "index"]
    table = pa.ipc.open_file(Path(index.store.url) / "index" / "000000.arrow").read_all()
    named = {field.source.extract.column for field in rows.fields}
    assert named == set(table.column_names) - {"pack", "row"}


def test_what_simulation_made_the_events_is_said(simulated, index):
    tree = describe_dataset(str(simulated))
    described = validated(tree).metadata
    assert "All events are fast simulation, not full simulation" in described.description
    assert described.data_limitations[0].startswith("Fast simulation")
    assert "particle gun" in described.data_collection
    told = describe_dataset(index.store.url)["description"]
    assert "do not say which detector simulation" in told
    graph = rdflib.Graph().parse(data=json.dumps(tree), format="json-ld")
    (settings,) = graph.objects(None, rdflib.URIRef("urn:mlpf-stream:generators"))
    manifest = json.loads((simulated / "manifest.json").read_text())
    assert [row["seed"] for row in json.loads(settings)] == [1, 2]
    assert [row["file_id"] for row in json.loads(settings)] == [
        file["file_id"] for file in manifest["files"]
    ]


def test_licence_creators_and_sources_are_told_as_given(index):
    changes = {
        "title": "Jets: (380 GeV) & more",
        "licence": "cc-by-4.0",
        "creators": ("Ada Lovelace", "CLICdp Collaboration"),
        "sources_doi": ("10.5281/zenodo.8260741", "doi:10.1038/s42005-024-01599-5"),
        "version": 3,
    }
    manifest = index.manifest.model_copy(update=changes)
    tree = describe(manifest, manifest.to_json().encode())
    described = validated(tree).metadata
    assert (described.name, described.version) == ("Jets: (380 GeV) & more", "3.0.0")
    assert described.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    assert [(type(who).__name__, who.name) for who in described.creators] == [
        ("Person", "Ada Lovelace"),
        ("Organization", "CLICdp Collaboration"),
    ]
    links = ["https://doi.org/10.5281/zenodo.8260741", "https://doi.org/10.1038/s42005-024-01599-5"]
    assert tree["isBasedOn"] == links
    assert "author = {Ada Lovelace and CLICdp Collaboration}" in described.cite_as
    assert links[0] in described.cite_as
    plain = validated(describe_dataset(index.store.url)).metadata
    assert plain.license == [index.manifest.licence]
    assert plain.creators == []


def test_a_dataset_of_very_many_shards_names_them_by_pattern(index):
    first = index.manifest.shards[0]
    shards = tuple(first.model_copy(update={"name": f"{n:06d}"}) for n in range(MOST_SHARDS + 1))
    manifest = index.manifest.model_copy(update={"shards": shards})
    tree = describe(manifest, manifest.to_json().encode())
    described = validated(tree).metadata
    assert [entry.id for entry in described.file_objects] == ["manifest.json"]
    patterns = {entry.id: entry.includes for entry in described.file_sets}
    assert patterns["shard-files"] == ["shards/*.tar"]
    assert patterns["index-files"] == ["index/*.arrow"]
    assert len(json.dumps(tree)) < 40_000


def test_same_manifest_same_description(index):
    first = describe_dataset(index.store.url)
    validated(first)
    again = describe(index.manifest, (Path(index.store.url) / "manifest.json").read_bytes())
    assert json.dumps(first) == json.dumps(again)
    assert index.store.url not in json.dumps(first)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_command_prints_the_description_and_nothing_else(index, capsys, options):
    with pytest.raises(SystemExit) as stop:
        main(["inspect", index.store.url, "--croissant", *options])
    captured = capsys.readouterr()
    assert stop.value.code == 0
    assert json.loads(captured.out) == describe_dataset(index.store.url)
    assert (captured.out.count("\n") == 1) == bool(options)


def test_a_spoiled_manifest_is_3(index, tmp_path, capsys):
    tree = json.loads((Path(index.store.url) / "manifest.json").read_text())
    for spoiled in (tree | {"events": "many"}, tree | {"format": "other"}, {"format": 1}):
        (tmp_path / "manifest.json").write_text(json.dumps(spoiled))
        with pytest.raises(SchemaError):
            describe_dataset(str(tmp_path))
        with pytest.raises(SystemExit) as stop:
            main(["inspect", str(tmp_path), "--croissant"])
        captured = capsys.readouterr()
        assert (stop.value.code, captured.out) == (3, "")
        assert "manifest.json" in captured.err


def test_nothing_to_describe_says_what_to_do(tmp_path):
    with pytest.raises(MissingDataError, match=r"found none at .*mlpf convert"):
        describe_dataset(str(tmp_path))

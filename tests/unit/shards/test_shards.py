"""Shards: what goes in comes out, same bytes each time, and no damaged byte is ever used."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from dataset import KINDS, write_dataset
from synthetic import make_events

from mlpf_stream.errors import MissingDataError, SchemaError, ShardError
from mlpf_stream.event import concatenate_events
from mlpf_stream.manifest import MANIFEST_NAME
from mlpf_stream.shards.index import open_dataset
from mlpf_stream.shards.pack import encode_pack
from mlpf_stream.shards.reader import check_member, read_events, read_pack, verify_shard
from mlpf_stream.shards.writer import ShardLimits, ShardWriter, split_of
from mlpf_stream.storage import open_store


def rows_by_key(events):
    return {
        key: {
            name: (
                part.x_RF[part.offsets[i] : part.offsets[i + 1]].tobytes(),
                part.class_R[part.offsets[i] : part.offsets[i + 1]].tobytes(),
                part.momentum_RM[part.offsets[i] : part.offsets[i + 1]].tobytes(),
            )
            for name, part in events.elements.items()
        }
        | {"generator": events.generator.select(np.array([i])).momentum_PM.tobytes()}
        for i, key in enumerate(events.keys)
    }


@pytest.mark.parametrize("url", ["memory://shards-round-trip", "local"])
def test_every_event_comes_back_exactly_once(url, tmp_path):
    url = str(tmp_path) if url == "local" else url
    index = write_dataset(url, {"ttbar": (57, "train"), "WW": (20, "ood")}, shard_bytes=40_000)
    assert len(index.manifest.shards) > 1
    back = read_events(index)
    rng = np.random.default_rng(5)
    written = [
        make_events(0, rng.integers(1, 20, 57), rng.integers(1, 20, 57), "ttbar"),
        make_events(1, rng.integers(1, 20, 20), rng.integers(1, 20, 20), "WW"),
    ]
    assert rows_by_key(back) == rows_by_key(concatenate_events(written))
    assert len(back.keys) == 77


def test_same_input_gives_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_dataset(str(tmp_path / name), {"qq": (40, "train")})
    a, b = open_store(str(tmp_path / "a")), open_store(str(tmp_path / "b"))
    assert a.list() == b.list()
    assert all(a.read(name) == b.read(name) for name in a.list())


def test_packs_are_sorted_by_length_and_pure_in_process_and_split(tmp_path):
    index = write_dataset(str(tmp_path), {"qq": (60, "train"), "ZH": (30, "ood")})
    for number, place in enumerate(index.packs):
        events = read_pack(index, number)
        assert (np.diff(events.lengths) >= 0).all()
        assert {key.split("-")[0] for key in events.keys} == {place.entry.process}
        role = "ood" if place.entry.process == "ZH" else "train"
        assert {split_of(key, role) for key in events.keys} == {place.entry.split}


def test_a_shard_is_an_ordinary_tar_of_arrow_files(tmp_path):
    index = write_dataset(str(tmp_path), {"qq": (20, "train")})
    with tarfile.open(tmp_path / "shards" / "000000.tar") as tar:
        names = tar.getnames()
        member = tar.extractfile(names[0])
        table = pa.ipc.open_file(io.BytesIO(member.read())).read_all()
    assert [name.split(".", 1)[1] for name in names[:2]] == ["events.arrow", "meta.json"]
    assert table["track"].type.value_type == pa.list_(pa.float32(), 16)
    assert table["cluster"].type.value_type == pa.list_(pa.float32(), 17)
    assert table["key"].to_pylist() == list(index.keys_of_pack(0))


def test_split_is_80_10_10_and_never_changes():
    splits = [split_of(f"ttbar-0123456789ab-{i}", "train") for i in range(20_000)]
    fractions = {name: splits.count(name) / len(splits) for name in ("train", "valid", "test")}
    assert fractions["train"] == pytest.approx(0.8, abs=0.01)
    assert fractions["valid"] == pytest.approx(0.1, abs=0.01)
    assert split_of("ttbar-0123456789ab-7", "train") == "train"
    assert split_of("WW-0123456789ab-7", "ood") == "test"


@pytest.mark.parametrize("place", ["pack", "meta", "tail"])
def test_a_flipped_bit_is_found(tmp_path, place):
    index = write_dataset(str(tmp_path), {"qq": (20, "train")})
    path = tmp_path / "shards" / "000000.tar"
    data = bytearray(path.read_bytes())
    entry = index.packs[0].entry
    at = {"pack": entry.offset + entry.bytes // 2, "meta": entry.offset + entry.bytes + 600}
    data[at.get(place, len(data) - 1)] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError):
        verify_shard(index, index.manifest.shards[0])
    if place == "pack":
        with pytest.raises(ShardError, match="checksum"):
            read_pack(index, 0)


def test_a_truncated_shard_is_found(tmp_path):
    index = write_dataset(str(tmp_path), {"qq": (40, "train")})
    path = tmp_path / "shards" / "000000.tar"
    path.write_bytes(path.read_bytes()[: index.packs[-1].entry.offset + 10])
    with pytest.raises(ShardError, match=r"expected .* bytes"):
        read_pack(index, len(index.packs) - 1)


def test_verify_reads_everything(tmp_path):
    index = write_dataset(str(tmp_path), {"qq": (40, "train")}, shard_bytes=30_000)
    assert sum(verify_shard(index, shard) for shard in index.manifest.shards) == 40


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../evil.events.arrow"},
        {"name": "/abs.events.arrow"},
        {"name": "a.pickle"},
        {"type": tarfile.SYMTYPE},
        {"size": 1 << 31},
    ],
)
def test_members_outside_the_allow_list_are_refused(change):
    info = tarfile.TarInfo("000000-00000.events.arrow")
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(SchemaError, match="do not use"):
        check_member(info, "shards/000000.tar")


def test_without_a_manifest_there_is_no_dataset(tmp_path):
    with pytest.raises(MissingDataError, match="mlpf convert"):
        open_dataset(open_store(str(tmp_path)))


def test_another_schema_version_is_refused(tmp_path):
    write_dataset(str(tmp_path), {"qq": (10, "train")})
    path = tmp_path / MANIFEST_NAME
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(SchemaError, match="found 99"):
        open_dataset(open_store(str(tmp_path)))


def test_an_empty_event_list_column_survives(tmp_path):
    writer = ShardWriter(open_store(str(tmp_path)), KINDS, ShardLimits())
    writer.add(make_events(3, [0, 0, 2], [4, 1, 0]), "train")
    assert sum(shard.events for shard in writer.close()) == 3
    assert encode_pack(make_events(3, [0], [0]), KINDS)

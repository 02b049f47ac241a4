"""Downloads from a real server: what arrives, what is kept, and what every fault leads to."""

import io
import json
import tarfile
import threading
import time

import numpy as np
import pytest
from proxy import Proxy
from record_server import FOLDER, RECORD

from mlpf_stream.download import PUBLISHED, DownloadRequest, list_files
from mlpf_stream.errors import AccessError, ConfigError, DataError, MissingDataError, StorageError

PASS = ("close", 1 << 40)
"""A script entry of the proxy that lets an answer through."""


def noise(size, seed=1):
    return np.random.default_rng(seed).bytes(size)


def tar_of(members):
    """Return a tar of {name: bytes}."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def contents(folder):
    """Return {path: bytes} of a folder, the ledger left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    assert found.pop("downloads.json", b"{").startswith(b"{")
    return found


@pytest.fixture
def through(archive):
    """A proxy before the archive, whose script the test writes."""
    proxy = Proxy(archive.url)
    yield proxy
    proxy.close()


def test_files_arrive_whole_and_a_second_run_asks_for_none(archive, fetch_all, tmp_path):
    archive.files = {f"{n}.root": noise(n * 50_000 + n, n) for n in (0, 1, 2, 30)}
    first = fetch_all(workers=3)
    assert contents(tmp_path / "out") == archive.files
    assert (first.fetched, first.kept, first.licence) == (4, 0, "cc-by-4.0")
    assert first.bytes == sum(map(len, archive.files.values()))
    assert [path.rpartition("/")[2] for path in first.files] == list(archive.files)
    archive.asked.clear()
    again = fetch_all()
    assert archive.asked == []
    assert (again.fetched, again.kept, again.files) == (0, 4, first.files)


def test_a_touched_file_is_read_again_and_a_changed_one_fetched_again(archive, fetch_all, tmp_path):
    archive.files = {"a.root": noise(90_000), "b.root": noise(90_000, 2)}
    fetch_all()
    place = tmp_path / "out"
    archive.asked.clear()
    (place / "a.root").write_bytes(archive.files["a.root"])
    fetch_all()
    assert archive.asked == []  # same bytes, new time: verified by reading
    damaged = bytearray(archive.files["a.root"])
    damaged[5] ^= 1
    (place / "a.root").write_bytes(damaged)
    (place / "b.root").unlink()
    fetch_all()
    assert [name for name, *_ in archive.asked] == ["a.root", "b.root"]
    assert contents(place) == archive.files
    (place / "downloads.json").unlink()
    archive.asked.clear()
    fetch_all()
    assert archive.asked == []  # without the ledger: verified by reading
    archive.files["a.root"] = noise(80_000, 9)  # a new version of the record
    fetch_all()
    assert contents(place) == archive.files


@pytest.mark.parametrize("fault", ["reset", "close", "stall", "trickle"])
def test_a_cut_body_is_resumed_where_it_ended(archive, fetch_all, through, tmp_path, fault):
    archive.files = {"a.root": noise(3_000_000)}
    slow = {}
    through.script = [PASS, (fault, 1_200_000), (fault, 900_000)]
    if fault == "trickle":  # a byte now and then: the clock ends it, not the socket
        slow = {"slowest_rate": 1e6, "seconds": 0.5}
        through.script.insert(2, PASS)
        for _ in range(2):
            with pytest.raises(StorageError, match="run the same command again"):
                fetch_all(mirror=through.url, patience=slow)
    fetch_all(mirror=through.url)
    assert contents(tmp_path / "out") == archive.files
    begins = [int(wanted[6:-1]) if wanted else 0 for _, wanted, _, _ in archive.asked]
    lost = 1_200_000 if fault == "reset" else 2_000  # a reset may overtake bytes; heads are bytes
    assert begins[0] == 0
    assert 1_200_000 - lost <= begins[1] <= 1_201_000
    assert begins[1] + 900_000 - lost <= begins[2] <= begins[1] + 901_000
    assert [status for *_, status in archive.asked] == [200, 206, 206]
    assert {condition for _, _, condition, _ in archive.asked[1:]} == {archive.tag("a.root")}


@pytest.mark.parametrize("rash", [False, True], ids=["heeds If-Range", "ignores If-Range"])
def test_a_file_that_changed_meanwhile_begins_again(archive, fetch_all, through, tmp_path, rash):
    archive.rash = rash
    archive.files = {"a.root": noise(2_000_000)}
    through.script = [PASS, ("close", 1_000_000)]
    through.script += [("answer", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")] * 99
    with pytest.raises(StorageError):
        fetch_all(mirror=through.url, patience={"seconds": 0.3})
    through.script.clear()
    archive.tags["a.root"] = '"another"'  # same list, another version at the place
    archive.asked.clear()
    fetch_all(mirror=through.url)
    assert None not in archive.asked[0]
    assert [status for *_, status in archive.asked] == ([206, 200] if rash else [200])
    assert contents(tmp_path / "out") == archive.files


def test_a_part_of_another_version_of_the_record_is_not_used(archive, fetch_all, through, tmp_path):
    archive.files = {"a.root": noise(2_000_000)}
    through.script = [PASS, ("close", 1_000_000)]
    through.script += [("answer", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")] * 99
    with pytest.raises(StorageError):
        fetch_all(mirror=through.url, patience={"seconds": 0.3})
    assert (tmp_path / "out" / "a.root.part").stat().st_size > 800_000
    archive.files["a.root"] = noise(2_000_000, 7)
    archive.asked.clear()
    fetch_all()
    assert [wanted for _, wanted, _, _ in archive.asked] == [None]
    assert contents(tmp_path / "out") == archive.files


def test_a_server_without_ranges_sends_all_again(archive, fetch_all, through, tmp_path):
    archive.files = {"a.root": noise(2_000_000)}
    archive.ranges = False
    through.script = [PASS, ("close", 1_000_000)]
    fetch_all(mirror=through.url)
    assert [status for *_, status in archive.asked] == [200, 200]
    assert contents(tmp_path / "out") == archive.files


def test_a_damaged_part_is_found_and_fetched_again(archive, fetch_all, through, tmp_path):
    archive.files = {"a.root": noise(1_500_000)}
    through.script = [PASS, ("close", 1_000_000)]
    through.script += [("answer", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")] * 99
    with pytest.raises(StorageError):
        fetch_all(mirror=through.url, patience={"seconds": 0.3})
    part = tmp_path / "out" / "a.root.part"
    data = bytearray(part.read_bytes())
    data[77] ^= 1
    part.write_bytes(data)
    archive.asked.clear()
    fetch_all()
    assert [status for *_, status in archive.asked] == [206, 200]
    assert contents(tmp_path / "out") == archive.files


def test_busy_answers_are_waited_out_and_a_storm_of_them_is_not(
    archive, fetch_all, through, tmp_path
):
    archive.files = {"a.root": noise(100_000)}
    busy = ("answer", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    later = ("answer", b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
    through.script = [busy, PASS, busy, later]
    begun = time.monotonic()
    fetch_all(mirror=through.url)
    assert time.monotonic() - begun > 1.0
    assert contents(tmp_path / "out") == archive.files
    through.script = [busy] * 1000
    with pytest.raises(StorageError, match=r"status 503 after .*--patience") as caught:
        fetch_all(tmp_path / "other", mirror=through.url, patience={"seconds": 0.5})
    assert (caught.value.exit_code, caught.value.retryable) == (4, True)
    far = ("answer", b"HTTP/1.1 429 Slow\r\nRetry-After: 900\r\nContent-Length: 0\r\n\r\n")
    through.script = [far] * 3
    begun = time.monotonic()
    with pytest.raises(StorageError, match="come back in 900 s"):
        fetch_all(tmp_path / "other", mirror=through.url)
    assert time.monotonic() - begun < 1.5


def test_wrong_bytes_are_removed_and_named(archive, fetch_all, tmp_path):
    archive.files = {"a.root": noise(100_000), "b.root": noise(100_000, 2)}
    archive.wrong["a.root"] = noise(100_000, 3)
    with pytest.raises(
        DataError, match=r"expected 100000 bytes of md5:.*checksum .*removed"
    ) as bad:
        fetch_all()
    assert bad.value.exit_code == 3
    assert contents(tmp_path / "out") == {"b.root": archive.files["b.root"]}
    archive.wrong["a.root"] = archive.files["a.root"][:-1]
    with pytest.raises(DataError, match="found 99999 bytes"):
        fetch_all()
    assert contents(tmp_path / "out") == {"b.root": archive.files["b.root"]}
    archive.wrong.clear()
    archive.asked.clear()
    fetch_all()
    assert [name for name, *_ in archive.asked] == ["a.root"]
    assert contents(tmp_path / "out") == archive.files


def test_several_files_that_fail_are_all_named(archive, fetch_all, tmp_path):
    archive.files = {f"{n}.root": noise(1_000, n) for n in range(4)}
    archive.wrong = dict.fromkeys(("0.root", "2.root"), b"no")
    with pytest.raises(DataError, match=r"2 files failed \(0\.root, 2\.root\)"):
        fetch_all()
    assert sorted(contents(tmp_path / "out")) == ["1.root", "3.root"]


@pytest.mark.parametrize(
    ("status", "kind"), [(404, MissingDataError), (403, AccessError), (418, DataError)]
)
def test_refusals_are_final(archive, fetch_all, through, status, kind):
    archive.files = {"a.root": noise(1_000)}
    refusal = ("answer", f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
    for script in ([refusal], [PASS, refusal]):
        through.script = list(script)
        before = through.met
        with pytest.raises(kind, match=f"status {status}"):
            fetch_all(mirror=through.url)
        assert through.met == before + len(script)


def test_without_a_network_it_says_what_to_do(fetch_all, through):
    closed = through.url
    through.close()
    with pytest.raises(StorageError, match=r"refused.*check the network.*HTTPS_PROXY") as caught:
        fetch_all(mirror=closed, patience={"seconds": 0.3})
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>log in to the network of this hotel</html>",
        b"[]",
        b'{"files": [{"key": "a"}]}',
        b'{"files": [{"key": "../a", "size": 1, "checksum": "md5:' + b"0" * 32 + b'"}]}',
        b'{"files": [{"key": ".profile", "size": 1, "checksum": "md5:' + b"0" * 32 + b'"}]}',
        b'{"files": [{"key": "a", "size": 1, "checksum": "crc32:00"}]}',
        b'{"files": [{"key": "a", "size": 1, "checksum": "md5:00"}]}',
        b'{"files": []}',
    ],
)
def test_a_list_that_cannot_be_is_refused(fetch_all, through, answer):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
    through.script = [("answer", head + answer)]
    with pytest.raises(DataError, match=rf"expected (the list|plain|checksums|files) .*{RECORD}"):
        fetch_all(mirror=through.url)


def test_too_little_space_is_said_before_anything_is_fetched(archive, fetch_all, tmp_path):
    archive.files = {"a.root": noise(1_000)}
    archive.listed_bytes["a.root"] = 10**15
    with pytest.raises(ConfigError, match=r"expected 1000000\.00 GB free.*--files") as caught:
        fetch_all()
    assert caught.value.exit_code == 2
    assert archive.asked == []
    assert contents(tmp_path / "out") == {}


def test_an_archive_is_unpacked_and_not_fetched_twice(archive, fetch_all, tmp_path):
    inside = {f"p8_ee_tt_ecm380/reco_p8_ee_tt_ecm380_{n}.root": noise(70_000, n) for n in (1, 2)}
    archive.files = {"p8_ee_tt_ecm380_10files.tar": tar_of(inside), "other.tar": b"not asked for"}
    out = tmp_path / "out"
    first = fetch_all(name="p8_ee_tt_ecm380")
    assert contents(out) == inside
    assert sorted(first.files) == sorted(f"{out}/{name}" for name in inside)
    archive.asked.clear()
    assert fetch_all(name="p8_ee_tt_ecm380").kept == 1
    assert archive.asked == []
    (out / "p8_ee_tt_ecm380" / "reco_p8_ee_tt_ecm380_2.root").unlink()
    assert fetch_all(name="p8_ee_tt_ecm380").fetched == 1
    assert contents(out) == inside
    # A kill between the ledger and the removal of the archive, and one before the ledger.
    name = "p8_ee_tt_ecm380_10files.tar"
    (out / name).write_bytes(archive.files[name])
    archive.asked.clear()
    fetch_all(name="p8_ee_tt_ecm380")
    (out / "downloads.json").unlink()
    (out / name).write_bytes(archive.files[name])
    fetch_all(name="p8_ee_tt_ecm380")
    assert (contents(out), archive.asked) == (inside, [])


def bad_member(**changes):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        info = tarfile.TarInfo("a.root")
        for name, value in changes.items():
            setattr(info, name, value)
        tar.addfile(info, io.BytesIO(b""))
    return sink.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        bad_member(name="../out-of-it.root"),
        bad_member(name="/tmp/out-of-it.root"),
        bad_member(name="downloads.json"),
        bad_member(name="x/a.root.part"),
        bad_member(type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        bad_member(type=tarfile.LNKTYPE, linkname="b.root"),
        bad_member(type=tarfile.FIFOTYPE),
        b"this is no tar" * 100,
    ],
)
def test_an_archive_that_reaches_out_is_refused(archive, fetch_all, tmp_path, data):
    archive.files = {"p8_ee_tt_ecm380_10files.tar": data}
    with pytest.raises(DataError, match=r"expected (plain files|a tar archive)"):
        fetch_all(name="p8_ee_tt_ecm380")
    assert sorted(contents(tmp_path)) == ["out/p8_ee_tt_ecm380_10files.tar"]


def test_a_repository_is_listed_over_pages_and_redirects(archive, fetch_all, tmp_path):
    names = [f"reco_p8_ee_ttbar_ecm380_{n}.root" for n in (300000, 300001, 300002, 1)]
    archive.files = {name: noise(40_000 + n, n) for n, name in enumerate(names)}
    archive.files["reco_other.root"] = noise(10)
    archive.page = 2
    first = fetch_all(name="p8_ee_ttbar_ecm380", files=2)
    assert [path.rpartition("/")[2] for path in first.files] == [names[3], names[0]]
    rest = fetch_all(name="p8_ee_ttbar_ecm380", pattern="*_30000[12].root")
    assert [path.rpartition("/")[2] for path in rest.files] == names[1:3]
    whole = fetch_all(name="p8_ee_ttbar_ecm380")
    assert (whole.fetched, whole.kept) == (0, 4)
    assert contents(tmp_path / "out") == {name: archive.files[name] for name in names}
    assert FOLDER in list_files(request(archive, "p8_ee_ttbar_ecm380")).files[0].url


def test_a_redirected_file_is_resumed_too(archive, fetch_all, through, tmp_path):
    name = "reco_p8_ee_ttbar_ecm380_300000.root"
    archive.files = {name: noise(2_000_000)}
    real, archive.url = archive.url, through.url  # the redirect leads through the proxy
    through.script = [PASS, PASS, ("close", 1_000_000)]
    fetch_all(name="p8_ee_ttbar_ecm380", mirror=through.url)
    archive.url = real
    assert [status for *_, status in archive.asked] == [200, 206]
    assert contents(tmp_path / "out") == archive.files


def request(archive, name="zenodo-8260741", **options):
    return DownloadRequest(name, "unused", mirror=archive.url, **options)


def test_what_is_asked_for_wrongly_is_said(archive, fetch_all, tmp_path):
    archive.files = {"a.root": noise(10)}
    names = ", ".join(each.name for each in PUBLISHED)
    with pytest.raises(ConfigError, match=f"{names}.*found 'ttH'"):
        fetch_all(name="ttH")
    with pytest.raises(ConfigError, match=r"--pattern .*a\.root.*found '\*\.tar'"):
        fetch_all(pattern="*.tar")
    with pytest.raises(ConfigError, match=r"--mirror http.*found 'ftp://x'"):
        fetch_all(mirror="ftp://x")
    with pytest.raises(ConfigError, match="local folder, found 's3://b/x'"):
        fetch_all("s3://b/x")
    (tmp_path / "downloads.json").write_text("dear diary")
    with pytest.raises(DataError, match=r"ledger .*downloads\.json.*remove it"):
        fetch_all(tmp_path)


def test_two_downloads_into_one_folder_are_one_too_many(archive, fetch_all, tmp_path):
    archive.files = {"a.root": noise(1_000_000)}
    archive.pace = 0.05
    first = threading.Thread(target=fetch_all)
    first.start()
    end = time.monotonic() + 5
    while not archive.asked and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(ConfigError, match="found one at work"):
        fetch_all()
    first.join()
    assert contents(tmp_path / "out") == archive.files
    assert len(archive.asked) == 1


def test_the_ledger_tells_what_was_verified(archive, fetch_all, tmp_path):
    archive.files = {"a.root": noise(1_000)}
    fetch_all()
    tree = json.loads((tmp_path / "out" / "downloads.json").read_text())
    entry = tree["downloads"]["a.root"]
    assert entry["url"].startswith(f"{archive.url}/records/{RECORD}/files/a.root")
    assert entry["checksum"] == entry["kept"][0]["checksum"]
    assert entry["checksum"].startswith("md5:")


def test_every_set_says_where_its_facts_come_from():
    assert len({each.name for each in PUBLISHED}) == len(PUBLISHED)
    for each in PUBLISHED:
        assert each.confirmed
        assert (each.doi is not None) == (each.host == "zenodo")
        assert each.doi is None or each.doi.endswith(f".{each.record}")

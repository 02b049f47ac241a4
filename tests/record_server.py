"""A real HTTP server that speaks as the archives of published events do: lists, ranges, tags."""

import hashlib
import json
import re
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

RECORD = "8260741"
REPOSITORY = "jpata/particleflow"
FOLDER = "root/clic/ttbar"
BLOCK = 1 << 16


class Archive:
    """What is served, how, and what was asked.

    Attributes:
        files: bytes by name. wrong: bytes sent instead of those that the list promises.
        tags: entity tags by name, else the digest as Zenodo sends it.
        ranges: whether ranges are known. rash: whether If-Range is ignored.
        pace: seconds before every block of 64 KiB.
        page: most files on one page of the repository's list.
        asked: (name, range, If-Range, status) of every question for a file.
    """

    def __init__(self):
        self.files = {}
        self.wrong = {}
        self.tags = {}
        self.ranges = True
        self.rash = False
        self.pace = 0.0
        self.page = 1000
        self.listed_bytes = {}
        self.asked = []
        self.url = ""

    def tag(self, name):
        return self.tags.get(name, f'"md5:{md5(self.files[name])}"')


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Tell of mistakes; that clients go away is what the tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        archive, parts = self.server.archive, urlsplit(self.path)
        path = unquote(parts.path)
        with suppress(BrokenPipeError, ConnectionResetError):
            if path == f"/api/records/{RECORD}":
                self.send_json(record(archive))
            elif path == f"/api/datasets/{REPOSITORY}/tree/main/{FOLDER}":
                self.send_page(archive, parts.query)
            elif path.startswith(f"/datasets/{REPOSITORY}/resolve/main/{FOLDER}/"):
                name = path.rpartition("/")[2]
                self.answer(302, {"Location": f"{archive.url}/cdn/{name}?key=1"})
            elif path.startswith((f"/records/{RECORD}/files/", "/cdn/")):
                self.send_file(archive, path.rpartition("/")[2])
            else:
                self.answer(404)

    def answer(self, status, headers=(), length=0):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_json(self, tree, headers=()):
        body = json.dumps(tree).encode()
        self.answer(200, {"Content-Type": "application/json", **dict(headers)}, len(body))
        self.wfile.write(body)

    def send_page(self, archive, query):
        begin = int(query.partition("cursor=")[2] or 0)
        rows = hub_rows(archive)
        headers = {}
        if begin + archive.page < len(rows):  # links name the origin, not the mirror
            place = f"https://huggingface.co{urlsplit(self.path).path}"
            headers["Link"] = f'<{place}?cursor={begin + archive.page}>; rel="next"'
        self.send_json(rows[begin : begin + archive.page], headers)

    def send_file(self, archive, name):
        wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
        status, begin = 404, 0
        if name in archive.files:
            data, tag = archive.wrong.get(name, archive.files[name]), archive.tag(name)
            status = 200
            if wanted and archive.ranges and (condition in {None, tag} or archive.rash):
                begin = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))
                status = 206 if begin < len(data) else 416
        archive.asked.append((name, wanted, condition, status))
        if status in {404, 416}:
            self.answer(status)
            return
        headers = {"ETag": tag, "Content-Type": "application/octet-stream"}
        if status == 206:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        self.answer(status, headers, len(data) - begin)
        for place in range(begin, len(data), BLOCK):
            time.sleep(archive.pace)
            self.wfile.write(data[place : place + BLOCK])


def record(archive):
    """Return what Zenodo says of a record, as far as anybody reads it."""
    files = [
        {
            "id": f"id-{name}",
            "key": name,
            "size": archive.listed_bytes.get(name, len(data)),
            "checksum": f"md5:{md5(data)}",
            "links": {"self": f"https://zenodo.org/api/records/{RECORD}/files/{name}/content"},
        }
        for name, data in archive.files.items()
    ]
    metadata = {"title": "Simulated datasets", "license": {"id": "cc-by-4.0"}}
    return {"id": int(RECORD), "doi": f"10.5281/zenodo.{RECORD}", "metadata": metadata} | {
        "files": files
    }


def hub_rows(archive):
    """Return the rows of a repository's list: large files have a digest of their content."""
    rows = [
        {
            "type": "file",
            "oid": "0" * 40,
            "size": len(data),
            "lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134},
            "path": f"{FOLDER}/{name}",
        }
        for name, data in archive.files.items()
    ]
    small = {"type": "file", "oid": "1" * 40, "size": 12, "path": f"{FOLDER}/README.md"}
    return [
        {"type": "directory", "oid": "2" * 40, "size": 0, "path": f"{FOLDER}/old"},
        small,
        *rows,
    ]


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@contextmanager
def run_archive():
    """Serve an archive from a thread of this process."""
    archive = Archive()
    with Server(("127.0.0.1", 0), Handler) as server:
        server.archive = archive
        archive.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield archive
        finally:
            server.shutdown()
            thread.join(10)

"""Objects in S3, or in anything that speaks its language."""

from functools import partial
from typing import ClassVar

from mlpf_stream.errors import ConfigError, MissingDataError
from mlpf_stream.storage.s3_call import (
    ClientError,
    IncompleteReadError,
    S3Answer,
    S3Call,
    S3Client,
    S3Limits,
    S3Place,
    call_s3,
    code_of,
)
from mlpf_stream.storage.upload import GatheredUpload

SCHEME = "s3://"


class S3Store:
    """Objects below one prefix of a bucket.

    Credentials and endpoint come from the environment's default chain (AWS_ENDPOINT_URL,
    AWS_ACCESS_KEY_ID, AWS_PROFILE, ...). The store itself holds no connection: each process has
    one, made at first use, so that a store may be pickled, forked and shared by threads.
    """

    limits: ClassVar[S3Limits] = S3Limits()
    """How long to wait, for every store that is not given its own."""

    def __init__(self, url: str, limits: S3Limits | None = None) -> None:
        bucket, _, root = url.removeprefix(SCHEME).rstrip("/").partition("/")
        if not bucket:
            raise ConfigError(f"expected a bucket as in s3://bucket/prefix, found {url!r}")
        self.url = url.rstrip("/")
        self._limits = limits
        self._bucket = bucket
        self._root = f"{root}/" if root else ""

    def _place(self, name: str, action: str) -> S3Place:
        return S3Place(self._bucket, self._root + name, action, self._limits or self.limits)

    def child(self, name: str) -> "S3Store":
        """Return the store of all objects below `name/`."""
        return S3Store(f"{self.url}/{name}", self._limits)

    def read(self, name: str) -> bytes:
        """Return the whole object."""
        return call_s3(self._place(name, "read"), 0, _get)

    def view(self, name: str, start: int, length: int) -> memoryview:
        """Return a part of the object, by a range request."""
        if length <= 0:
            self.size(name)
            return memoryview(b"")
        ask = partial(_get_range, start, start + length)
        return memoryview(call_s3(self._place(name, "read"), length, ask))

    def size(self, name: str) -> int:
        """Return the bytes of the object."""
        return call_s3(self._place(name, "look at"), 0, _size)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Put the object with one request: S3 shows it whole or not at all."""
        body = bytes(data)
        call_s3(self._place(name, "write"), len(body), partial(_put, body))

    def upload(self, name: str) -> GatheredUpload:
        """Gather the parts of an object for one request."""
        return GatheredUpload(partial(self.write, name))

    def append(self, name: str, data: bytes) -> None:
        """Read the object and write it again, longer: S3 cannot append."""
        try:
            old = self.read(name)
        except MissingDataError:
            old = b""
        self.write(name, old + data)

    def exists(self, name: str) -> bool:
        """Return whether the object is there."""
        try:
            self.size(name)
        except MissingDataError:
            return False
        return True

    def list(self, prefix: str = "") -> list[str]:
        """Return the names below `prefix`, sorted."""
        place = self._place(f"{prefix}/" if prefix else "", "list")
        keys: list[str] = []
        token: str | None = ""
        while token is not None:
            page, token = call_s3(place, 0, partial(_list_page, token))
            keys.extend(page)
        # A key that ends in a slash is what some tools leave for an empty folder.
        return sorted(key.removeprefix(self._root) for key in keys if not key.endswith("/"))

    def delete(self, name: str) -> None:
        """Remove the object; absent is no error."""
        call_s3(self._place(name, "delete"), 0, _delete)

    def sweep(self) -> None:
        """Do nothing: S3 shows a put whole or not at all."""


async def _get(client: S3Client, call: S3Call) -> bytes:
    """Return an object."""
    return await _receive(await client.get_object(**call.place.where), call)


async def _get_range(start: int, stop: int, client: S3Client, call: S3Call) -> bytes:
    """Return the bytes from `start` to before `stop`, or to the end of the object."""
    try:
        answer = await client.get_object(**call.place.where, Range=f"bytes={start}-{stop - 1}")
    except ClientError as error:
        if code_of(error) in {"InvalidRange", "416"}:
            return b""  # the object ends before `start`
        raise
    data = await _receive(answer, call)
    # A server that does not know ranges sends the object.
    return data if "ContentRange" in answer else data[start:stop]


async def _receive(answer: S3Answer, call: S3Call) -> bytes:
    """Return the body of an answer, whole."""
    expected, body = answer["ContentLength"], answer["Body"]
    call.expect(expected)
    try:
        data = await body.read()
    finally:
        # Else a connection with unread bytes would be kept for the next question.
        body.close()
    if len(data) != expected:
        raise IncompleteReadError(actual_bytes=len(data), expected_bytes=expected)
    return data


async def _size(client: S3Client, call: S3Call) -> int:
    """Return the bytes of an object."""
    return (await client.head_object(**call.place.where))["ContentLength"]


async def _put(body: bytes, client: S3Client, call: S3Call) -> None:
    """Write an object."""
    await client.put_object(**call.place.where, Body=body)


async def _delete(client: S3Client, call: S3Call) -> None:
    """Remove an object."""
    await client.delete_object(**call.place.where)


async def _list_page(token: str, client: S3Client, call: S3Call) -> tuple[list[str], str | None]:
    """Return a page of keys, and the token of the next page if there is one."""
    more = {"ContinuationToken": token} if token else {}
    place = call.place
    page = await client.list_objects_v2(Bucket=place.bucket, Prefix=place.key, **more)
    keys = [entry["Key"] for entry in page.get("Contents", [])]
    return keys, page.get("NextContinuationToken")

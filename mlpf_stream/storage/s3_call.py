"""One question to S3: asked until it is answered, refused, or its time is up.

The client's own waits have no total limit (a server that sends a byte now and then holds it for
ever), so the clock is ours: a limit per attempt, a limit for all of them, both growing with the
bytes asked for. The client's own retries are off.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NotRequired, Protocol, TypedDict, TypeVar

from fsspec.asyn import sync

from mlpf_stream.errors import (
    AccessError,
    ConfigError,
    MissingDataError,
    MissingExtraError,
    MlpfError,
    StorageError,
)

try:
    import s3fs
    from aiohttp import ClientError as HttpError
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        FlexibleChecksumError,
        HTTPClientError,
        IncompleteReadError,
        InvalidRegionError,
        ParamValidationError,
    )
    from botocore.exceptions import ConnectionError as UnreachableError
    from botocore.parsers import ResponseParserError
except ImportError as error:
    raise MissingExtraError("s3fs", "s3") from error

__all__ = [
    "ClientError",
    "IncompleteReadError",
    "S3Answer",
    "S3Body",
    "S3Call",
    "S3Client",
    "S3Limits",
    "S3Place",
    "call_s3",
    "code_of",
]

R = TypeVar("R")

LOST = (
    ConnectionError,
    TimeoutError,
    HttpError,
    HTTPClientError,
    UnreachableError,
    IncompleteReadError,
    FlexibleChecksumError,
    ResponseParserError,
)
"""What happens on the way; the next attempt may do better."""
BUSY = frozenset(
    {
        "BadDigest",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentSHA256Mismatch",
    }
)
"""Codes of servers that may answer another time, whatever their status."""


@dataclass(frozen=True, slots=True)
class S3Limits:
    """How long to wait for an answer.

    Attributes:
        attempts: at most so many.
        attempt_seconds: for one attempt, with `bytes / slowest_rate` on top.
        total_seconds: for all attempts and the pauses between them, with the same on top.
        slowest_rate: a connection slower than that is given up [bytes/s].
        first_pause, longest_pause: between attempts; doubles from the one to the other [s].
    """

    attempts: int = 8
    attempt_seconds: float = 10.0
    total_seconds: float = 60.0
    slowest_rate: float = 1e6
    first_pause: float = 0.1
    longest_pause: float = 5.0


@dataclass(frozen=True, slots=True)
class S3Place:
    """What is asked about: an object (or a prefix), what is done to it, and how patiently."""

    bucket: str
    key: str
    action: str
    limits: S3Limits

    @property
    def url(self) -> str:
        """The URL of the object."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def where(self) -> dict[str, str]:
        """The object in the words of the client."""
        return {"Bucket": self.bucket, "Key": self.key}


class S3Body(Protocol):
    """The bytes of an answer, on their way."""

    async def read(self) -> bytes:
        """Return all bytes."""
        ...

    def close(self) -> None:
        """Give up the connection."""
        ...


class S3Answer(TypedDict):
    """What S3 says of an object, or of a page of a listing."""

    ContentLength: int
    ContentRange: NotRequired[str]
    Body: S3Body
    Contents: NotRequired[list[dict[str, str]]]
    NextContinuationToken: NotRequired[str]


class S3Client(Protocol):
    """The questions that are asked."""

    async def get_object(self, **what: str) -> S3Answer:
        """Begin to send an object, or a range of it."""
        ...

    async def head_object(self, **what: str) -> S3Answer:
        """Describe an object."""
        ...

    async def put_object(self, **what: str | bytes) -> S3Answer:
        """Take an object."""
        ...

    async def list_objects_v2(self, **what: str) -> S3Answer:
        """List a page of keys."""
        ...

    async def delete_object(self, **what: str) -> S3Answer:
        """Remove an object."""
        ...


@dataclass(slots=True)
class S3Call:
    """One question and its clock."""

    place: S3Place
    size: int
    begun: float = field(default_factory=time.monotonic)
    attempts: int = 0
    endpoint: str = ""
    _limit: asyncio.Timeout | None = None

    @property
    def left(self) -> float:
        """Seconds until nobody waits any more."""
        limits = self.place.limits
        total = limits.total_seconds + self.size / limits.slowest_rate
        return total - (time.monotonic() - self.begun)

    def _attempt_seconds(self) -> float:
        limits = self.place.limits
        return min(limits.attempt_seconds + self.size / limits.slowest_rate, max(self.left, 0.0))

    def expect(self, size: int) -> None:
        """Allow the attempt under way the time that `size` bytes may take."""
        self.size = max(size, self.size)
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._attempt_seconds())

    async def attempt(self, ask: "Ask[R]", system: "s3fs.S3FileSystem") -> R:
        """Ask once."""
        self.attempts += 1
        async with asyncio.timeout(self._attempt_seconds()) as self._limit:
            await system.set_session()
            client = await system.get_s3(self.place.bucket)
            self.endpoint = client.meta.endpoint_url
            return await ask(client, self)

    def pause(self) -> float:
        """Return the seconds to wait before the next attempt; ranks must not come back as one."""
        limits = self.place.limits
        pause = min(limits.first_pause * 2.0 ** (self.attempts - 1), limits.longest_pause)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def refuse(self, error: ClientError) -> MlpfError:
        """Say what S3 refused."""
        place, code = self.place, code_of(error)
        if code == "NoSuchBucket":
            return MissingDataError(
                f"expected bucket {place.bucket!r} at {self.endpoint}, found none; "
                "check its name and the endpoint (AWS_ENDPOINT_URL), or create it"
            )
        if code in {"NoSuchKey", "NotFound", "404"}:
            return MissingDataError(f"expected {place.url!r} at {self.endpoint}, found none")
        return self.deny(f"{code}: {error.response.get('Error', {}).get('Message', '')}")

    def deny(self, reason: str) -> AccessError:
        """Say that there is no point in asking again."""
        return AccessError(
            f"expected {self._who} to let these credentials {self.place.action} "
            f"{self.place.url!r}, found {reason}; check AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY or AWS_PROFILE, and their rights on the bucket"
        )

    def correct(self, error: ParamValidationError | InvalidRegionError) -> ConfigError:
        """Say what of the question is wrong; it was not even asked."""
        region = isinstance(error, InvalidRegionError)
        what, where = ("a region", "AWS_DEFAULT_REGION") if region else ("a bucket", "the URL")
        return ConfigError(
            f"expected {what} that S3 allows to {self.place.action} {self.place.url!r}, found "
            f"{' '.join(str(error).split())}; correct it in {where}"
        )

    def give_up(self, error: Exception) -> StorageError:
        """Say that nobody answered."""
        seconds = time.monotonic() - self.begun
        return StorageError(
            f"expected {self._who} to answer ({self.place.action} {self.place.url!r}), found "
            f"{error or type(error).__name__} after {self.attempts} attempts in {seconds:.1f} s; "
            "check that the endpoint (AWS_ENDPOINT_URL) is right and up, then try again"
        )

    @property
    def _who(self) -> str:
        return self.endpoint or os.environ.get("AWS_ENDPOINT_URL") or "the default endpoint of S3"


Ask = Callable[[S3Client, S3Call], Awaitable[R]]


def call_s3(place: S3Place, size: int, ask: Ask[R]) -> R:
    """Ask until there is an answer; `size` is the number of bytes that it will move, if known.

    Raises:
        MissingDataError: no such object or bucket. AccessError: refused.
        StorageError: no answer in time. ConfigError: endpoint, bucket or region cannot be.
    """
    call = S3Call(place, size)
    system = _file_system()
    while True:
        try:
            answer: R = sync(system.loop, call.attempt, ask, system)
        except ClientError as error:
            if not _is_busy(error):
                raise call.refuse(error) from error
            reason: Exception = error
        except LOST as error:
            reason = error
        except (ParamValidationError, InvalidRegionError) as error:
            raise call.correct(error) from error
        except BotoCoreError as error:
            raise call.deny(str(error)) from error
        except ValueError as error:
            raise ConfigError(f"expected a URL in AWS_ENDPOINT_URL: {error}") from error
        else:
            return answer
        pause = call.pause()
        if call.attempts >= place.limits.attempts or pause >= call.left:
            raise call.give_up(reason) from reason
        time.sleep(pause)


def code_of(error: ClientError) -> str:
    """Return the error code of an answer."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_busy(error: ClientError) -> bool:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return status >= 500 or status == 429 or code_of(error) in BUSY


_SYSTEMS: dict[tuple[object, ...], s3fs.S3FileSystem] = {}
"""The clients by process and environment. Entries of a parent process stay: closing them in a
forked child would close the parent's connections."""


def _file_system() -> s3fs.S3FileSystem:
    """Return this process's client for the credentials and the endpoint of its environment."""
    own = sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    key = (os.getpid(), *own)
    found = _SYSTEMS.get(key)
    if found is None:
        config = {
            "connect_timeout": 3600,  # ours are shorter
            "read_timeout": 3600,
            "retries": {"total_max_attempts": 1},
            "max_pool_connections": 64,
        }
        made = s3fs.S3FileSystem(config_kwargs=config, skip_instance_cache=True)
        found = _SYSTEMS.setdefault(key, made)
    return found

"""A server of files: asked until it answers, refuses, or the patience is over.

The only module that speaks HTTP. Its answers are streams of bytes; which bytes are right is for
`transfer` to say.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mlpf_stream import __version__
from mlpf_stream.errors import (
    AccessError,
    ConfigError,
    DataError,
    MissingDataError,
    MissingExtraError,
    MlpfError,
    StorageError,
)

try:
    import requests
    import urllib3
except ImportError as error:
    raise MissingExtraError("requests", "download") from error

LOG = logging.getLogger(__name__)

CHUNK: Final = 1 << 20
"""At most so many bytes are taken from a connection at once."""
MAX_TEXT_BYTES: Final = 64 << 20
"""A listing is not larger than that."""
BUSY: Final = frozenset({408, 425, 429})
"""Statuses, beside 500 and above, of servers that may answer another time."""
AGENT: Final = f"mlpf-stream/{__version__}"
_SECONDS: Final = re.compile(r"\d{1,6}")


class BusyError(Exception):
    """The server asks to come back later."""

    def __init__(self, status: int, after: float) -> None:
        super().__init__(f"status {status}" + (f", come back in {after:.0f} s" if after else ""))
        self.after = after


class StoppedError(Exception):
    """The user wants to stop."""


LOST: Final = (requests.RequestException, urllib3.exceptions.HTTPError, BusyError)
"""What happens on the way; the next attempt may do better."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait.

    Attributes:
        seconds: without `seconds * slowest_rate` new bytes in so long, a server is given up [s].
        silence: without any byte in so long, a connection is given up and another begun [s].
        slowest_rate: [bytes/s].
        first_pause, longest_pause: between attempts; doubles from the one to the other [s].
    """

    seconds: float = 120.0
    silence: float = 30.0
    slowest_rate: float = 1e4
    first_pause: float = 0.5
    longest_pause: float = 30.0


@dataclass(slots=True)
class Clock:
    """How long one file has been waited for."""

    url: str
    patience: Patience
    stop: threading.Event
    _mark: float = field(default_factory=time.monotonic)
    _since: int = 0
    _attempts: int = 0

    def received(self, count: int) -> None:
        """Note new bytes.

        Raises:
            StorageError: too few of them in too long a time.
            StoppedError: the user wants to stop.
        """
        if self.stop.is_set():
            raise StoppedError
        self._since += count
        self._attempts = 0
        if self._since >= self.patience.seconds * self.patience.slowest_rate:
            self._mark, self._since = time.monotonic(), 0
        elif self._waited > self.patience.seconds:
            raise self._give_up(f"{self._since} bytes in {self._waited:.0f} s")

    def wait(self, reason: Exception) -> None:
        """Wait before the next attempt; many clients must not come back as one.

        Raises:
            StorageError: the patience is over.
            StoppedError: the user wants to stop.
        """
        self._attempts += 1
        patience = self.patience
        pause = min(patience.first_pause * 2.0 ** (self._attempts - 1), patience.longest_pause)
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if isinstance(reason, BusyError):
            pause = max(pause, reason.after)
        if self._waited + pause > patience.seconds:
            raise self._give_up(explain(reason)) from reason
        LOG.warning("%s: %s; again in %.1f s", self.url, explain(reason), pause)
        if self.stop.wait(pause):
            raise StoppedError

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._mark

    def _give_up(self, reason: str) -> StorageError:
        return StorageError(
            f"expected {self.url!r} to answer, found {reason} after {self._waited:.0f} s; "
            "check the network (and HTTPS_PROXY), give more --patience or another --mirror; "
            "run the same command again to go on from here"
        )


def explain(error: Exception) -> str:
    """Return what went wrong on the way in a few words."""
    text = " ".join(str(error).split())
    if isinstance(error, requests.ConnectionError) and error.args:
        cause = getattr(error.args[0], "reason", error.args[0])
        text = " ".join(str(cause).split())
    return text[:200] or type(error).__name__


class FileServer:
    """One connection to a server of files; for one thread."""

    def __init__(self, patience: Patience, stop: threading.Event) -> None:
        self.patience = patience
        self.stop = stop
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": AGENT, "Accept-Encoding": "identity"})

    @contextmanager
    def ask(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        """Ask once; the answer is closed behind the `with`.

        Raises:
            MissingDataError: nothing there. AccessError: refused. DataError: another refusal.
            ConfigError: a URL or a certificate that cannot be.
            Everything in `LOST`: ask again.
        """
        silence = self.patience.silence
        try:
            response = self._session.get(
                url, headers=dict(headers), stream=True, timeout=(silence, silence)
            )
        except requests.exceptions.SSLError as error:
            msg = (
                f"expected a trusted certificate at {url!r}, found {explain(error)}; "
                "set REQUESTS_CA_BUNDLE to the certificates of your network"
            )
            raise ConfigError(msg) from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise ConfigError(f"expected an http(s) URL, found {url!r}: {error}") from error
        with response:
            _check(response, url)
            yield response

    def text(self, url: str) -> tuple[bytes, str | None]:
        """Return a small answer whole, and the URL of its next page if it has one.

        Raises:
            As `ask`, and StorageError when the patience is over.
        """
        clock = Clock(url, self.patience, self.stop)
        while True:
            try:
                with self.ask(url, {}) as response:
                    parts = []
                    for data in receive(response):
                        clock.received(len(data))
                        parts.append(data)
                        if sum(map(len, parts)) > MAX_TEXT_BYTES:
                            raise DataError(f"expected a listing at {url!r}, found no end of it")
                    return b"".join(parts), response.links.get("next", {}).get("url")
            except LOST as error:
                clock.wait(error)


def receive(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes of an answer as they come, so that a slow server is seen to be slow."""
    while data := response.raw.read1(CHUNK, decode_content=False):
        yield data


def _check(response: requests.Response, url: str) -> None:
    """Refuse every answer that is not the file, a part of it, or "no such part".

    Raises:
        As `FileServer.ask`.
    """
    status = response.status_code
    if status in {200, 206, 416}:
        return
    if status >= 500 or status in BUSY:
        after = response.headers.get("Retry-After", "")
        raise BusyError(status, float(after) if _SECONDS.fullmatch(after) else 0.0)
    kinds: dict[int, type[MlpfError]] = {404: MissingDataError, 410: MissingDataError}
    kinds |= {401: AccessError, 403: AccessError}
    kind = kinds.get(status, DataError)
    msg = (
        f"expected a file at {url!r}, found status {status}; the archive may have moved it: "
        "see 'mlpf download NAME --list', or give another --mirror"
    )
    raise kind(msg)

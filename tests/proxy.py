"""Faults below our code: a TCP proxy that cuts, stalls or answers in the server's place."""

import select
import socket
import struct
import threading
from contextlib import suppress

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close by RST instead of FIN."""


class Proxy:
    """Passes connections on to `target`; the first ones meet the faults in `script`.

    A fault is ("reset" | "close" | "stall" | "trickle", bytes passed before it) or ("answer", raw
    response); each request uses up the first of `script`, and `met` counts them.
    """

    def __init__(self, target):
        self.host, self.port = target.removeprefix("http://").split(":")
        self.script = []
        self.met = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self):
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self):
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client):
        there = (self.host, int(self.port))
        with client, socket.create_connection(there) as server, suppress(OSError):
            self._pass(client, server)

    def _pass(self, client, server):
        """Pass one connection on until an end closes it or a fault ends it."""
        fault, passed = None, 0
        while not self._stop.is_set():
            ready, _, _ = select.select([client, server], [], [], 0.05)
            for end in ready:
                data = end.recv(1 << 16)
                if not data:
                    return
                if end is client:
                    if begins(data):
                        fault, passed = self._next(), 0
                    if fault and fault[0] == "answer":
                        self._reply(client, fault[1])
                        return
                    server.sendall(data)
                    continue
                room = max(fault[1] - passed, 0) if fault else len(data)
                client.sendall(data[:room])
                passed += len(data[:room])
                if room < len(data):
                    self._hurt(client, fault[0], data[room:])
                    return

    def _reply(self, client, answer):
        """Answer in the server's place; read what still comes, lest a reset overtake the answer."""
        client.sendall(answer)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(1.0)
        while client.recv(1 << 16):
            pass

    def _hurt(self, client, kind, rest):
        """Do what the fault says in the middle of a body."""
        if kind == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if kind in {"reset", "close"}:
            return
        for byte in rest:
            if self._stop.wait(0.05):
                return
            if kind == "trickle":
                client.sendall(bytes([byte]))

    def _next(self):
        with self._lock:
            if not self.script:
                return None
            self.met += 1
            return self.script.pop(0)


def begins(data):
    """Return whether a request begins here."""
    return data.split(b" ", 1)[0] in {b"GET", b"PUT", b"HEAD", b"DELETE", b"POST"}


def answer(status, code, message="said the test"):
    """Return a raw error answer of S3."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    head = f"HTTP/1.1 {status} Error\r\nContent-Type: application/xml\r\n"
    return (
        "answer",
        f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body,
    )

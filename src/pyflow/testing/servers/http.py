"""An HTTP server for tests, on 127.0.0.1 and on threads of its own, that answers as it is told to."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pyflow.net.headers import Headers
from pyflow.testing.servers._listening import PATIENCE_S, Listening
from pyflow.testing.servers.certificate import server_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Drip",
    "Endless",
    "HTTPServer",
    "Hang",
    "Raw",
    "Received",
    "Reply",
    "Reset",
    "Step",
    "play",
    "read_request",
]

HEAD_BYTES_MAX = 65_536
BODY_BYTES_MAX = 16 * 1_048_576
DRIP_S = 0.02
ENDLESS = b"x" * 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """A well-formed answer."""

    status: int = 200
    """Its status."""

    body: str | bytes | dict[str, Any] | list[Any] = b""
    """Its body; a dict or a list becomes JSON."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """Its headers, besides the length."""

    def encoded(self) -> bytes:
        """Return the answer as it is sent."""
        headers = {"Connection": "close", **self.headers}
        body = self.body
        if isinstance(body, (dict, list)):
            headers.setdefault("Content-Type", "application/json")
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        headers.setdefault("Content-Length", str(len(data)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Scripted\r\n{lines}\r\n".encode("latin-1") + data


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are sent as they are, and then the end of the connection."""

    data: bytes
    """What is sent."""


@dataclass(frozen=True, slots=True)
class Drip:
    """Bytes that are sent one at a time, over and over, until the client has gone."""

    data: bytes
    """What is sent."""

    head: bytes = b""
    """What is sent before, at once."""


@dataclass(frozen=True, slots=True)
class Endless:
    """A great many bytes, sent as fast as they are taken, until the client has gone."""

    size: int = 10 * 1024**3
    """How many."""

    head: bytes | None = None
    """What is sent before them; headers that say how many there are unless given."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection ends with a reset, before any answer."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing is sent, until the client has gone."""


Step: TypeAlias = Reply | Raw | Drip | Endless | Reset | Hang
"""What a server does with one request."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came in."""

    method: str
    """Such as ``POST``."""

    path: str
    """Path and query."""

    headers: Mapping[str, str] = field(hash=False)
    """Its headers, whatever the case of their names."""

    body: bytes
    """Its body."""

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class HTTPServer(Listening):
    """Takes requests and answers them; a context manager.

    Args:
        tls: Whether it speaks TLS, with a certificate that `ssl_context` trusts.
    """

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__()
        self.received: list[Received] = []
        """Every request, in the order in which they came in, refused ones included."""
        self._steps: deque[Step] = deque()
        self._always: Step | None = None
        self._tls = server_tls() if tls else None

    def will(self, *steps: Step) -> Self:
        """Do *steps* with the next requests, one each, and return the server itself."""
        self._steps.extend(steps)
        return self

    def always(self, step: Step | None) -> Self:
        """Do *step* with every request that no `will` is left for, and return the server itself."""
        self._always = step
        return self

    def answer(self, request: Received) -> Step:
        """Return what the service does with *request*. Services override this."""
        del request
        return Reply(200)

    @property
    def base_url(self) -> str:
        """The URL of the server, without a path."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def wait(self, count: int, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until *count* requests have come in.

        Raises:
            TimeoutError: They have not.
        """
        with self._guard:
            if not self._guard.wait_for(lambda: len(self.received) >= count, timeout_s):
                raise TimeoutError(f"{len(self.received)} of {count} requests in {timeout_s:g} s")

    def _serve(self, plain: socket.socket, /) -> None:
        sock = plain
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(plain, server_side=True)
                with self._guard:
                    self._open.discard(plain)
                    self._open.add(sock)
            request = read_request(sock)
            if request is not None:
                with self._guard:
                    self.received.append(request)
                    step = self._steps.popleft() if self._steps else self._always
                    step = step or self.answer(request)
                    self._guard.notify_all()
                play(step, sock)
        except OSError:
            pass  # the client has gone
        finally:
            self._close(plain, sock)


def read_request(sock: socket.socket) -> Received | None:
    """Return the request that comes in on *sock*, or None where none comes whole."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        part = sock.recv(65_536)
        if not part or len(data) > HEAD_BYTES_MAX:
            return None
        data += part
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    opening, *lines = head.decode("latin-1").split("\r\n")
    pairs = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines)]
    headers = Headers(pairs)
    size = min(int(headers.get("content-length", "0")), BODY_BYTES_MAX)
    while len(body) < size:
        part = sock.recv(65_536)
        if not part:
            return None
        body += part
    method, path, _ = opening.split(" ", 2)
    return Received(method, path, headers, body)


def play(step: Step, sock: socket.socket) -> None:
    """Do *step* with the client at the other end of *sock*."""
    if isinstance(step, (Reply, Raw)):
        sock.sendall(step.encoded() if isinstance(step, Reply) else step.data)
        sock.shutdown(socket.SHUT_WR)
    elif isinstance(step, Reset):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif isinstance(step, Endless):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {step.size}\r\n\r\n".encode()
        sock.sendall(head if step.head is None else step.head)
        sent = 0
        while sent < step.size:
            sock.sendall(ENDLESS)
            sent += len(ENDLESS)
    elif isinstance(step, Drip):
        _drip(step, sock)
    else:
        sock.recv(1)


def _drip(step: Drip, sock: socket.socket) -> None:
    sock.sendall(step.head)
    sock.settimeout(DRIP_S)
    position = 0
    while True:
        sock.sendall(step.data[position % len(step.data) :][:1])
        position += 1
        with contextlib.suppress(TimeoutError):
            if not sock.recv(1):  # which waits between two bytes, and sees the client go
                return

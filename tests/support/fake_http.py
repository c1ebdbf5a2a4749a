"""An HTTP server on 127.0.0.1 that says exactly what a test scripts, byte by byte.

Each connection plays the next script; the last one is played again. A script
is a list of steps: bytes are sent, `RESET` ends the connection with an RST,
`NEVER` waits until the client has gone, and a `Drip` sends its bytes one at a
time, over and over, until the client has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pyflow.testing.servers.certificate import client_tls, server_tls

__all__ = [
    "NEVER",
    "RESET",
    "Drip",
    "FakeHTTP",
    "Script",
    "Step",
    "client_tls",
    "closed_port",
    "raw",
    "reply",
    "server_tls",
    "serving",
]


@dataclass(frozen=True, slots=True)
class Drip:
    """Bytes that are sent one at a time, for ever."""

    text: bytes


RESET: Final = "reset"
NEVER: Final = "never"
TURNS_PER_BYTE = 100
TURNS_TO_BEGIN = 3
"""The loop sees a connection, takes it, and gives it its transport, which a closed server
refuses to: CPython would leak it."""

Step: TypeAlias = bytes | Drip | str
Script: TypeAlias = Sequence[Step]


@dataclass
class FakeHTTP:
    """A running server: where it is, and what it was asked."""

    port: int
    scheme: str
    requests: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/") -> str:
        """Return the URL of *path* on this server."""
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"


def reply(
    body: bytes | str = b"", *, status: str = "200 OK", headers: Sequence[str] = ()
) -> list[Step]:
    """Return the script of a well-formed answer."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(content)}", "", ""]
    return ["\r\n".join(lines).encode() + content]


def raw(*lines: str) -> list[Step]:
    """Return a script of *lines*, each ended by CRLF, and then the end of the connection."""
    return ["".join(f"{line}\r\n" for line in lines).encode("latin-1")]


@contextlib.asynccontextmanager
async def serving(
    *scripts: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncGenerator[FakeHTTP]:
    """Serve *scripts*, one for each connection, the last one again and again."""
    turns = itertools.chain(scripts, itertools.repeat(scripts[-1]))
    loop = asyncio.get_running_loop()
    open_now: set[asyncio.Task[None]] = set()

    def accept() -> asyncio.StreamReaderProtocol:
        opening = asyncio.current_task()  # which the loop made, and waits in for the handshake
        assert opening is not None
        note(opening)
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), begin)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        playing = loop.create_task(play(reader, writer))
        note(playing)
        playing.add_done_callback(lambda _: writer.close())

    def note(task: asyncio.Task[None]) -> None:
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError):
                fake.requests.append(await _request(reader))
                fake.asked.set()
                for step in next(turns):
                    await _play(step, reader, writer)
        except asyncio.CancelledError:
            pass  # The test is over.
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    server = await loop.create_server(accept, host, 0, ssl=tls)
    fake = FakeHTTP(server.sockets[0].getsockname()[1], "https" if tls else "http")
    try:
        yield fake
    finally:
        for _ in range(TURNS_TO_BEGIN):
            await asyncio.sleep(0)
        server.close()
        while open_now:
            for task in list(open_now):
                task.cancel()
            await asyncio.gather(*open_now, return_exceptions=True)
        await server.wait_closed()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-L")),
        0,
    )
    return head + await reader.readexactly(length)


async def _play(step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if isinstance(step, bytes):
        writer.write(step)
        await writer.drain()
    elif isinstance(step, Drip):
        await _drip(step.text, reader, writer)
    elif step == NEVER:
        await reader.read()
    else:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def _drip(text: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for position in itertools.count():
        if reader.at_eof() or writer.is_closing():
            return
        writer.write(text[position % len(text) :][:1])
        await writer.drain()
        for _ in range(TURNS_PER_BYTE):
            await asyncio.sleep(0)


def closed_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

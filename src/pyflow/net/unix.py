"""The same HTTP over a socket in the file system, for what serves its API there."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from pyflow.net.answer import LINE_BYTES_MAX, Answer, Progress
from pyflow.net.url import parse_url
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from pyflow.net.response import Response

__all__ = ["request_over"]

HOST = "localhost"


async def request_over(
    socket: str | os.PathLike[str],
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    timeout: Span = "10s",
    max_bytes: int = 1_048_576,
) -> Response:
    """Send one request over *socket* and return the whole answer, whatever its status.

    A body is sent as JSON. Otherwise as `pyflow.net.http.request`.

    Raises:
        HTTPError: There is no usable answer; its `phase` says how far the
            request came.
    """
    progress = Progress(parse_url(f"http://{HOST}{path}"))
    timeout_s = seconds(timeout, what="request_over(timeout=)")
    lines = [
        f"{method} {progress.target.path} HTTP/1.1",
        f"Host: {HOST}",
        "User-Agent: pyflow",
        "Connection: close",
    ]
    if body is not None or method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body or b'')}"]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    with progress.told(timeout_s):
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connected(socket)
            try:
                progress.phase = "send"
                writer.write(head + (body or b""))
                await writer.drain()
                return await Answer(reader, progress).read(method, max_bytes)
            finally:
                writer.transport.abort()


async def _connected(
    socket: str | os.PathLike[str],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        return await asyncio.open_unix_connection(socket, limit=LINE_BYTES_MAX)
    except OSError as error:
        error.strerror = f"{os.fspath(socket)}: {error.strerror or error}"
        raise

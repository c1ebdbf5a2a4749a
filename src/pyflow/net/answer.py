"""Read one answer off a connection, as RFC 9112, sections 6 and 7, frames it.

Whoever is at the other end may be slow, broken or hostile. Every part has a
limit, and where a body ends is never guessed: an answer that says it in two
ways is refused.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Protocol

from pyflow.errors import HTTPError, Phase, shown
from pyflow.net.connect import words_of
from pyflow.net.headers import Headers, is_header
from pyflow.net.response import Response
from pyflow.redactor import hidden

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pyflow.net.url import Target

__all__ = ["LINE_BYTES_MAX", "Answer", "Head", "Progress"]

LINE_BYTES_MAX = 16_384
HEAD_BYTES_MAX = 65_536
HEAD_LINES_MAX = 512
"""How many lines of headers and trailers are read: a line takes longer than its bytes."""
INTERIM_MAX = 16
QUOTED_CHARS_MAX = 60

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: (.*))?")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
LENGTH = re.compile(r"[0-9]{1,18}")


class Progress:
    """How far a request came, and where to: what its error says if it ends there."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.phase: Phase = "connect"
        self.secrets: Iterable[object] = ()
        """What is masked in whatever the other end says."""

    def failure(self, reason: str, *, final: bool = False) -> HTTPError:
        """Return the error of a request that ends here."""
        return HTTPError(str(self.target), self.phase, reason, final=final)

    @contextmanager
    def told(self, timeout_s: float) -> Generator[None]:
        """Have whatever ends the request within come out as its error; *timeout_s* is for the words."""
        try:
            yield
        except TimeoutError as error:
            reason = f"timed out; all of it may take {timeout_s:g} s"
            raise self.failure(reason) from error
        except asyncio.IncompleteReadError as error:
            raise self.failure("the connection was closed too early") from error
        except asyncio.LimitOverrunError as error:
            raise self.failure(f"a line is longer than {LINE_BYTES_MAX} bytes") from error
        except OSError as error:
            final = isinstance(error, PermissionError)
            raise self.failure(words_of(error), final=final) from error

    def quoted(self, said: str) -> str:
        """Return the beginning of what the other end said, which may be what it was sent."""
        return shown(hidden(said, self.secrets)[:QUOTED_CHARS_MAX])


class Lines(Protocol):
    """**Protocol:** what lines are read from, such as an `asyncio.StreamReader`."""

    async def readuntil(self, separator: bytes = ..., /) -> bytes:
        """Return what comes up to and with *separator*."""
        ...


class Head:
    """The head of one answer on its way in.

    *reader* must hold lines of up to `LINE_BYTES_MAX`. What it raises, such as
    `asyncio.IncompleteReadError`, passes through.
    """

    def __init__(self, reader: Lines, progress: Progress) -> None:
        self.progress = progress
        self._lines = reader
        self._bytes = 0
        self._count = 0

    async def read_head(self) -> tuple[int, str, Headers]:
        """Return status, reason and headers, after any interim answers.

        Raises:
            HTTPError: It is not HTTP, or larger than it may be.
        """
        status, reason = await self._status_line()
        headers = await self._header_lines()
        for _ in range(INTERIM_MAX):
            if status >= 200:
                break
            if status == 101:
                self._refuse("a switch of protocols, which nobody asked for")
            status, reason = await self._status_line()
            headers = await self._header_lines()
        else:
            self._refuse(f"more than {INTERIM_MAX} interim answers")
        return status, reason, headers

    async def _status_line(self) -> tuple[int, str]:
        line = await self._head_line()
        found = STATUS_LINE.fullmatch(line)
        if found is None:
            said = self.progress.quoted(line.decode("latin-1"))
            self._refuse(f"{said} is not the beginning of an HTTP/1 answer")
        return int(found[1]), (found[2] or b"").decode("latin-1").strip()

    async def _header_lines(self) -> Headers:
        pairs: list[tuple[str, str]] = []
        while line := await self._head_line():
            name, colon, value = line.decode("latin-1").partition(":")
            value = value.strip(" \t")
            if not colon or not is_header(name, value):
                said = self.progress.quoted(name)
                self._refuse(f"{said} is not the name of a well-formed header")
            pairs.append((name, value))
        return Headers(pairs)

    async def _head_line(self) -> bytes:
        line = await self._line()
        self._bytes += len(line) + 2
        if self._bytes > HEAD_BYTES_MAX:
            self._refuse(f"the headers are larger than {HEAD_BYTES_MAX} bytes")
        self._count += 1
        if self._count > HEAD_LINES_MAX:
            self._refuse(f"the headers have more than {HEAD_LINES_MAX} lines")
        return line

    async def _line(self) -> bytes:
        return (await self._lines.readuntil(b"\n"))[:-1].removesuffix(b"\r")

    def _refuse(self, reason: str) -> NoReturn:
        raise self.progress.failure(reason)


class Answer(Head):
    """One answer on its way in; *progress* learns how far it came."""

    def __init__(self, reader: asyncio.StreamReader, progress: Progress) -> None:
        super().__init__(reader, progress)
        self.reader = reader

    async def read(self, method: str, max_bytes: int) -> Response:
        """Return the whole answer to a request by *method*.

        Raises:
            HTTPError: It is not HTTP, or larger than it may be.
        """
        self.progress.phase = "headers"
        status, reason, headers = await self.read_head()
        body = b""
        if method != "HEAD" and status not in {204, 304}:
            body = await self._read_body(headers, max_bytes)
        target = self.progress.target
        url = str(target) if target.is_secret else target.origin + target.path
        return Response(status, reason, headers, body, url)

    async def _read_body(self, headers: Headers, limit: int) -> bytes:
        length, coding = headers.get("content-length"), headers.get("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or length is not None):
            said = self.progress.quoted(coding)
            self._refuse(f"cannot tell where a body with transfer encoding {said} ends")
        size = None if length is None else self._content_length(length)
        self.progress.phase = "body"
        if coding is not None:
            return await self._chunks(limit)
        if size is None:
            return await self._until_closed(limit)
        self._check_size(size, limit)
        return await self.reader.readexactly(size)

    def _content_length(self, text: str) -> int:
        values = {part.strip() for part in text.split(",")}
        value = values.pop()
        if values or not LENGTH.fullmatch(value):
            self._refuse(f"{self.progress.quoted(text)} is not the length of a body")
        return int(value)

    async def _chunks(self, limit: int) -> bytes:
        body = bytearray()
        while size := self._chunk_size(await self._line()):
            self._check_size(len(body) + size, limit)
            body += await self.reader.readexactly(size)
            if await self.reader.readexactly(2) != b"\r\n":
                self._refuse("a chunk does not end where its size says")
        while await self._head_line():
            pass
        return bytes(body)

    def _chunk_size(self, line: bytes) -> int:
        found = CHUNK_LINE.fullmatch(line)
        if found is None:
            said = self.progress.quoted(line.decode("latin-1"))
            self._refuse(f"{said} is not the size of a chunk")
        return int(found[1], 16)

    async def _until_closed(self, limit: int) -> bytes:
        body = bytearray()
        while part := await self.reader.read(LINE_BYTES_MAX):
            body += part
            self._check_size(len(body), limit)
        return bytes(body)

    def _check_size(self, size: int, limit: int) -> None:
        if size > limit:
            self._refuse(f"the body is larger than max_bytes={limit}")

"""Ask HAProxy's own counters: error rates per version with no metrics server at all."""

from __future__ import annotations

import asyncio
import csv
from dataclasses import KW_ONLY, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pyflow.clock import SystemClock
from pyflow.errors import DefinitionError, MetricError, PyflowError
from pyflow.metrics._series import History, as_number, check_question, url_problems
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.net.url import host_problem
from pyflow.probes._checks import one_line, refuse, span_problems, text_problems
from pyflow.redactor import hidden
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from pyflow.net.proxy import Proxy
    from pyflow.protocols import Clock, Samples
    from pyflow.secrets import Secret

__all__ = ["HAProxyStats"]

BYTES_MAX = 16 * 2**20
CODES = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
UNANSWERED = ("econ", "eresp")
FIGURES = {"requests": (*CODES, *UNANSWERED), "errors": ("hrsp_5xx", *UNANSWERED)}
"""A server that takes no connection, or breaks one off, has no answer that its
``hrsp_5xx`` would count: HAProxy answers in its place, and counts ``econ`` or ``eresp``."""
NOT_ADDED = ("qtime", "ctime", "rtime", "ttime", "weight", "status", "check_status")
HEAD = "# pxname,svname,"


@dataclass(frozen=True, slots=True, repr=False)
class HAProxyStats:
    """Answers from the counters that HAProxy keeps of each server.

    A query is a figure and the name of a server, such as ``errors shop-2.0``.
    The name may be a pattern: ``errors shop-2.0-*`` adds its servers up. The
    figures are running totals: ``requests`` (every request that was sent to
    it), ``errors`` (those that it answered with 5xx, or not at all because it
    took no connection or broke it off), or any column of ``show stat``, such
    as ``hrsp_4xx`` or ``scur``.

    HAProxy knows the present alone, so this source remembers what it has
    read: a window holds the readings that were made in it. A server that is
    not there has no samples, and a note names those that are.
    """

    address: str
    """The stats socket: a path, ``host:port``, or the URL of a stats page."""

    _: KW_ONLY

    backend: str
    """The backend whose servers are meant."""

    timeout: Span = "5s"
    """Span for one question."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through to a stats page; by default none, whatever the
    environment says."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the instant of a reading."""

    _history: list[History] = field(
        default_factory=list[History], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        problems = [
            *_address_problems(self.address),
            *text_problems("backend", self.backend or ""),
            *span_problems("timeout", self.timeout),
            *proxy_problems(self.proxy),
        ]
        if self.proxy is not None and "://" not in str(self.address):
            problems.append("proxy= goes with the URL of a stats page; a socket is reached without")
        refuse("HAProxyStats", problems)
        object.__setattr__(self, "proxy", as_proxy(self.proxy))
        self._history.append(History(self.clock))

    def __repr__(self) -> str:
        return f"HAProxyStats({self.address!r}, backend={self.backend!r})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Read the counters now, unless *at* is over, and return what the *window* holds.

        Raises:
            DefinitionError: That is no question.
            MetricError: HAProxy does not answer, or has no such figure.
        """
        check_question(query, window, at)
        figure, servers = self._parsed(query)
        history, notes = self._history[0], list[str]()
        if not history.is_past(at):
            rows = self._rows(query, await self._read(query))
            found = [row for row in rows if fnmatchcase(row["svname"], servers)]
            if found:
                history.add(query, self._figure(query, figure, found))
            else:
                names = ", ".join(row["svname"] for row in rows) or "none"
                notes.append(one_line(f"no server is {servers!r}; there are: {names}"))
        return history.answer(query, window, at, notes)

    def _parsed(self, query: str) -> tuple[str, str]:
        words = query.split()
        if len(words) != 2:
            raise DefinitionError(
                "query", [f"{query!r} is not a figure and a server, as in 'errors shop-2.0'"]
            )
        return words[0], words[1]

    def _rows(self, query: str, text: str) -> list[dict[str, str]]:
        """Return the rows of the backend's servers."""
        text = text.lstrip()
        if not text.startswith(HEAD):
            raise MetricError(
                repr(self), query, f"expected `show stat`, got {one_line(text) or 'nothing'!r}"
            )
        rows = list(csv.DictReader(text.removeprefix("# ").splitlines()))
        mine = [row for row in rows if row["pxname"] == self.backend]
        if not mine:
            known = ", ".join(dict.fromkeys(row["pxname"] for row in rows))
            raise MetricError(
                repr(self),
                query,
                one_line(f"there is no backend {self.backend!r}; it has: {known}"),
            )
        return [row for row in mine if row["svname"] not in ("FRONTEND", "BACKEND")]

    def _figure(self, query: str, figure: str, rows: list[dict[str, str]]) -> float:
        if len(rows) > 1 and figure in NOT_ADDED:
            raise MetricError(repr(self), query, f"{figure} of several servers cannot be added up")
        columns = FIGURES.get(figure, (figure,))
        try:
            return sum(as_number(row[column] or "0") for row in rows for column in columns)
        except KeyError as error:
            raise MetricError(
                repr(self), query, f"there is no column {error} in its stats"
            ) from None
        except (TypeError, ValueError) as error:
            raise MetricError(repr(self), query, f"{figure} is no number: {error}") from None

    async def _read(self, query: str) -> str:
        try:
            async with asyncio.timeout(seconds(self.timeout)):
                if "://" in self.address:
                    return await self._page(query)
                return await _spoken(self.address)
        except TimeoutError as error:
            reason = f"no answer within {seconds(self.timeout):g} s"
            raise MetricError(repr(self), query, reason) from error
        except OSError as error:
            raise MetricError(repr(self), query, error.strerror or str(error)) from error
        except ValueError as error:
            raise MetricError(repr(self), query, str(error)) from error

    async def _page(self, query: str) -> str:
        url = self.address.removesuffix(";csv") + ";csv"
        try:
            answer = await request(
                "GET", url, timeout=self.timeout, max_bytes=BYTES_MAX, proxy=self.proxy
            )
            text = hidden(answer.text, (as_proxy(self.proxy),))
        except PyflowError as error:
            raise MetricError(repr(self), query, str(error)) from error
        if answer.status != 200:
            raise MetricError(repr(self), query, f"it answered {answer.status} {one_line(text)}")
        return text


async def _spoken(address: str) -> str:
    """Return the answer to ``show stat`` on a socket.

    Raises:
        OSError: Nobody listens there.
        ValueError: The answer is too large.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in address:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    else:
        reader, writer = await asyncio.open_unix_connection(address)
    try:
        writer.write(b"show stat\n")
        await writer.drain()
        answer = bytearray()
        while part := await reader.read(65_536):
            answer += part
            if len(answer) > BYTES_MAX:
                raise ValueError(f"its answer is larger than {BYTES_MAX} bytes")
        return answer.decode("utf-8", "backslashreplace")
    finally:
        writer.transport.abort()


def _address_problems(address: object) -> list[str]:
    if not isinstance(address, str) or not address or "\0" in address:
        return ["address must be the path of a socket, host:port, or the URL of a stats page"]
    if "://" in address:
        return url_problems(address)
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in address:
        problem = host_problem(host.strip("[]"))
        return [problem] if problem else []
    return []

"""Ask anything that answers JSON over HTTP."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyflow.clock import SystemClock
from pyflow.errors import MetricError, PyflowError
from pyflow.metrics._series import (
    History,
    as_instant,
    as_number,
    check_question,
    collected,
    found_at,
    web_problems,
)
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.net.url import parse_url
from pyflow.probes._checks import one_line, refuse, span_problems, text_problems
from pyflow.redactor import hidden

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Proxy
    from pyflow.protocols import Clock, Samples
    from pyflow.secrets import Secret
    from pyflow.spans import Span

__all__ = ["Web"]

PLACES = frozenset({"query", "start", "end"})
SAMPLE = {"query": "q", "start": "0", "end": "1"}


@dataclass(frozen=True, slots=True, repr=False)
class Web:
    """Answers with what a JSON document says at a path.

    A path is made of keys and positions, such as ``data.0.p99``. With *at*,
    the document tells the past: each of *points* has an instant and a value.
    Without, it holds one figure of the present; the source then remembers
    what it has read, and a window holds the readings that were made in it.
    A value that is missing or null is no data.
    """

    url: str
    """Where the document is. ``$query`` in it stands for the query, ``$start``
    and ``$end`` for the window, in seconds since 1970."""

    _: KW_ONLY

    value: str
    """Path of the value, from a point, or from the whole document."""

    points: str | None = None
    """Path of the list of points, where the document tells the past."""

    at: str | None = None
    """Path of the instant of a point: seconds since 1970, or ISO 8601 text."""

    timeout: Span = "10s"
    """Span for one question."""

    headers: Mapping[str, HeaderValue] | None = field(default=None, hash=False)
    """Sent along; a value may be a `Secret`."""

    ssl_context: ssl.SSLContext | None = None
    """How to speak TLS, for a private CA; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the present."""

    _history: list[History] = field(
        default_factory=list[History], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        problems = [
            *_template_problems(self.url, self.headers),
            *text_problems("value", self.value or ""),
            *text_problems("points", self.points),
            *text_problems("at", self.at),
            *span_problems("timeout", self.timeout),
            *proxy_problems(self.proxy),
        ]
        if (self.points is None) != (self.at is None):
            problems.append("points= and at= go together: a list, and the instant of each of it")
        refuse("Web", problems)
        object.__setattr__(self, "proxy", as_proxy(self.proxy))
        if self.headers is not None:
            object.__setattr__(self, "headers", dict(self.headers))
        self._history.append(History(self.clock))

    def __repr__(self) -> str:
        place = parse_url(Template(self.url).substitute(SAMPLE))
        return f"Web({str(place)!r}, value={self.value!r})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Return the samples that the document has in the *window* that ends at *at* (now).

        Raises:
            DefinitionError: That is no question.
            MetricError: There is no such document, or no number where one is
                expected.
        """
        check_question(query, window, at)
        end = at or self.clock.now()
        if self.at is None:
            return await self._present(query, window, at)
        body = await self._asked(query, window, end)
        try:
            found = [
                (as_instant(found_at(point, self.at)), _value_of(point, self.value))
                for point in found_at(body, self.points or "")
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise self._senseless(query, error) from error
        points = [(when, value) for when, value in found if value is not None]
        return collected(points, window=window, at=end)

    async def _present(self, query: str, window: timedelta, at: datetime | None) -> Samples:
        history = self._history[0]
        if history.is_past(at):
            return history.answer(query, window, at)
        body = await self._asked(query, window, at or self.clock.now())
        try:
            value = _value_of(body, self.value)
        except ValueError as error:
            raise self._senseless(query, error) from error
        if value is None:
            return history.answer(query, window, at, ["the answer has no value"])
        history.add(query, value)
        return history.answer(query, window, at)

    async def _asked(self, query: str, window: timedelta, end: datetime) -> Any:
        places = {
            "query": quote(query, safe=""),
            "start": f"{(end - window).timestamp():.0f}",
            "end": f"{end.timestamp():.0f}",
        }
        try:
            answer = await request(
                "GET",
                Template(self.url).substitute(places),
                headers=self.headers,
                timeout=self.timeout,
                ssl_context=self.ssl_context,
                proxy=self.proxy,
            )
            if answer.status == 200:
                return answer.json()
            sent = (*(self.headers or {}).values(), as_proxy(self.proxy))
            said = one_line(hidden(answer.text, sent))
            reason = f"it answered {answer.status} {said}".rstrip()
        except PyflowError as error:
            raise MetricError(repr(self), query, str(error)) from error
        raise MetricError(repr(self), query, reason)

    def _senseless(self, query: str, error: Exception) -> MetricError:
        return MetricError(repr(self), query, one_line(f"its answer makes no sense: {error}"))


def _value_of(point: Any, path: str) -> float | None:
    """Return the number at *path* of *point*, or None where there is none.

    Raises:
        ValueError: Something else is there.
    """
    try:
        found = found_at(point, path)
    except LookupError:
        return None
    return None if found is None else as_number(found)


def _template_problems(url: object, headers: object) -> list[str]:
    if not isinstance(url, str):
        return web_problems(url, headers)
    template = Template(url)
    unknown = sorted(set(template.get_identifiers()) - PLACES)
    if not template.is_valid() or unknown:
        return [
            f"url= may hold $query, $start and $end, and no other $ (write $$ for one): {url!r}"
        ]
    return web_problems(template.substitute(SAMPLE), headers)

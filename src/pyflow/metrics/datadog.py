"""Ask Datadog."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from pyflow.clock import SystemClock
from pyflow.errors import MetricError, PyflowError
from pyflow.metrics._series import (
    EPOCH,
    as_number,
    check_question,
    collected,
    instant_of,
    refuse_many,
    web_problems,
)
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.probes._checks import one_line, refuse, span_problems
from pyflow.redactor import hidden

if TYPE_CHECKING:
    from datetime import datetime

    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.protocols import Clock, Samples
    from pyflow.secrets import Secret
    from pyflow.spans import Span

__all__ = ["Datadog"]

SECOND = timedelta(seconds=1)
INTERVAL_S = 60
"""The interval that most queries are answered with, in seconds."""
BODY_BYTES_MAX = 16 * 2**20


@dataclass(frozen=True, slots=True, repr=False)
class Datadog:
    """Answers queries in Datadog's own language, such as ``avg:http.latency{version:2.0}``.

    Datadog gives each point the instant at which its interval begins; here a
    sample speaks for the instant at which the interval ends, and an interval
    that is not over yet has no sample. The interval grows with the window
    unless the query says ``.rollup(sum, 60)``: say it, so that equal instants
    have equal values. Points without a value are left out, because they are
    no data.
    """

    api_key: HeaderValue
    """The key of the organisation; a `Secret`."""

    application_key: HeaderValue
    """The key that may read metrics; a `Secret`."""

    _: KW_ONLY

    site: str = "datadoghq.com"
    """Where the organisation is, such as ``datadoghq.eu``."""

    url: str | None = None
    """The whole address of the API, where it is not ``https://api.<site>``."""

    timeout: Span = "10s"
    """Span for one question."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the end of a window that nobody names."""

    def __post_init__(self) -> None:
        problems = [
            *web_problems(self._base, self._headers),
            *span_problems("timeout", self.timeout),
            *proxy_problems(self.proxy),
        ]
        problems += [
            f"{name}= is empty; give a Secret"
            for name in ("api_key", "application_key")
            if not getattr(self, name)
        ]
        refuse("Datadog", problems)
        object.__setattr__(self, "proxy", as_proxy(self.proxy))

    @property
    def _base(self) -> str:
        return (self.url or f"https://api.{self.site}").rstrip("/")

    @property
    def _headers(self) -> dict[str, HeaderValue]:
        return {"DD-API-KEY": self.api_key, "DD-APPLICATION-KEY": self.application_key}

    def __repr__(self) -> str:
        return f"Datadog({self._base!r})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Return the samples of *query* in the *window* that ends at *at* (now).

        Raises:
            DefinitionError: That is no question.
            MetricError: Datadog does not answer, refuses the query, or answers
                with several series.
        """
        check_question(query, window, at)
        at = at or self.clock.now()
        # The interval that ends first in the window began before it.
        start_s, end_s = (at - window - EPOCH) // SECOND, (at - EPOCH) // SECOND
        span = {"from": start_s - INTERVAL_S, "to": end_s + 1}
        body = await self._asked(query, urlencode({**span, "query": query}))
        try:
            series = body["series"]
            names = [one_line(str(one.get("scope", "?"))) for one in series]
            refuse_many(self, query, names, "have it come to one; leave `by {…}` out")
            points = [
                (instant_of(when / 1000 + one["interval"]), as_number(value))
                for one in series
                for when, value in one["pointlist"]
                if value is not None
            ]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise MetricError(repr(self), query, f"its answer makes no sense: {error}") from error
        notes = [one_line(str(body["message"]))] if body.get("message") else []
        return collected(points, window=window, at=at, notes=notes)

    async def _asked(self, query: str, question: str) -> dict[str, Any]:
        try:
            response = await request(
                "GET",
                f"{self._base}/api/v1/query?{question}",
                headers=self._headers,
                timeout=self.timeout,
                max_bytes=BODY_BYTES_MAX,
                proxy=self.proxy,
            )
            return self._understood(query, response)
        except MetricError:
            raise
        except PyflowError as error:
            raise MetricError(repr(self), query, str(error)) from error

    def _understood(self, query: str, response: Response) -> dict[str, Any]:
        """Return an answer that is one: Datadog says 200 to a query that failed, too."""
        try:
            found = json.loads(response.text)
        except (ValueError, RecursionError):
            found = None
        body = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
        if response.status == 200 and body.get("status") == "ok" and not body.get("error"):
            return body
        errors: Any = body.get("errors") or ([body["error"]] if body.get("error") else None)
        said = response.text if errors is None else "; ".join(map(str, errors))
        sent = (*self._headers.values(), as_proxy(self.proxy))
        reason = f"it answered {response.status}: {one_line(hidden(said, sent))}"
        if response.status == 429:
            reset = response.headers.get("x-ratelimit-reset", "?")
            reason += f"; the limit is lifted in {one_line(reset)} s"
        raise MetricError(repr(self), query, reason)

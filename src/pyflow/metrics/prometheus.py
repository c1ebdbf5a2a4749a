"""Ask Prometheus, or whatever speaks its HTTP API: Thanos, Mimir, VictoriaMetrics."""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlencode

from pyflow.clock import SystemClock
from pyflow.errors import MetricError, PyflowError, shown
from pyflow.metrics._series import (
    EPOCH,
    as_number,
    check_question,
    collected,
    found_at,
    instant_of,
    refuse_many,
    web_problems,
)
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.net.url import parse_url
from pyflow.probes._checks import one_line, refuse, span_problems, text_problems, unknown
from pyflow.protocols import Clock, Reading
from pyflow.redactor import hidden
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from datetime import datetime

    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.protocols import Samples
    from pyflow.secrets import Secret

__all__ = ["Prometheus"]

POINTS_MAX = 11_000
"""What Prometheus gives at most for one series."""
BODY_BYTES_MAX = 16 * 2**20
FORM = "application/x-www-form-urlencoded"
MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, repr=False)
class Prometheus:
    """Answers PromQL through a server's HTTP API, by range queries.

    A query is evaluated at every multiple of *step* in the window, so that
    two questions about one instant have one answer, whoever asks and when.
    It has to come to one series: wrap it in ``sum(…)`` or the like. No series
    is an empty answer. NaN and infinities are left out, with a note, and so
    are warnings noted that the server adds.

    Attributes:
        url: Where the server is, such as ``http://prometheus:9090``; a path
            that it is served under belongs to it.
    """

    url: str
    """Where the server is; without ``/api/v1``."""

    _: KW_ONLY

    step: Span = "15s"
    """How far apart the samples of an answer are. A step that is finer than
    the scrape interval repeats each value, and so fakes evidence."""

    timeout: Span = "10s"
    """Span for one question."""

    headers: Mapping[str, HeaderValue] | None = field(default=None, hash=False)
    """Sent along; a value may be a `Secret`, such as a bearer token."""

    ssl_context: ssl.SSLContext | None = None
    """How to speak TLS, for a private CA; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    clock: Clock = field(default_factory=SystemClock, repr=False, compare=False)
    """What tells the end of a window that nobody names."""

    def __post_init__(self) -> None:
        problems = [
            *web_problems(self.url, self.headers),
            *span_problems("step", self.step),
            *span_problems("timeout", self.timeout),
            *proxy_problems(self.proxy),
        ]
        refuse("Prometheus", problems)
        object.__setattr__(self, "proxy", as_proxy(self.proxy))
        if seconds(self.step) < 0.001:
            refuse("Prometheus", [f"step={self.step!r} must be a millisecond or more"])
        if self.headers is not None:
            object.__setattr__(self, "headers", dict(self.headers))

    def __repr__(self) -> str:
        return f"Prometheus({str(parse_url(self.url))!r}, step={self.step!r})"

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> Samples:
        """Return the samples of a PromQL *query* in the *window* that ends at *at* (now).

        Raises:
            DefinitionError: That is no question.
            MetricError: The server does not answer, refuses the query, or
                answers with several series or with histograms.
        """
        check_question(query, window, at)
        at = at or self.clock.now()
        start_ms, end_ms = self._grid(query, window, at)
        form = {
            "query": query,
            "start": f"{start_ms / 1000:.3f}",
            "end": f"{end_ms / 1000:.3f}",
            "step": f"{seconds(self.step):.3f}",
            "timeout": f"{seconds(self.timeout):g}s",
        }
        body = await self._asked(query, "POST", "query_range", urlencode(form).encode())
        try:
            series = _series(body)
            notes = [*body.get("warnings", ()), *body.get("infos", ())]
            notes = [one_line(str(note)) for note in notes]
            names = [_named(one) for one in series]
            refuse_many(self, query, names, "have it come to one, as sum(…) does")
            points = [
                (instant_of(float(when)), as_number(value))
                for one in series
                for when, value in one["values"]
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise MetricError(repr(self), query, f"its answer makes no sense: {error}") from error
        return collected(points, window=window, at=at, notes=notes)

    def alert(self, name: str, *, labels: Mapping[str, str] | None = None) -> PrometheusAlert:
        """Return a probe of an alert: unhealthy while it fires, for an `Alarm` or any poll.

        An alert that the server has no rule for, or whose rule fails, is
        `unknown`, so a name that was misspelt never reads as quiet.

        Args:
            name: What the alerting rule is called.
            labels: Only what fires with these labels counts.

        Raises:
            DefinitionError: That is no name.
        """
        return PrometheusAlert(self, name, tuple(sorted((labels or {}).items())))

    def _grid(self, query: str, window: timedelta, at: datetime) -> tuple[int, int]:
        """Return the first and the last multiple of the step in the window, in milliseconds."""
        step_ms = round(seconds(self.step) * 1000)
        end_ms = (at - EPOCH) // MS // step_ms * step_ms
        start_ms = ((at - window - EPOCH) // MS // step_ms + 1) * step_ms
        points = (end_ms - start_ms) // step_ms + 1
        if points < 1:
            reason = f"the window of {window} is narrower than step={self.step!r}"
            raise MetricError(repr(self), query, f"{reason}; widen it, or give a finer step")
        if points > POINTS_MAX:
            reason = f"a window of {window} has {points} steps of {self.step!r}"
            raise MetricError(repr(self), query, f"{reason}, and {POINTS_MAX} are the most")
        return start_ms, end_ms

    async def _asked(
        self, query: str, method: str, path: str, form: bytes | None = None
    ) -> dict[str, Any]:
        """Return the answer to one call, which succeeded."""
        headers = {**(self.headers or {}), **({"Content-Type": FORM} if form else {})}
        try:
            response = await request(
                method,
                f"{self.url.rstrip('/')}/api/v1/{path}",
                headers=headers,
                body=form,
                timeout=self.timeout,
                max_bytes=BODY_BYTES_MAX,
                ssl_context=self.ssl_context,
                proxy=self.proxy,
            )
            return self._understood(query, response)
        except MetricError:
            raise
        except PyflowError as error:
            raise MetricError(repr(self), query, str(error)) from error

    def _understood(self, query: str, response: Response) -> dict[str, Any]:
        try:
            body = json.loads(response.text)
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and cast("dict[str, Any]", body).get("status") == "success":
            return cast("dict[str, Any]", body)
        sent = (*(self.headers or {}).values(), as_proxy(self.proxy))
        if isinstance(body, dict) and "error" in body:
            said = cast("dict[str, Any]", body)
            reason = (
                f"{said.get('errorType', 'error')}: {one_line(hidden(str(said['error']), sent))}"
            )
        else:
            reason = (
                f"it answered {response.status} {one_line(hidden(response.text, sent))}".rstrip()
            )
        raise MetricError(repr(self), query, reason)


@dataclass(frozen=True, slots=True, repr=False)
class PrometheusAlert:
    """Unhealthy while an alert fires; see `Prometheus.alert`."""

    source: Prometheus
    """The server that evaluates the alert."""

    name: str
    """What the alerting rule is called."""

    labels: tuple[tuple[str, str], ...] = ()
    """Only what fires with these labels counts."""

    def __post_init__(self) -> None:
        if self.name is None:  # pyright: ignore[reportUnnecessaryComparison]
            refuse("alert", ["the name of an alert must be text"])
        refuse("alert", text_problems("name", self.name))

    def __repr__(self) -> str:
        labels = "".join(f" {key}={value}" for key, value in self.labels)
        return f"<alert {self.name}{labels} of {self.source!r}>"

    async def read(self) -> Reading:
        """Look once whether it fires."""
        path = f"rules?type=alert&rule_name[]={quote(self.name)}"
        try:
            body = await self.source._asked(self.name, "GET", path)  # noqa: SLF001 - its other half
            rules = [
                rule
                for group in found_at(body, "data.groups")
                for rule in group["rules"]
                if rule.get("type") == "alerting" and rule["name"] == self.name
            ]
            return self._judged(rules)
        except PyflowError as error:
            return unknown(error, alert=self.name)
        except (LookupError, TypeError, AttributeError) as error:
            return unknown(f"the answer makes no sense: {error}", alert=self.name)

    def _judged(self, rules: list[dict[str, Any]]) -> Reading:
        if not rules:
            return Reading("unknown", {"alert": self.name, "reason": "there is no such alert"})
        evidence: dict[str, Any] = {"alert": self.name, "state": [rule["state"] for rule in rules]}
        firing = [
            alert["labels"]
            for rule in rules
            for alert in rule.get("alerts") or ()
            if alert["state"] == "firing" and set(self.labels) <= set(alert["labels"].items())
        ]
        if firing:
            return Reading("unhealthy", {**evidence, "firing": firing[:10]})
        broken = [rule for rule in rules if rule.get("health", "ok") != "ok"]
        if broken:
            reason = one_line(str(broken[0].get("lastError") or f"it is {broken[0]['health']}"))
            return unknown(f"the rule is not evaluated: {reason}", **evidence)
        return Reading("healthy", evidence)


def _series(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the series of an answer to a range query.

    Raises:
        LookupError: There are none of the kind that is expected.
        ValueError: They hold histograms.
    """
    kind, series = found_at(body, "data.resultType"), found_at(body, "data.result")
    if kind != "matrix":
        raise ValueError(f"expected a matrix, got {shown(kind)}")
    for one in series:
        if "histograms" in one:
            raise ValueError(
                "it holds native histograms; reduce them with histogram_quantile() or the like"
            )
    return series


def _named(series: dict[str, Any]) -> str:
    labels = ", ".join(f'{key}="{value}"' for key, value in series.get("metric", {}).items())
    return one_line(f"{{{labels}}}")

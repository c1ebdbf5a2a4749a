"""Ask a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pyflow.errors import DefinitionError, HTTPError, PyflowError, shown
from pyflow.net.headers import HeaderValue, header_problems
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.net.url import parse_url
from pyflow.probes._checks import excerpt, refuse, span_problems, text_problems, unknown
from pyflow.protocols import Reading
from pyflow.redactor import hidden

if TYPE_CHECKING:
    import ssl

    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.secrets import Secret
    from pyflow.spans import Span

__all__ = ["HTTP"]

Statuses: TypeAlias = int | tuple[int, ...] | Callable[[int], bool]


@dataclass(frozen=True, slots=True, repr=False)
class HTTP:
    """Healthy if a GET of *url* answers with an expected status and text.

    | what happens | reading | why |
    |---|---|---|
    | expected status, and `contains` is in the body | healthy | |
    | another status, a redirect included | unhealthy | it answered, and not well |
    | expected status, but the text is missing | unhealthy | a login page answers 200 too |
    | connection refused | unhealthy | the host says that nothing listens (RFC 9293, 3.5.1) |
    | time out, reset, closed early | unknown | the network does this to a healthy service too |
    | name not found, no route | unknown | nothing was asked |
    | TLS fails | unknown | our roots or our clock may be what is wrong |
    | not HTTP, or more than 1 MiB | unknown | there is no whole answer to judge |
    | the proxy fails or refuses | unknown | the service was not asked |

    Redirects are not followed: ask the URL that answers. Of an http URL, a
    proxy answers in the place of a service that it cannot reach, mostly with
    502 or 503, and nothing tells the two apart; of an https URL, the reading
    is unknown then.
    """

    url: str
    """An http or https URL, without user name and password."""

    _: KW_ONLY

    status: Statuses = (200,)
    """What counts as well: a status, several, or a function of the status."""

    contains: str | None = None
    """Text that the body must hold."""

    timeout: Span = "5s"
    """Span for all of it, from name lookup to the last byte."""

    headers: Mapping[str, HeaderValue] | None = field(default=None, hash=False)
    """Sent along; a value may be a `Secret`. The repr masks every value."""

    ssl_context: ssl.SSLContext | None = None
    """How to speak TLS, for a private CA; by default with the system's roots."""

    proxy: Proxy | Secret | str | None = None
    """A `Proxy`, or its URL, to go through; by default none, whatever the environment says."""

    def __post_init__(self) -> None:
        problems = [
            *_url_problems(self.url),
            *_status_problems(self.status),
            *text_problems("contains", self.contains),
            *span_problems("timeout", self.timeout),
            *header_problems(self.headers),
            *proxy_problems(self.proxy),
        ]
        refuse("HTTP", problems)
        object.__setattr__(self, "proxy", as_proxy(self.proxy))
        if self.headers is not None:
            object.__setattr__(self, "headers", dict(self.headers))

    async def read(self) -> Reading:
        """Ask once, and say what was seen."""
        place = str(parse_url(self.url))
        try:
            response = await request(
                "GET",
                self.url,
                headers=self.headers,
                timeout=self.timeout,
                ssl_context=self.ssl_context,
                proxy=self.proxy,
            )
            return self._judged(response, {"url": place, "status": response.status})
        except HTTPError as error:
            evidence = {"url": place, "phase": error.phase, "error": error.reason}
            refused = isinstance(error.__cause__, ConnectionRefusedError)
            if refused and error.phase == "connect":
                return Reading("unhealthy", evidence)
            return Reading("unknown", evidence)
        except PyflowError as error:
            return unknown(error, url=place)

    def _judged(self, response: Response, evidence: dict[str, Any]) -> Reading:
        try:
            expected = _expects(self.status, response.status)
        except Exception as error:  # noqa: BLE001 - the caller's own function
            return unknown(f"status= raised {shown(error)}", **evidence)
        if expected and (self.contains is None or self.contains in response.text):
            return Reading("healthy", evidence)
        sent = (*(self.headers or {}).values(), as_proxy(self.proxy))
        evidence["expected"] = shown(self.contains if expected else self.status)
        if "location" in response.headers:
            evidence["location"] = excerpt(
                hidden(response.headers["location"].partition("?")[0], sent)
            )
        if "content-encoding" not in response.headers:
            evidence["body"] = excerpt(hidden(response.text, sent))
        return Reading("unhealthy", evidence)

    def __repr__(self) -> str:
        parts = [repr(str(parse_url(self.url))), f"status={shown(self.status)}"]
        if self.contains is not None:
            parts.append(f"contains={shown(self.contains)}")
        parts.append(f"timeout={self.timeout!r}")
        if self.headers:
            parts.append(f"headers={dict.fromkeys(self.headers, '***')}")
        if self.proxy is not None:
            parts.append(f"proxy={self.proxy!r}")
        return f"HTTP({', '.join(parts)})"


def _expects(status: Statuses, seen: int) -> bool:
    if isinstance(status, int):
        return seen == status
    if isinstance(status, tuple):
        return seen in status
    return bool(status(seen))


def _url_problems(url: str) -> list[str]:
    try:
        parse_url(url)
    except DefinitionError as error:
        return [str(error)]
    return []


def _status_problems(status: object) -> list[str]:
    if callable(status):
        return []
    codes = cast("tuple[object, ...]", status if isinstance(status, tuple) else (status,))
    if codes and all(_is_status(code) for code in codes):
        return []
    problem = "must be a status from 200 to 599, a tuple of them, or a function of the status"
    return [f"status={shown(cast('object', status))} {problem}"]


def _is_status(code: object) -> bool:
    return isinstance(code, int) and not isinstance(code, bool) and 200 <= code <= 599

"""Ask a service's REST API one question, and tell the kinds of answers apart.

What matters most about a request that went wrong is whether it may have
arrived. Redirects are handed over, never followed, so a token goes to the
host that it was given for and to no other.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast
from urllib.parse import urlencode

from pyflow.errors import DefinitionError, HTTPError, PyflowError
from pyflow.net.http import request
from pyflow.net.retry_after import retry_after_s
from pyflow.net.url import parse_url
from pyflow.notifiers._text import line_of
from pyflow.redactor import Redactor, hidden
from pyflow.tracing import headers as trace_headers

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response
    from pyflow.protocols import Clock
    from pyflow.secrets import Secret

__all__ = ["Api", "Said", "Scheme", "Trouble", "web_url"]

ANSWER_BYTES_MAX = 8 * 1_048_576
LIMIT_WAIT_S = 60.0
"""How long to wait after a rate limit that does not say, as GitHub asks for."""
TIMEOUT_S_MIN = 0.001

Scheme = Literal["bearer", "private-token", "basic"]
"""How a token is shown to a service."""


class Trouble(Exception):
    """No answer came.

    `sent` says whether the request may have arrived all the same, and `final`
    whether to ask again would not help.
    """

    def __init__(self, reason: str, *, sent: bool, final: bool = False) -> None:
        self.reason = reason
        self.sent = sent
        self.final = final
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Said:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    data: Any
    """Its JSON; None where it has none."""
    words: str
    """Status and message, on one line, without the token."""
    wait_s: float | None
    """How long it asks to wait, where the answer is a rate limit; None for any other."""

    @property
    def is_limit(self) -> bool:
        """Whether it says that there were too many requests."""
        return self.wait_s is not None

    def get(self, key: str) -> Any:
        """Return a value of the JSON object that came, or None."""
        data: object = self.data
        return cast("dict[str, Any]", data).get(key) if isinstance(data, dict) else None

    def rows(self, key: str | None = None) -> list[dict[str, Any]] | None:
        """Return the objects of the JSON list that came, or of the one at *key*; None without one."""
        found: Any = self.data if key is None else self.get(key)
        if not isinstance(found, list):
            return None
        rows = cast("list[Any]", found)
        return [row for row in rows if isinstance(row, dict)]


class Options(TypedDict, total=False):
    """What else goes with a question."""

    body: object
    """Sent as JSON."""
    form: Mapping[str, str] | None
    """Sent as a form, in place of a body."""
    headers: Mapping[str, str] | None
    """Sent along."""
    signed: bool
    """Whether the token is shown, as it is unless said otherwise."""
    deadline: float
    """An instant of the loop's clock by which it ends, if not before."""


class Api:
    """How to reach a service's API.

    Args:
        base_url: Where it is; checked before.
        token: What opens it.
        scheme: How it is shown.
        user: Whose token it is, where the scheme asks for that.
        headers: Sent along.
        timeout_s: For one request, in seconds.
        clock: For rate limits that name an instant.
        ssl_context: How to speak TLS.
        proxy: What to go through.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: Secret,
        scheme: Scheme,
        user: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
        clock: Clock,
        ssl_context: ssl.SSLContext | None,
        proxy: Proxy | None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self.proxy = proxy
        self.ssl_context = ssl_context
        self._token = token
        self._scheme: Scheme = scheme
        self._user = user
        self._headers = dict(headers or {})
        self._clock = clock
        self._redactor = Redactor()

    async def ask(
        self,
        method: str,
        path: str,
        **options: Unpack[Options],
    ) -> Said:
        """Ask once, and return the answer, whatever its status.

        Raises:
            Trouble: There is none.
        """
        return self._said(await self.fetch(method, path, **options))

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        deadline: float = math.inf,
    ) -> Response:
        """Ask once, and return the answer as it came; the arguments are those of `Options`.

        Raises:
            Trouble: There is none.
        """
        data, kind = _encoded(body, form)
        until = asyncio.get_running_loop().time() + self.timeout_s
        until = min(until, deadline)
        try:
            async with asyncio.timeout_at(until):
                shown = await self._shown() if signed else {}
        except TimeoutError as error:
            raise Trouble("the token could not be fetched in time", sent=False) from error
        except PyflowError as error:
            raise Trouble(str(error), sent=False) from error
        try:
            return await request(
                method,
                self.base_url + path,
                headers={**trace_headers(), "Accept": "application/json"}
                | {**self._headers, **kind, **shown, **(headers or {})},
                body=data,
                timeout=max(TIMEOUT_S_MIN, until - asyncio.get_running_loop().time()),
                max_bytes=ANSWER_BYTES_MAX,
                ssl_context=self.ssl_context,
                proxy=self.proxy,
            )
        except HTTPError as error:
            raise Trouble(str(error), sent=error.sent, final=error.final) from error
        except PyflowError as error:  # a token that cannot be sent, or a proxy that is none
            final = isinstance(error, DefinitionError)
            raise Trouble(str(error), sent=False, final=final) from error

    def masked(self, text: str) -> str:
        """Return *text* without the token, which some services echo, and some proxies theirs."""
        return hidden(self._redactor.redact(text), (self.proxy,))

    async def revealed(self, secret: Secret) -> str:
        """Return another secret's value, which is masked in answers from now on.

        Raises:
            Trouble: It cannot be fetched.
        """
        try:
            plain = await asyncio.to_thread(secret.reveal)
            self._redactor.register(plain)
        except PyflowError as error:
            raise Trouble(str(error), sent=False) from error
        return plain

    async def _shown(self) -> dict[str, str]:
        plain = await asyncio.to_thread(self._token.reveal)
        self._redactor.register(plain)
        if self._scheme == "bearer":
            return {"Authorization": f"Bearer {plain}"}
        if self._scheme == "private-token":
            return {"PRIVATE-TOKEN": plain}
        import base64  # noqa: PLC0415 - one service of three needs it

        pair = base64.b64encode(f"{self._user}:{plain}".encode()).decode("ascii")
        return {"Authorization": f"Basic {pair}"}

    def _said(self, response: Response) -> Said:
        try:
            data: Any = response.json()
        except HTTPError:
            data = None
        try:
            text = response.text
        except HTTPError as error:
            text = error.reason
        message = _message(data) or text[:2_000]
        words = line_of(self.masked(f"{response.status} {message}".strip()))
        wait_s = self._limit_s(response, data, text)
        return Said(response.status, response.headers, data, words, wait_s)

    def _limit_s(self, response: Response, data: object, text: str) -> float | None:
        """Return how long to wait, if *response* is a rate limit: a 429, or GitHub's kind of 403."""
        headers = response.headers
        is_limit = response.status == 429 or (
            response.status == 403
            and (
                "retry-after" in headers
                or headers.get("x-ratelimit-remaining") == "0"
                or "rate limit" in text[:2_000].lower()
            )
        )
        if not is_limit:
            return None
        wait_s = retry_after_s(headers, body=data, now=self._clock.now())
        return LIMIT_WAIT_S if wait_s is None else wait_s


def web_url(text: object) -> str:
    """Return *text* if it is a URL that can be shown, else nothing."""
    if not isinstance(text, str):
        return ""
    try:
        parse_url(text)
    except PyflowError:
        return ""
    return text


def _encoded(body: object, form: Mapping[str, str] | None) -> tuple[bytes | None, dict[str, str]]:
    if form is not None:
        return urlencode(form).encode("ascii"), {
            "Content-Type": "application/x-www-form-urlencoded"
        }
    if body is not None:
        return json.dumps(body, allow_nan=False).encode(), {"Content-Type": "application/json"}
    return None, {}


def _message(data: object) -> str:
    """Return what an error says: its ``message``, which may be text, a list or an object, or ``error``."""
    if not isinstance(data, dict):
        return ""
    found = cast("dict[str, Any]", data)
    said = found.get("message") or found.get("error") or ""
    errors = found.get("errors")
    text = said if isinstance(said, str) else json.dumps(said)
    return f"{text} {json.dumps(errors)}" if errors else text

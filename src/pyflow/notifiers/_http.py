"""What the notifiers that speak HTTP share: one POST, and what its answer means.

A URL may be a credential, so errors name the host alone, and what a service
says is masked before it goes anywhere: some echo what they were sent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from pyflow.errors import DefinitionError, HTTPError, SecretError
from pyflow.messages import Attempt, Delivery, rejected, retrying, unknown
from pyflow.net.connect import tls_problems
from pyflow.net.http import request
from pyflow.net.proxy import as_proxy, proxy_problems
from pyflow.net.retry_after import retry_after_s
from pyflow.net.url import parse_url
from pyflow.notifiers._checks import flag_problems
from pyflow.notifiers._text import line_of
from pyflow.redactor import hidden
from pyflow.secrets import Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Proxy
    from pyflow.net.response import Response

__all__ = [
    "answered",
    "encoded",
    "json_of",
    "kept",
    "post",
    "said_by",
    "url_problems",
    "way_problems",
]

ANSWER_BYTES_MAX = 65_536
TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class Way(Protocol):
    """**Protocol:** what a notifier knows of the way to its service."""

    @property
    def allow_private(self) -> bool:
        """Whether the host may have an address that is not public."""
        ...

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """How to speak TLS."""
        ...

    @property
    def proxy(self) -> Proxy | Secret | str | None:
        """What to go through."""
        ...


async def post(
    url: Secret | str,
    body: bytes,
    *,
    way: Way,
    headers: Mapping[str, HeaderValue],
    judge: Callable[[Response], Delivery],
    attempt: Attempt,
    secrets: tuple[Secret, ...] = (),
) -> Delivery:
    """Send *body* once, and return what came of it; nothing is raised for trouble on the way.

    Args:
        url: Where to; a `Secret` is never shown.
        body: What is sent.
        way: How it gets there, as the notifier was told.
        headers: Sent along.
        judge: Says what a 2xx answer means; the others are judged by `answered`.
        attempt: How long it may take.
        secrets: Masked in what the service says, besides *url*.
    """
    try:
        response = await request(
            "POST",
            url,
            headers=headers,
            body=body,
            timeout=attempt.timeout_s,
            max_bytes=ANSWER_BYTES_MAX,
            allow_private=way.allow_private,
            ssl_context=way.ssl_context,
            proxy=way.proxy,
        )
        found = judge(response) if 200 <= response.status < 300 else answered(response, attempt)
    except HTTPError as error:
        if error.final:
            found = rejected(str(error))
        elif error.sent:
            found = unknown(f"{error}; it may have arrived")
        else:
            found = retrying(str(error))
    except SecretError as error:  # whoever keeps it may be back soon
        found = retrying(str(error))
    except DefinitionError as error:
        found = rejected(str(error))
    return _masked(found, (*secrets, url, *headers.values(), as_proxy(way.proxy)))


def answered(response: Response, attempt: Attempt) -> Delivery:
    """Return what an answer that is not 2xx means, by its status."""
    said = said_by(response)
    status = response.status
    if status in TRY_AGAIN:
        wait_s = retry_after_s(response.headers, body=json_of(response), now=attempt.at)
        # A server that failed half-way may have taken it all the same.
        if status in (500, 502, 504):
            return Delivery("unknown", said, again=True, wait_s=wait_s)
        return retrying(said, wait_s=wait_s)
    if 300 <= status < 400:
        return rejected(f"{said}: a redirect, which is not followed; give the URL that it leads to")
    return unknown(said) if status >= 500 else rejected(said)


def said_by(response: Response) -> str:
    """Return status and beginning of an answer, on one line."""
    try:
        text = response.text
    except HTTPError as error:
        text = error.reason
    return line_of(f"{response.status} {response.reason} {text}".strip())


def json_of(response: Response) -> Any:
    """Return the answer's JSON, or None where it has none."""
    try:
        return response.json()
    except HTTPError:
        return None


def encoded(data: object) -> bytes:
    """Return *data* as JSON, in UTF-8."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def kept(url: object) -> Secret | None:
    """Return *url* as a secret, if it can be one."""
    if isinstance(url, Secret):
        return url
    return Secret(url) if isinstance(url, str) and not url_problems(url) else None


def url_problems(url: object, *, name: str = "url") -> list[str]:
    """Return what is wrong with *url*, without ever repeating its path.

    A `Secret` is not fetched; it is looked at before each connection.
    """
    if isinstance(url, Secret):
        return []
    try:
        parse_url(url)  # type: ignore[arg-type]
    except DefinitionError as error:
        return [f"{name}=: {error}"]
    return []


def way_problems(way: Way) -> list[str]:
    """Return what is wrong with what a notifier was told of the way to its service."""
    return [
        *flag_problems("allow_private", way.allow_private),
        *tls_problems(way.ssl_context),
        *proxy_problems(way.proxy),
    ]


def _masked(delivery: Delivery, secrets: tuple[object, ...]) -> Delivery:
    if not delivery.detail:
        return delivery
    return Delivery(
        delivery.status,
        hidden(delivery.detail, secrets),
        delivery.again,
        delivery.wait_s,
        receipt=delivery.receipt,
    )

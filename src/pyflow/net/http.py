"""The one small HTTP client: a request, a deadline, an answer.

`urllib` follows redirects to other hosts with the credentials in hand, opens
``file:``, obeys proxy variables, and its timeout starts anew with every byte.
This client does none of that: one deadline spans name lookup, connection,
proxy, TLS, headers and body; headers and body have a limit; and only http and
https are spoken. Each request has a connection of its own.

Compressed answers are not asked for. One that comes anyway is handed over as
it is in `Response.body`, while `Response.text` and `Response.json` refuse it,
so nothing is ever unpacked.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from pyflow.errors import DefinitionError, shown
from pyflow.net.answer import LINE_BYTES_MAX, Answer, Progress
from pyflow.net.connect import connect, open_streams, refuse_private
from pyflow.net.headers import Revealable, header_problems
from pyflow.net.proxy import as_proxy
from pyflow.net.tunnel import check_passed_on, through
from pyflow.net.url import parse_url
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pyflow.net.headers import HeaderValue
    from pyflow.net.proxy import Gate, Proxy
    from pyflow.net.response import Response
    from pyflow.net.url import Target
    from pyflow.secrets import Secret

__all__ = ["request"]

BODY_BYTES_MAX = 2**31
REDIRECTS_MAX = 20
REDIRECTS = frozenset({301, 302, 303, 307, 308})

METHOD = re.compile(r"[A-Z]{1,20}")


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    headers: Mapping[str, HeaderValue]
    body: bytes | None
    max_bytes: int
    allow_private: bool
    ssl_context: ssl.SSLContext | None
    proxy: Proxy | None
    deadline: float


async def request(
    method: str,
    url: str | Revealable,
    *,
    headers: Mapping[str, HeaderValue] | None = None,
    body: bytes | None = None,
    timeout: Span = "10s",
    max_bytes: int = 1_048_576,
    follow_redirects: int = 0,
    allow_private: bool = True,
    ssl_context: ssl.SSLContext | None = None,
    proxy: Proxy | Secret | str | None = None,
) -> Response:
    """Send one request and return the whole answer, whatever its status.

    Nothing is tried twice. No netrc or cookie is looked at, and no proxy
    variable unless *proxy* is ``"environment"``.

    Args:
        method: In capitals, such as ``"GET"``.
        url: An http or https URL, without user name and password. Of one that
            is a `Secret`, as a webhook's is, errors and the answer name the
            host alone.
        headers: Added to ours. A value may be a `Secret`; it is revealed as it
            is sent, and no error repeats a value.
        body: Sent with its Content-Length.
        timeout: Span for all of it, from name lookup to the last byte, a proxy's part included.
        max_bytes: The largest body that is taken. Headers may have 64 KiB.
        follow_redirects: How many redirects of a GET or HEAD to follow, within
            the same scheme, host and port; 0 hands a redirect over as it is.
        allow_private: Whether the host may resolve to an address that is not
            public. The address that was checked is the one connected to.
            With a proxy, which looks the name up, it is a host that is written
            as an address, or is this machine by name, that is checked; the
            proxy itself may be anywhere.
        ssl_context: How to speak TLS; by default with the system's roots.
        proxy: A `Proxy`, or its URL, to go through; by default none.

    Raises:
        DefinitionError: An argument cannot be used; nothing was connected.
        HTTPError: There is no usable answer; its `phase` says how far the
            request came.
        SecretError: A secret, of a header or the proxy, cannot be fetched.
    """
    problems = _problems(method, headers, body, max_bytes, follow_redirects)
    if problems:
        raise DefinitionError("request", problems)
    timeout_s = seconds(timeout, what="request(timeout=)")
    progress = Progress(await _target(url))
    deadline = asyncio.get_running_loop().time() + timeout_s
    via = as_proxy(proxy)
    call = _Call(method, headers or {}, body, max_bytes, allow_private, ssl_context, via, deadline)
    progress.secrets = (*call.headers.values(), via)
    with progress.told(timeout_s):
        async with asyncio.timeout_at(deadline):
            return await _follow(call, progress, follow_redirects)


async def _target(url: str | Revealable) -> Target:
    if isinstance(url, Revealable):
        # A provider may block while it fetches, so it does that on a thread.
        return parse_url(await asyncio.to_thread(url.reveal), is_secret=True)
    return parse_url(url)


async def _follow(call: _Call, progress: Progress, redirects: int) -> Response:
    for _ in range(redirects):
        response = await _once(call, progress)
        location = response.headers.get("location")
        if response.status not in REDIRECTS or location is None:
            return response
        progress.target = _redirected(progress, location)
    response = await _once(call, progress)
    if redirects and response.status in REDIRECTS and "location" in response.headers:
        raise progress.failure(f"more than {redirects} redirects")
    return response


def _redirected(progress: Progress, location: str) -> Target:
    here = progress.target
    try:
        whole = urljoin(here.origin + here.path, location)
        there = parse_url(whole, is_secret=here.is_secret)
    except (DefinitionError, ValueError) as error:
        raise progress.failure("a redirect to an unusable URL") from error
    if there.origin != here.origin:
        raise progress.failure(
            f"a redirect from {here.origin} to {there.origin}, which is not followed; "
            "if that is the right place, ask there"
        )
    return there


async def _once(call: _Call, progress: Progress) -> Response:
    progress.phase = "connect"
    target = progress.target
    gate = await call.proxy.gate(target) if call.proxy is not None else None
    head = _head(call, target, await _revealed(call.headers), gate)
    if gate is None:
        sock = await connect(
            target.host, target.port, deadline=call.deadline, allow_private=call.allow_private
        )
    else:
        if not call.allow_private:
            refuse_private(target.host)
        sock = await through(gate, progress, deadline=call.deadline)
    tls_host = None
    if target.scheme == "https":
        progress.phase, tls_host = "tls", target.host
    reader, writer = await open_streams(
        sock, limit=LINE_BYTES_MAX, tls_host=tls_host, ssl_context=call.ssl_context
    )
    try:
        progress.phase = "send"
        writer.write(head + (call.body or b""))
        await writer.drain()
        response = await Answer(reader, progress).read(call.method, call.max_bytes)
        if gate is not None and target.scheme == "http":
            check_passed_on(response.status, gate, progress)
        return response
    finally:
        writer.transport.abort()


def _problems(
    method: object, headers: object, body: object, max_bytes: object, follow_redirects: object
) -> list[str]:
    problems = header_problems(headers)
    if not isinstance(method, str) or not METHOD.fullmatch(method) or method == "CONNECT":
        problems.append(f"method {shown(method)} must be in capitals, such as 'GET'")
    if body is not None and not isinstance(body, bytes):
        problems.append(f"body= is a {type(body).__name__}; give bytes, as from text.encode()")
    if not _is_count(max_bytes, BODY_BYTES_MAX):
        problems.append(f"max_bytes={shown(max_bytes)} must be from 0 to {BODY_BYTES_MAX}")
    if not _is_count(follow_redirects, REDIRECTS_MAX):
        problems.append(f"follow_redirects={shown(follow_redirects)} must be 0 to {REDIRECTS_MAX}")
    elif follow_redirects and method not in {"GET", "HEAD"}:
        problems.append(f"follow_redirects= goes with GET and HEAD, not {shown(method)}")
    return problems


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


async def _revealed(headers: Mapping[str, HeaderValue]) -> dict[str, str]:
    plain: dict[str, str] = {}
    for name, value in headers.items():
        # A provider may block while it fetches, so it does that on a thread.
        plain[name] = value if isinstance(value, str) else await asyncio.to_thread(value.reveal)
    problems = header_problems(plain)
    if problems:
        raise DefinitionError("request", problems)
    return plain


def _head(call: _Call, target: Target, plain: dict[str, str], gate: Gate | None) -> bytes:
    named = {name.lower() for name in plain}
    lines = {"Host": target.authority, "User-Agent": "pyflow", "Accept": "*/*"}
    lines = {name: value for name, value in lines.items() if name.lower() not in named} | plain
    lines |= {"Accept-Encoding": "identity", "Connection": "close"}
    if call.body is not None or call.method in {"PATCH", "POST", "PUT"}:
        lines["Content-Length"] = str(len(call.body or b""))
    place = target.path
    if gate is not None and target.scheme == "http":
        place = target.origin + place  # RFC 9112, section 3.2.2
        lines |= gate.headers
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{call.method} {place} HTTP/1.1\r\n{text}\r\n".encode("latin-1")

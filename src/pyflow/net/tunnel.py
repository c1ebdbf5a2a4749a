"""Reach a target through a proxy: a plain connection, or for https a tunnel (RFC 9110, 9.3.6).

Until the tunnel stands nothing of the request has been sent, so whatever goes
wrong at a proxy is sure. Nothing that a proxy says is quoted, and nothing that
it sends of its own is ever taken for the target's: not a byte beyond the head
of its answer is read here, and TLS begins with the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyflow.errors import HTTPError
from pyflow.net.answer import LINE_BYTES_MAX, Head, Progress
from pyflow.net.connect import connect, words_of

if TYPE_CHECKING:
    import socket

    from pyflow.net.proxy import Gate
    from pyflow.net.url import Target

__all__ = ["check_passed_on", "through"]

ASKS_WHO = 407
WRONG = 401
"""What tinyproxy answers to a wrong password; in an answer that a target may have given, it says
nothing of the proxy."""
PASSING = frozenset({408, 425, 429})


async def through(gate: Gate, progress: Progress, *, deadline: float) -> socket.socket:
    """Return a socket to *gate* for an http target, and one to the target for an https one.

    Args:
        gate: The proxy.
        progress: Where to; it is at ``proxy`` from now on.
        deadline: An instant of the running loop's clock.

    Raises:
        HTTPError: The proxy cannot be reached, or makes no tunnel.
    """
    progress.phase = "proxy"
    try:
        sock = await connect(gate.host, gate.port, deadline=deadline)
    except TimeoutError:
        raise
    except OSError as error:
        raise progress.failure(f"the proxy {gate} is not reached: {words_of(error)}") from error
    if progress.target.scheme == "http":
        return sock
    try:
        await _have_tunnel(sock, gate, progress)
    except BaseException:
        sock.close()
        raise
    return sock


def check_passed_on(status: int, gate: Gate, progress: Progress) -> None:
    """Refuse the answer to a plain request that is not the target's for certain.

    Raises:
        HTTPError: It is the proxy's, which does not know who asks.
    """
    if status == ASKS_WHO:
        progress.phase = "proxy"  # which has passed nothing on
        raise _unknown_here(status, gate, progress)


def _unknown_here(status: int, gate: Gate, progress: Progress) -> HTTPError:
    why = "it asks for a user name and a password; give them"
    if gate.authorization is not None:
        why = "it does not take the user name and password that it is given; look at them"
    return progress.failure(f"the proxy {gate} answered {status}: {why} in proxy=", final=True)


async def _have_tunnel(sock: socket.socket, gate: Gate, progress: Progress) -> None:
    head = _request(gate, progress.target)
    at_proxy = Progress(progress.target)
    at_proxy.secrets = progress.secrets
    try:
        await asyncio.get_running_loop().sock_sendall(sock, head)
        status, _, _ = await Head(_Bytewise(sock), at_proxy).read_head()
    except (HTTPError, asyncio.LimitOverrunError) as error:
        reason = "does not answer as an HTTP proxy does; is the port right?"
        raise progress.failure(f"the proxy {gate} {reason}") from error
    except asyncio.IncompleteReadError as error:
        raise progress.failure(f"the proxy {gate} closed the connection too early") from error
    except OSError as error:
        raise progress.failure(f"the proxy {gate} broke it off: {words_of(error)}") from error
    if 200 <= status < 300:
        return
    if status in (ASKS_WHO, WRONG):
        raise _unknown_here(status, gate, progress)
    final = status < 500 and status not in PASSING
    why = "its rules may forbid that; ask whoever runs it" if final else "it may not reach it"
    reason = f"the proxy {gate} answered {status} and makes no way there: {why}"
    raise progress.failure(reason, final=final)


def _request(gate: Gate, target: Target) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = {"Host": f"{host}:{target.port}", "User-Agent": "pyflow", **gate.headers}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"CONNECT {host}:{target.port} HTTP/1.1\r\n{text}\r\n".encode("ascii")


class _Bytewise:
    """Reads lines off a socket without taking a byte more: the next one belongs to the target."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def readuntil(self, separator: bytes = b"\n", /) -> bytes:
        """Return what comes up to and with *separator*."""
        line = bytearray()
        while not line.endswith(separator):
            byte = await asyncio.get_running_loop().sock_recv(self._sock, 1)
            if not byte:
                raise asyncio.IncompleteReadError(bytes(line), None)
            line += byte
            if len(line) > LINE_BYTES_MAX:
                raise asyncio.LimitOverrunError("a long line", len(line))
        await asyncio.sleep(
            0
        )  # a read that finds something waits for nothing, no deadline included
        return bytes(line)

"""Reach a host: look its name up once, connect, and shake hands if asked to.

The address that is judged is the very one connected to, so a name cannot
answer with a public address first and with a private one a moment later.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import Any

from pyflow.errors import shown
from pyflow.net.tls import system_tls
from pyflow.net.url import is_numeric

__all__ = ["connect", "open_streams", "refuse_private", "tls_problems", "words_of"]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


async def connect(
    host: str, port: int, *, deadline: float, allow_private: bool = True
) -> socket.socket:
    """Return a connected, non-blocking socket to *host*; the caller closes it.

    The name is looked up once and its addresses are tried in order, each with
    an equal share of the time that is left.

    Args:
        host: A name or an address that `host_problem` finds nothing wrong with.
        port: From 1 to 65535.
        deadline: An instant of the running loop's clock.
        allow_private: Whether an address that is not public may be used.

    Raises:
        OSError: No address took the connection. It is a
            `ConnectionRefusedError` only if every one of them refused.
    """
    found = await _addresses(host, port)
    if not allow_private:
        _refuse_private(host, [address[0] for _, address in found])
    failures: list[OSError] = []
    now = asyncio.get_running_loop().time
    for index, (family, address) in enumerate(found):
        share_s = max(0.0, deadline - now()) / (len(found) - index)
        try:
            return await _dial(family, address, now() + share_s)
        except OSError as error:
            failures.append(error)
    raise next((e for e in failures if not isinstance(e, ConnectionRefusedError)), failures[0])


async def open_streams(
    sock: socket.socket,
    *,
    limit: int,
    tls_host: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the two ends of *sock*; it is closed if that fails.

    Args:
        sock: Connected, as by `connect`.
        limit: The longest line that can be read, in bytes.
        tls_host: Speak TLS, with the host of this name; None speaks plainly.
        ssl_context: How to speak TLS; by default with the system's roots.

    Raises:
        OSError: The connection broke, or TLS found something wrong.
    """
    secure = tls_host is not None
    try:
        return await asyncio.open_connection(
            sock=sock,
            limit=limit,
            ssl=(ssl_context or await system_tls()) if secure else None,
            server_hostname=tls_host.rstrip(".") if secure else None,
        )
    except BaseException:
        sock.close()
        raise


async def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    if is_numeric(host):
        flags = socket.AI_NUMERICHOST
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    else:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


async def _dial(family: socket.AddressFamily, address: Any, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout_at(deadline):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def tls_problems(context: object) -> list[str]:
    """Return what is wrong with *context* as ``ssl_context=``."""
    if context is None or isinstance(context, ssl.SSLContext):
        return []
    expected = "an ssl.SSLContext, as from ssl.create_default_context(cafile=...)"
    return [f"ssl_context={shown(context)} must be {expected}, or None"]


def words_of(error: OSError) -> str:
    """Return what went wrong with a connection, in words."""
    if isinstance(error, socket.gaierror):
        return f"the name was not found: {error.strerror}"
    return error.strerror or str(error) or type(error).__name__


def refuse_private(host: str) -> None:
    """Refuse *host*, which somebody else will look up, as far as its name alone tells.

    Raises:
        PermissionError: It is an address that is not public, or a name of this machine.
    """
    name = host.rstrip(".")
    if is_numeric(host):
        _refuse_private(host, [name])
    elif name == "localhost" or name.endswith(".localhost"):  # RFC 6761, section 6.3
        _refuse_private(host, ["127.0.0.1"])


def _refuse_private(host: str, addresses: list[str]) -> None:
    private = [address for address in addresses if not _is_public(address)]
    if private:
        raise PermissionError(
            f"{host} is at {private[0]}, which is not public; allow_private=True permits it"
        )


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        address = inner or address
    return address.is_global and not address.is_multicast

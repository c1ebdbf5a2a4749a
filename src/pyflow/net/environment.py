"""What the environment says of proxies, for those who ask for it.

No standard says how these variables are read; this is what curl, Go and
Python agree on. A proxy that cannot be used is an error, and never a reason
to go without.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from pyflow.net.url import is_numeric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.net.url import Target

__all__ = ["proxy_for", "proxy_urls"]

SEPARATOR = re.compile(r"[\s,]+")
ENTRY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:]+|[0-9a-f:.]+)(?::(?P<port>[0-9]{1,5}))?")


def proxy_for(target: Target, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for *target*, and the proxy's URL; None for none.

    ``no_proxy`` lists hosts that are reached without one: ``*`` is every host;
    a name, with a dot before it or without, is that host and all below it; an
    address or a network (``10.0.0.0/8``) is for hosts that are written as
    addresses. An entry may end in a port.
    """
    _, exempt = _variable("no_proxy", environ)
    if any(_covers(entry, target) for entry in SEPARATOR.split(exempt.lower()) if entry):
        return None
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        found, url = _variable(name, environ)
        if url:
            return found, _whole(url)
    return None


def proxy_urls(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return every proxy that *environ* names: the variable, and the URL."""
    found = [_variable(f"{kind}_proxy", environ) for kind in ("http", "https", "all")]
    return [(name, _whole(url)) for name, url in found if url]


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    capitals = name.upper()
    # To a CGI program, HTTP_PROXY is a header that the client has sent: CVE-2016-5385.
    trusted = capitals != "HTTP_PROXY" or "REQUEST_METHOD" not in environ
    for one in (name, capitals) if trusted else (name,):
        value = environ.get(one, "").strip()
        if value:
            return one, value
    return name, ""


def _whole(url: str) -> str:
    return url if "://" in url else f"http://{url}"


def _covers(entry: str, target: Target) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return _is_within(target.host, entry)
    found = ENTRY.fullmatch(entry)
    if found is None or (found["port"] and int(found["port"]) != target.port):
        return False
    host = target.host.lower().rstrip(".")
    name = found["name"].strip("[]").removeprefix("*").removeprefix(".").rstrip(".")
    if is_numeric(host) or not name:
        return host == name
    return host == name or host.endswith(f".{name}")


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:  # a name, or no network
        return False

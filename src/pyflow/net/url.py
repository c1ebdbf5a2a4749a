"""Take a URL apart, and refuse what is not plainly one that can be asked.

Programs disagree on odd URLs: what one takes for a user name is another's
host, and ``0x7f.1`` is an address only to some. Whatever can be read in two
ways is refused here, before anything is looked up or connected to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pyflow.errors import DefinitionError, shown

__all__ = ["Target", "host_problem", "is_numeric", "parse_url"]

PORTS = {"http": 80, "https": 443}
URL_CHARS_MAX = 8_192

URL_TEXT = re.compile(r"[!-\[\]-~]+")
NAME = re.compile(r"(?!.{254})[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_-]{1,63})*\.?")
NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was checked. `str(target)` leaves out the query, and a secret path."""

    scheme: str
    """`http` or `https`."""

    host: str
    """A name or an address, in lower case, without brackets."""

    port: int
    """From 1 to 65535."""

    path: str
    """What is asked for: path and query, beginning with a slash."""

    is_secret: bool = False
    """Whether path and query are a credential, as a webhook's are."""

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in ``http://[::1]:8080``."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port, as the Host header says them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.is_secret:
            return f"{self.origin}/***"
        path, mark, _ = self.path.partition("?")
        return f"{self.origin}{path}{'?***' if mark else ''}"


def parse_url(url: str, *, is_secret: bool = False) -> Target:
    """Return *url* in its parts.

    Args:
        url: The whole URL.
        is_secret: Whether its path and query are a credential, so that only
            the host may be shown.

    Raises:
        DefinitionError: It is not an http or https URL that can be asked. The
            error repeats neither the path nor a password.
    """
    if not _is_text(url):
        raise _bad_url(f"a {type(url).__name__} is not text")
    if len(url) > URL_CHARS_MAX or not URL_TEXT.fullmatch(url):
        raise _bad_url(
            "it is empty, very long, or holds a space, a backslash, a control character or a "
            "character outside ASCII; percent-encode the path, and write the host in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise _bad_url("its host or port cannot be read") from error
    if parts.scheme not in PORTS:
        raise _bad_url(f"scheme {shown(parts.scheme)} is neither http nor https")
    if "@" in parts.netloc:
        raise _bad_url("it holds a user name or password; send a header with a Secret instead")
    problem = "port 0 cannot be connected to" if port == 0 else host_problem(host)
    if problem or ("[" in parts.netloc) != (":" in host):
        raise _bad_url(problem or f"host {shown(host)} is no IPv6 address, but has brackets")
    query = f"?{parts.query}" if parts.query else ""
    path = (parts.path or "/") + query
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path, is_secret)


def _bad_url(problem: str) -> DefinitionError:
    return DefinitionError("url", [f"{problem}; expected such as https://shop.example/health"])


def host_problem(host: str) -> str | None:
    """Return what is wrong with *host* as a name or an address, or None.

    Short, octal and hexadecimal forms of addresses (``0x7f.1``) are refused,
    because resolvers disagree on what they mean, and so are IPv4 addresses
    inside of IPv6 ones (``::ffff:a9fe:a9fe``).
    """
    if not _is_text(host) or not host:
        return f"host {shown(host)} is missing or not text"
    if "://" in host:
        return f"host {shown(host)} is a URL; give the host alone, such as shop.example"
    if is_numeric(host):
        return _address_problem(host)
    if not NAME.fullmatch(host.lower()):
        return f"host {shown(host)} is not a name of letters, digits, hyphens and dots"
    return None


def _address_problem(host: str) -> str | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"host {shown(host)} is not an IP address written in full"
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.scope_id is not None:
        return f"host {shown(host)} is not an IP address written in full"
    if address.ipv4_mapped is not None:
        # Filters that know only the plain form would let it through.
        return f"host {shown(host)} hides an IPv4 address; write {address.ipv4_mapped}"
    return None


def is_numeric(host: str) -> bool:
    """Whether *host* is written as an address, rightly or not, and so is no name."""
    return ":" in host or NUMBER.fullmatch(host.lower()) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str)

"""Which proxy a request goes through, and who it says it is there.

A proxy is named, or nothing goes through one: what the environment says of
proxies holds only where that is asked for. One URL can be read in one way
alone, so it has a port, and no other scheme than http, which is what a proxy
is spoken to in for https targets too.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyflow.errors import DefinitionError
from pyflow.net.environment import proxy_for, proxy_urls
from pyflow.net.url import Target, host_problem
from pyflow.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Gate", "Proxy", "as_proxy", "proxy_problems"]

ENVIRONMENT = "environment"
EXAMPLE = "http://proxy.example:3128"
URL_CHARS_MAX = 2_048

URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20})://"
    r"(?:(?P<userinfo>(?:(?![/?#@\[\]\\])[!-~])*)@)?"
    r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?P<port>:[0-9]{1,5})?/?"
)
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Gate:
    """A proxy on the way to a target."""

    host: str
    """A name or an address, in lower case, without brackets."""

    port: int
    """From 1 to 65535."""

    authorization: str | None = field(default=None, repr=False)
    """The value of ``Proxy-Authorization``, or None for a proxy that wants none."""

    credentials: tuple[str, ...] = field(default=(), repr=False)
    """What must not be seen."""

    @property
    def headers(self) -> dict[str, str]:
        """What a request to it holds besides that of others."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def __str__(self) -> str:
        return Target("http", self.host, self.port, "").origin


@dataclass(frozen=True, slots=True, repr=False)
class Proxy:
    """An HTTP proxy: what it is reached by, and who says so there.

    An https request goes through a tunnel (``CONNECT``), so TLS is spoken with
    the target, whose certificate is checked as ever; the proxy sees host and
    port alone. An http request is handed to the proxy as a whole. The proxy
    looks the target's name up, so only a target that is written as an address
    can be checked for being public.

    Wherever ``proxy=`` is a parameter, a text or a `Secret` stands for
    ``Proxy(it)``.

    Raises:
        DefinitionError: An argument cannot be used. No error shows a password.
    """

    url: Secret | str
    """Such as ``http://proxy.example:3128`` or ``http://user:password@proxy.example:3128``,
    user name and password percent-encoded. ``"environment"`` asks, at each request,
    ``https_proxy``, ``http_proxy``, ``all_proxy`` and ``no_proxy`` of the environment,
    in capitals too."""

    _: KW_ONLY

    password: Secret | None = None
    """The password of the user whose name is in *url*."""

    def __post_init__(self) -> None:
        problems = _problems(self.url, self.password)
        if problems:
            raise DefinitionError("proxy", problems)
        if isinstance(self.url, str) and self.password is None and _userinfo_of(self.url):
            object.__setattr__(self, "url", Secret(self.url))

    def reveal(self) -> str:
        """Return what must not be seen of it, a line each, so that it is masked as a `Secret` is."""
        if self.url == ENVIRONMENT:
            gates = [lambda url=url: _taken_apart(url) for _, url in proxy_urls(os.environ)]
        else:
            gates = [self._gate]
        return "\n".join(line for gate in gates for line in _credentials(gate))

    async def gate(self, target: Target) -> Gate | None:
        """Return the way to *target*; None where the environment names no proxy for it.

        Raises:
            DefinitionError: The environment, or a secret, names none that can be used.
            SecretError: A secret cannot be fetched.
        """
        if self.url == ENVIRONMENT:
            found = proxy_for(target, os.environ)
            return None if found is None else _taken_apart(found[1], what=found[0])
        if isinstance(self.url, str) and self.password is None:
            return self._gate()
        # A provider may block while it fetches, so it does that on a thread.
        return await asyncio.to_thread(self._gate)

    def _gate(self) -> Gate:
        url = self.url if isinstance(self.url, str) else self.url.reveal()
        password = self.password.reveal() if self.password is not None else None
        return _taken_apart(url, password)

    def __repr__(self) -> str:
        place = repr(self.url) if isinstance(self.url, str) else "***"
        return f"Proxy({place}{', password=***' if self.password is not None else ''})"


def as_proxy(given: Proxy | Secret | str | None) -> Proxy | None:
    """Return *given* as a `Proxy`, if it is anything.

    Raises:
        DefinitionError: It is none.
    """
    return given if given is None or isinstance(given, Proxy) else Proxy(given)


def proxy_problems(given: object) -> list[str]:
    """Return what is wrong with *given* as ``proxy=``, without showing a password."""
    try:
        as_proxy(given)  # type: ignore[arg-type]
    except DefinitionError as error:
        return [f"proxy=: {problem}" for problem in error.problems]
    return []


def _problems(url: object, password: object) -> list[str]:
    if password is not None and not isinstance(password, Secret):
        kind = type(password).__name__
        return [f"password= is a {kind}; give a Secret, as from Secret.from_env(...)"]
    if isinstance(url, Secret) or url == ENVIRONMENT:
        return [] if password is None else ["password= goes with a URL that has a user name"]
    if not isinstance(url, str):
        return [f"a {type(url).__name__} is no proxy; give its URL, such as {EXAMPLE!r}"]
    problem = _url_problem(url)
    if problem is None and password is not None:
        user, colon, _ = _userinfo_of(url).partition(":")
        if not user or colon:
            problem = "password= goes with a URL that has a user name, and no password"
    return [] if problem is None else [problem]


def _url_problem(url: str) -> str | None:
    """Return what is wrong with *url*, without repeating anything that may be a password."""
    found = URL.fullmatch(url) if len(url) <= URL_CHARS_MAX else None
    if found is None:
        return (
            f"it cannot be read as the URL of a proxy; expected such as {EXAMPLE}, with user name "
            "and password percent-encoded, if there are any, and no path"
        )
    if found["scheme"].lower() != "http":
        return (
            f"scheme {found['scheme']!r} is not spoken with proxies; give an http one, such as "
            f"{EXAMPLE}, for https targets too"
        )
    if found["port"] is None:
        return f"it names no port, and proxies have no usual one; expected such as {EXAMPLE}"
    if not 1 <= int(found["port"][1:]) <= 65_535:
        return f"its port is not from 1 to 65535; expected such as {EXAMPLE}"
    user, _, password = _userinfo_of(url).partition(":")
    if ":" in unquote(user) or CONTROL.search(unquote(user) + unquote(password)):
        return "its user name holds a colon, or name or password a control character"
    return host_problem(found["host"].strip("[]"))


def _taken_apart(url: str, password: str | None = None, *, what: str = "") -> Gate:
    problem = _url_problem(url)
    if problem is None and password is not None and CONTROL.search(password):
        problem = "the password holds a control character; strip it"
    found = URL.fullmatch(url)
    if problem is not None or found is None:
        raise DefinitionError("proxy", [f"{what}{': ' if what else ''}{problem}"])
    host, port = found["host"].strip("[]").lower(), int(found["port"][1:])
    userinfo = found["userinfo"]
    if not userinfo:
        return Gate(host, port)
    user, _, own = userinfo.partition(":")
    user, own = unquote(user), unquote(own) if password is None else password
    basic = base64.b64encode(f"{user}:{own}".encode()).decode("ascii")
    return Gate(host, port, f"Basic {basic}", (f"{user}:{own}", own or user))


def _userinfo_of(url: str) -> str:
    found = URL.fullmatch(url)
    return (found["userinfo"] or "") if found else ""


def _credentials(gate: Callable[[], Gate]) -> tuple[str, ...]:
    try:
        return gate().credentials
    except DefinitionError:  # which was never sent
        return ()

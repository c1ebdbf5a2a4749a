"""Headers: what may be sent, and what came back.

A line break inside a name or a value would begin a header, or a request, of
somebody else's choosing, so none passes in either direction. What frames the
message is ours alone. No problem ever repeats a value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

from pyflow.errors import shown
from pyflow.redaction import Revealable

__all__ = ["HeaderValue", "Headers", "Revealable", "header_problems", "is_header"]

OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "keep-alive"}
    | {"proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


HeaderValue: TypeAlias = str | Revealable


class Headers(Mapping[str, str]):
    """The headers of an answer, whatever the case of their names.

    A repeated header is one value, joined by commas (RFC 9110, section 5.2).
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            key = name.lower()
            self._values[key] = f"{self._values[key]}, {value}" if key in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._values)})"


def is_header(name: str, value: str) -> bool:
    """Whether *name* and *value* make a well-formed header."""
    return bool(TOKEN.fullmatch(name) and VALUE.fullmatch(value))


def header_problems(headers: object) -> list[str]:
    """Return what is wrong with *headers*, without ever repeating a value."""
    if headers is None:
        return []
    if not isinstance(headers, Mapping):
        return [f"headers= is a {type(headers).__name__}; give a dict of names and values"]
    problems: list[str] = []
    seen: set[str] = set()
    for name, value in cast("Mapping[object, object]", headers).items():
        problems += _header_problem(name, value, seen)
    return problems


def _header_problem(name: object, value: object, seen: set[str]) -> list[str]:
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        return [f"{shown(name)} is not the name of a header"]
    key = name.lower()
    if key in OURS:
        return [f"header {name!r} is set by the client; leave it out"]
    if key in seen:
        return [f"header {name!r} is there twice; case does not tell names apart"]
    seen.add(key)
    if isinstance(value, Revealable) or (isinstance(value, str) and VALUE.fullmatch(value)):
        return []
    problem = "is not text, or holds a line break, another control character or one outside Latin-1"
    return [f"the value of header {name!r} {problem}; strip it"]

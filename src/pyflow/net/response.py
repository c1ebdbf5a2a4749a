"""What a request brings back.

A status is for the caller to judge, so a 500 is a `Response` like any other.
Reading the body may fail: nothing is unpacked, and JSON means RFC 8259, which
has neither NaN nor infinities.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pyflow.errors import HTTPError, shown
from pyflow.net.url import parse_url

if TYPE_CHECKING:
    from pyflow.net.headers import Headers

__all__ = ["Response"]

CHARSET = re.compile(r"charset=\"?([A-Za-z0-9._-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class Response:
    """An answer, whatever its status: a 500 is an answer too."""

    status: int
    """From 200 to 999."""

    reason: str
    """The words after the status; often empty."""

    headers: Headers
    """The headers, whatever the case of their names."""

    body: bytes
    """The body as it was sent, complete; empty for HEAD, 204 and 304."""

    url: str
    """What was asked for in the end, after redirects; of a secret URL the host alone."""

    @property
    def text(self) -> str:
        """The body as text, in the charset that the answer names, else UTF-8.

        Bytes that the charset lacks are escaped by ``backslashreplace``; an
        unknown charset is read as UTF-8.

        Raises:
            HTTPError: The body is compressed.
        """
        self._refuse_compressed()
        named = CHARSET.search(self.headers.get("content-type", ""))
        try:
            return self.body.decode(named[1] if named else "utf-8", "backslashreplace")
        except (LookupError, ValueError):
            return self.body.decode("utf-8", "backslashreplace")

    def json(self) -> Any:
        """Return the body read as JSON; NaN and infinities are no JSON.

        Raises:
            HTTPError: The body is compressed, or is not JSON.
        """
        self._refuse_compressed()
        try:
            return json.loads(self.body, parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(f"the body is not JSON: {error}") from error

    def _refuse_compressed(self) -> None:
        coding = self.headers.get("content-encoding", "identity")
        if coding.lower() not in {"", "identity"}:
            raise self._unreadable(f"the body came with encoding {shown(coding)}, unasked")

    def _unreadable(self, reason: str) -> HTTPError:
        return HTTPError(str(parse_url(self.url)), "body", reason)

    def __repr__(self) -> str:
        return f"Response({self.status}, {str(parse_url(self.url))!r}, {len(self.body)} bytes)"


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _no_number(text[:40])
    return value

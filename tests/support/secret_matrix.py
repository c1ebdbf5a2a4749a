"""The secret matrix: values worth hiding, the renderings in which they turn up, and how a leak is seen.

`SECRETS` is one axis and `RENDERINGS` the other; `tests/test_secret_matrix.py`
takes them to every sink. A sink leaks if six consecutive characters of a
rendering are in it that are not in the same sink when masks were written to
begin with.
"""

from __future__ import annotations

import base64
import html
import json
import quopri
import random
import shlex
import string
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

__all__ = ["CHUNKS", "RENDERINGS", "SECRETS", "leaked", "said", "windows"]

RNG = random.Random(7)
WINDOW = 6
CARRIER = ("<before> ", " <after>")


def _random(size: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(RNG.choices(alphabet, k=size))


def _armoured(kind: str, lines: int, *, end: str = "\n") -> str:
    body = [_random(64, string.ascii_letters + string.digits + "+/") for _ in range(lines)]
    return end.join([f"-----BEGIN {kind}-----", *body, f"-----END {kind}-----", ""])


PUNCTUATION = "'\"\\<>&/%+=$`{}[]()^.*?|#!;:,@~"

SECRETS: dict[str, str] = {
    "six": "a1b2c3",
    "seven": "Zq7-x9!",
    "digits": "73510294",
    "padded": "  spaced-out-key  ",
    "github": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "slack": "xoxb-2345678901-abcdefghijklmn",
    "aws": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "uuid": "9f1c0c9e-6f0a-4a51-9d0e-3f2b8f1f7a55",
    "hex": "deadbeefcafef00d0123456789abcdef",
    "jwt": f"eyJhbGciOi.{_random(80)}.{_random(43)}",
    "base64": base64.b64encode(bytes(range(190, 222))).decode(),
    "base64 url": base64.urlsafe_b64encode(bytes(range(200, 248))).decode(),
    "webhook": f"https://hooks.example/services/T{_random(8)}/B{_random(8)}/{_random(24)}",
    "database": "postgres://shop:p%40ss-w0rd%21@db.example/shop?sslmode=require",
    "userinfo": "https://oauth2:glpat-aBcDeFgHiJkLmNoP@git.example/shop.git",
    "bearer": f"Bearer {_random(40)}",
    "header": f"Authorization: Basic {base64.b64encode(b'deploy:hunter2-hunter2').decode()}",
    "punctuation": "".join(RNG.sample(PUNCTUATION, len(PUNCTUATION))),
    "regex": r"^(?P<x>[a-z]+)\d{3,}$|.*?\1",
    "quotes": 'it\'s "both" \'kinds\' of "quote"',
    "backslashes": r"C:\new\table\x41\u0041\\share",
    "percent": "100%25%2F+a%20b=c&d",
    "markup": "<a href=\"x\">&amp;'y'</a>",
    "asterisks": "abc***def***ghi",
    "dashes": "------------------------x",
    "tabs": "tab\tand\x0bmore\x7f",
    "escape": "colour\x1b[31mred\x1b[0m-s3cr3t",
    "accents": "pässwörd-élève",
    "han": "密码是漢字也行的很好",
    "emoji": "🔑🗝️🔒s3cr3t😀🚀",
    "latin": "".join(map(chr, range(0xC0, 0xE0))),
    "prefix": "correct-horse-battery",
    "prefix longer": "correct-horse-battery-staple-correct",
    "overlaps itself": "abaabaabaabaab",
    "two lines": "first-half-of-it\nsecond-half-of-it",
    "crlf": "line-one-of-three\r\nline-two-of-three\r\nline-three-of-three",
    "json": json.dumps({"type": "account", "private_key": _random(40), "id": "x@y.example"}),
    "pem": _armoured("PRIVATE KEY", 20),
    "pem crlf": _armoured("CERTIFICATE", 12, end="\r\n"),
    "64 KiB": _random(65_536),
}
"""Forty values, from the shortest that can be hidden to the longest."""


def _lines(text: str, *, end: str) -> str:
    return end.join(text.splitlines())


def _encoded(encode: Callable[[bytes], bytes], before: int, *, bits: int) -> Callable[[str], str]:
    """Return a rendering with *before* bytes ahead: the part of it that the value alone decides."""

    def render(text: str) -> str:
        data = text.encode()
        whole = encode(b"p" * before + data + b"s" * (-(before + len(data)) % 15)).decode()
        return whole[-(-8 * before // bits) : 8 * (before + len(data)) // bits]

    return render


RENDERINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json utf-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json twice": lambda text: json.dumps(json.dumps(text))[3:-3],
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "ascii": lambda text: ascii(text)[1:-1],
    "html": html.escape,
    "html bare": lambda text: html.escape(text, quote=False),
    "shell": lambda text: shlex.quote(f" {text}")[2:-1],
    "bash -x": lambda text: text.replace("'", r"'\''"),
    "url": quote,
    "url safe": lambda text: quote(text, safe=""),
    "url plus": quote_plus,
    "url lower": lambda text: "".join(
        f"%{byte:02x}" if quote(chr(byte), safe="") != chr(byte) else chr(byte)
        for byte in text.encode()
    ),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base32": _encoded(base64.b32encode, 3, bits=5),
    "base64": _encoded(base64.b64encode, 0, bits=6),
    "base64 + 1": _encoded(base64.b64encode, 1, bits=6),
    "base64 + 2": _encoded(base64.b64encode, 2, bits=6),
    "base64 url": _encoded(base64.urlsafe_b64encode, 1, bits=6),
    "lines": lambda text: _lines(text, end="\n"),
    "lines crlf": lambda text: _lines(text, end="\r\n"),
    "ci command": lambda text: text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"),
    "quoted-printable": lambda text: (
        quopri.encodestring(f"{text}x".encode()).decode().replace("=\n", "").removesuffix("x")
    ),
    "sql": lambda text: text.replace("'", "''"),
}
"""Renderings, each of a whole value."""

CHUNKS: tuple[int, ...] = (1, 2, 7, 64, 4_096, 0)
"""Sizes of the pieces in which a stream comes; 0 stands for sizes drawn at random."""


def said(value: str) -> str:
    """Return *value* in all its renderings, each within other text, on lines of their own."""
    before, after = CARRIER
    return "\n".join(
        f"{before}{name}{before}{render(value)}{after}" for name, render in RENDERINGS.items()
    )


def masked(value: str) -> str:
    """Return what `said` would be if nothing but masks had been written."""
    del value
    before, after = CARRIER
    return "\n".join(f"{before}{name}{before}***{after}" for name in RENDERINGS)


def windows(text: str, *, step: int = 1) -> Iterator[str]:
    """Yield every *step*-th run of six consecutive characters of *text*."""
    for at in range(0, len(text) - WINDOW + 1, step):
        yield text[at : at + WINDOW]


def leaked(sink: str, *, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Return which secrets are in *sink*, by rendering, with what is seen of each."""
    seen = frozenset(windows(sink)) - allowed
    found: list[str] = []
    for kind, value in SECRETS.items():
        for name, render in RENDERINGS.items():
            text = render(value)
            shown = seen.intersection(windows(text, step=max(1, len(text) // 2_000)))
            if shown:
                found.append(f"{kind} as {name}: {sorted(shown)[:3]}")
    return found

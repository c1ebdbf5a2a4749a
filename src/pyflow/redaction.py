"""The forms in which a secret turns up in text, and which values are worth hiding.

A secret seldom leaks as it is: it leaks inside JSON, a repr, a URL, a shell
trace or a base64 header. `encoded_forms` lists those renderings, so that
finding a leak is a plain search for a few dozen strings.

Known limits. A value that was changed in one of these ways is not recognised:
upper-cased (or otherwise re-cased), reversed, spaced out, cut to a prefix by
somebody else, base85, UTF-16, compressed, or quoted-printable with a soft line
break within it. The same holds for encryption, for hashes and for two
encodings one over the other, JSON twice excepted.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from pyflow.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MASK", "Revealable", "encoded_forms", "protectable", "weakness"]

MASK = "***"
"""What stands in the place of a secret."""

CHARS_MIN = 6
CHARS_MAX = 65_536
LINES_MAX = 1_000
PATH_CHARS_MIN = 16

# fmt: off
ORDINARY = frozenset({
    "administrator", "change-me", "changeme", "default", "development", "disabled", "enabled",
    "example", "example.com", "localhost", "nothing", "passwd", "password", "placeholder",
    "private", "production", "public", "redacted", "secret", "secrets", "service", "staging",
    "testing", "undefined", "unknown", "username",
})
# fmt: on
"""Words that logs and records are full of: to hide them would hide the record."""

PRINTABLE = frozenset(b"\t !\"#$%&'()*+,-./0123456789:;<>?@[\\]^_`{|}~" + bytes(range(65, 123)))
ESCAPE = re.compile(r"%[0-9A-F]{2}")
CREDENTIALS = re.compile(r"(?:[\w-]+:\s*)?(?:Bearer|Basic|Token)\s+(\S+)", re.IGNORECASE)


def weakness(value: object) -> str | None:
    """Say why *value* cannot be protected and what to do about it; None if it can.

    The answer never holds the value.
    """
    if not isinstance(value, str):
        return f"a secret is a str, not {type(value).__name__}; decode or convert it before"
    core = value.strip()
    reason = None
    if not core:
        reason = "the value is empty; check that whatever should provide it has been set"
    elif len(core) < CHARS_MIN:
        reason = (
            f"the value has fewer than {CHARS_MIN} characters, so hiding it would mask ordinary "
            "text everywhere; use a longer secret, or pass a value this short as a plain parameter"
        )
    elif len(value) > CHARS_MAX or len(value.splitlines()) > LINES_MAX:
        reason = (
            f"the value has more than {CHARS_MAX:,} characters or {LINES_MAX:,} lines; "
            "make a secret of each credential in it"
        )
    elif len(set(core)) == 1 or core.casefold() in ORDINARY:
        reason = (
            "the value is an ordinary word or one character repeated, so hiding it would mask "
            "ordinary text everywhere; use a generated secret"
        )
    elif any("\ud800" <= char <= "\udfff" for char in core):
        reason = "the value is not valid Unicode text; give bytes such as a binary key as base64"
    return reason


@runtime_checkable
class Revealable(Protocol):
    """**Protocol:** a value that stays hidden until it is asked for by name, such as a `Secret`."""

    def reveal(self) -> str:
        """Return the plain value."""
        ...


def protectable(subject: str, value: object) -> str:
    """Return *value*, if it can be hidden.

    Raises:
        SecretError: It cannot; names *subject*, and never shows the value.
    """
    reason = weakness(value)
    if reason is not None:
        raise SecretError(f"{subject}: {reason}")
    return cast("str", value)


def encoded_forms(value: str) -> frozenset[str]:
    """Return every form in which *value*, or a telling part of it, is looked for.

    Parts are each line of a text of several lines (with either line break),
    the credentials in a URL, or its path and query where it has none, and the
    token of an ``Authorization`` header.
    Each part comes raw and as JSON, repr, HTML, shell, SQL, URL, CI command,
    quoted-printable, hex, base32 and base64.
    """
    return frozenset(form for part in _parts(value) for form in _renderings(part))


def _parts(value: str) -> Iterator[str]:
    yield value
    lines = value.splitlines()
    if len(lines) > 1 or lines != [value]:
        yield "\n".join(lines)
        yield "\r\n".join(lines)
    inner = [line.strip() for line in lines]
    inner += _credentials(value.strip())
    yield from (part for part in inner if weakness(part) is None)


def _credentials(value: str) -> list[str]:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415 - it takes two milliseconds to import

    header = CREDENTIALS.fullmatch(value)
    if header is not None:
        return [header[1]]
    try:
        url = urlsplit(value)
    except ValueError:
        return []
    found = url.password or url.username
    if found:
        return [found, unquote(found)]
    if url.scheme not in ("http", "https"):
        return []
    # The path of a webhook is its credential, and pages that say "not found" repeat it.
    path = f"{url.path}?{url.query}" if url.query else url.path
    parts = [path, url.path, url.path.rpartition("/")[2], *re.split("[&=]", url.query)]
    return [part for part in parts if len(part) >= PATH_CHARS_MIN]


def _renderings(text: str) -> Iterator[str]:
    yield text
    yield from _as_json(text)
    yield from _as_repr(text)
    yield from _as_html(text)
    yield from _in_shell(text)
    yield from _in_url(text)
    yield from _doubled(text)
    yield from _in_ci(text)
    data = text.encode()
    yield _in_mail(data)
    yield data.hex()
    yield data.hex().upper()
    yield from _aligned(data, base64.b32encode, group=5, bits=5)
    yield from _aligned(data, base64.b64encode, group=3, bits=6)
    yield from _aligned(data, base64.urlsafe_b64encode, group=3, bits=6)


def _as_json(text: str) -> Iterator[str]:
    ascii_only = json.dumps(text)[1:-1]
    for once in (ascii_only, json.dumps(text, ensure_ascii=False)[1:-1]):
        yield once
        yield json.dumps(once)[1:-1]
        yield json.dumps(once, ensure_ascii=False)[1:-1]
    # Go escapes these three unless told otherwise, and most deployment tools are written in Go.
    yield ascii_only.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _as_repr(text: str) -> Iterator[str]:
    data = text.encode()
    yield repr(text)[1:-1]
    yield ascii(text)[1:-1]
    yield repr(data)[2:-1]
    # A double quote elsewhere in the same string makes repr escape the single ones.
    yield repr('"' + text)[2:-1]
    yield ascii('"' + text)[2:-1]
    yield repr(b'"' + data)[3:-1]


def _as_html(text: str) -> Iterator[str]:
    # As `html.escape` does it; that module takes a millisecond to import.
    bare = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    quoted = bare.replace('"', "&quot;").replace("'", "&#x27;")
    yield bare
    yield bare.replace('"', "&quot;")
    yield quoted
    yield quoted.replace("&#x27;", "&#39;")
    yield quoted.replace("&#x27;", "&apos;")
    yield quoted.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _in_shell(text: str) -> Iterator[str]:
    # A single quote inside single quotes, as `shlex.quote` and as `bash -x` write it.
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", r"'\''")


def _doubled(text: str) -> Iterator[str]:
    # A quote inside quotes of its kind, as SQL, YAML, CSV and PowerShell write it.
    yield text.replace("'", "''")
    yield text.replace('"', '""')


def _in_ci(text: str) -> Iterator[str]:
    # In a workflow command of GitHub Actions: its text, and the value of a property.
    message = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    yield message
    yield message.replace(":", "%3A").replace(",", "%2C")


def _in_mail(data: bytes) -> str:
    # Quoted-printable (RFC 2045, section 6.7), before its lines are broken.
    return "".join(
        chr(byte) if byte in PRINTABLE or byte in b"\r\n" else f"={byte:02X}" for byte in data
    )


def _in_url(text: str) -> Iterator[str]:
    from urllib.parse import quote, quote_plus  # noqa: PLC0415 - it takes two milliseconds to import

    for form in (quote(text), quote(text, safe=""), quote_plus(text), quote_plus(text, safe="/")):
        yield form
        yield ESCAPE.sub(lambda found: found[0].lower(), form)


def _aligned(
    data: bytes, encode: Callable[[bytes], bytes], *, group: int, bits: int
) -> Iterator[str]:
    """Encode *data* at each place where it may begin within a *group* of bytes.

    Of each encoding only the characters that *data* alone decides are kept:
    those from ``ceil(8k / bits)`` up to ``floor(8(k + len) / bits)`` for a
    beginning at byte k. They are the same whatever stands before and after.
    """
    for start in range(group):
        text = encode(bytes(start) + data).decode("ascii").rstrip("=")
        yield text[-(-8 * start // bits) : 8 * (start + len(data)) // bits]

"""HTML in small pieces: what is text is escaped, and what is markup says so by its type."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pyflow.record.rendering import fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Markup", "block", "said", "table", "tag"]

CELL_COLUMNS_MAX = 400
BLOCK_CHARS_MAX = 8_000
VOID = ("meta", "br")


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def tag(name: str, *inside: str, style: str = "", **attributes: str) -> Markup:
    """Return an element; *inside* is escaped where it is no `Markup`, attributes always."""
    given = {"class": style, **attributes} if style else attributes
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(v)}"' for key, v in given.items()
    )
    if name in VOID:
        return Markup(f"<{name}{words}>")
    content = "".join(part if isinstance(part, Markup) else escape(part) for part in inside)
    return Markup(f"<{name}{words}>{content}</{name}>")


def said(words: object, columns: int = CELL_COLUMNS_MAX) -> str:
    """Return *words* on one line, in visible characters, for `tag` to escape."""
    return fitted(words, columns)


def block(words: str) -> Markup:
    """Return *words* in their own lines, such as a traceback, in visible characters."""
    shown = words if len(words) <= BLOCK_CHARS_MAX else f"{words[:BLOCK_CHARS_MAX]}\n…"
    lines = [
        "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in line)
        for line in shown.split("\n")
    ]
    return tag("pre", "\n".join(lines))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "") -> Markup:
    """Return a table in a frame that scrolls where it is too wide."""
    heads = (tag("th", words, scope="col") for words in head)
    body = (tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    whole = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body), style=style)
    return tag("div", whole, style="wide")

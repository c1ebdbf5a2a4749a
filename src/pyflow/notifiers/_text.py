"""Text for other programs: on one line, without control characters, within a limit."""

from __future__ import annotations

import re

__all__ = ["cut", "line_of", "plain"]

LINE_CHARS_MAX = 300
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return *text* without what steers a terminal or turns the direction of writing around.

    Line breaks and tabs stay; lone surrogates become question marks.
    """
    clean = CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return clean.encode("utf-8", "replace").decode()


def line_of(text: str, *, chars: int = LINE_CHARS_MAX) -> str:
    """Return *text* on one line of at most *chars* characters."""
    return cut(" ".join(plain(text[: chars * 4]).split()), chars)


def cut(text: str, chars: int) -> str:
    """Return *text*, or as much of it as fits into *chars* characters with an ellipsis."""
    return text if len(text) <= chars else text[: max(0, chars - 1)] + "…"

"""Marks survive what chats, mail and Markdown do to them."""

from __future__ import annotations

import pytest

from pyflow.record.marks import marks_in

HASH = "0123456789abcdef" * 4
MARK = f"20261127-101500-8f3a2b1c@11:{HASH}"


@pytest.mark.parametrize(
    "text",
    [
        MARK,
        f"Anchor: {MARK}.",
        f"Anchor of its record: `{MARK}`",
        f"**{MARK}**",
        MARK.replace("-", "\\-"),
        f"{MARK[:40]}\n{MARK[40:]}",
        f"> {MARK[:40]}\n> {MARK[40:]}",
        f"{MARK[:20]}\u200b{MARK[20:]}",
    ],
)
def test_are_found(text: str) -> None:
    """A mark is read wherever it stands, broken over lines or decorated."""
    assert list(marks_in(text)) == [("20261127-101500-8f3a2b1c", 11, HASH)]


@pytest.mark.parametrize("text", ["", "hello", MARK[:-1], f"{MARK}0", MARK.replace("@11", "@0")])
def test_are_nothing_else(text: str) -> None:
    """What is cut, longer or of no record is no mark."""
    assert list(marks_in(text)) == []

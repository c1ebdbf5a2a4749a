"""Marks: where the record of a run ended, short enough for a message, and whole enough for evidence.

A mark is ``RUN@RECORDS:HASH``. Whoever got one can hold the record against it
later, because the hash covers everything up to that record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.record.codec import Record

__all__ = ["mark_of", "marks_in"]

MARK = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]{0,199})@([1-9][0-9]{0,14}):([0-9a-f]{64})(?![0-9a-f])"
)
DECORATION = re.compile(r"[`*\\\u200b\u200c\u200d\u2060\ufeff]")
"""What chats, mail and Markdown put around and into words."""


def mark_of(record: Record) -> str:
    """Return the mark of a run whose record ends with *record*."""
    return f"{record.run_id}@{record.seq}:{record.hash}"


def marks_in(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield run, number of records and hash of the marks in *text*, as people copy it.

    What stands around a mark does not matter, nor does a line that was broken inside of one.
    """
    plain = DECORATION.sub("", text)
    found = MARK.findall(plain) or MARK.findall(re.sub(r"[\s>]+", "", plain))
    for run_id, records, digest in found:
        yield run_id, int(records), digest

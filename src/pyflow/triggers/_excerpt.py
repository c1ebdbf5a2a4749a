"""The end of a log, fit to be shown: short, without colours, timestamps and control characters."""

from __future__ import annotations

import re

from pyflow.notifiers._text import plain

__all__ = ["LOG_CHARS_MAX", "log_end"]

LOG_CHARS_MAX = 2_000
LINES_MAX = 30
COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
STAMP = re.compile(r"^\ufeff?\d{4}-\d\d-\d\dT[\d:.]+Z ", re.MULTILINE)
SECTION = re.compile(r"section_(?:start|end):\d+:[^\r\n]*\r?")


def log_end(text: str) -> str:
    """Return the last lines of *text*, at most 30 lines and 2,000 characters."""
    tail = SECTION.sub("", STAMP.sub("", COLOUR.sub("", text[-8 * LOG_CHARS_MAX :])))
    lines = [line.rstrip() for line in plain(tail).split("\n")]
    kept = [line for line in lines if line][-LINES_MAX:]
    found = "\n".join(kept)
    return found if len(found) <= LOG_CHARS_MAX else "…" + found[1 - LOG_CHARS_MAX :]

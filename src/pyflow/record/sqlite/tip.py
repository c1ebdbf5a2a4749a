"""Where a journal ends: its last record, its last commit, and the chain up to there.

The chain runs through the records of all runs, in the order in which they
were committed. Each link is SHA-256 over a domain tag, the number of the
commit, the link before it and the record's own hash, so a journal with
another past has another tip.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pyflow.frozen import frozen
from pyflow.record.sqlite.cells import checked

if TYPE_CHECKING:
    import sqlite3

__all__ = ["START", "Tip", "link", "tip_of"]

DOMAIN = "pyflow-journal-v1\0"


@frozen
class Tip:
    """The end of a journal."""

    n: int
    """Number of the last record; 0 where there is none."""

    commit: int
    """Number of the commit that wrote it."""

    chain: str
    """The link of the chain that belongs to it, in hexadecimal."""


START = Tip(0, 0, "0" * 64)
"""The end of a journal that holds nothing yet."""


def link(chain: str, commit: int, digest: str) -> str:
    """Return the link of the record whose hash is *digest*, after the link *chain*."""
    return hashlib.sha256(f"{DOMAIN}{commit}:{chain}:{digest}".encode()).hexdigest()


def tip_of(cursor: sqlite3.Cursor | sqlite3.Connection) -> Tip:
    """Return where the journal ends that *cursor* reads.

    Raises:
        JournalError: Its last record is damaged.
    """
    row = cursor.execute(
        "SELECT n, commit_no, chain FROM records ORDER BY n DESC LIMIT 1"
    ).fetchone()
    return Tip(*checked("the last record", row, int, int, str)) if row else START

"""What was removed from a journal: where its gaps are, and in which archive their records are.

A cut is recorded in the journal's own chain, in the commit that removes the
records. It names the gaps and the link of the chain at the end of each, so
what follows a gap is chained to what was there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError
from pyflow.frozen import frozen
from pyflow.record import events as ev
from pyflow.record.codec import decode_line
from pyflow.record.ledger import CUTS
from pyflow.record.sqlite.tip import Tip

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from pyflow.record.sqlite.commit import Tail

__all__ = ["Cut", "Gap", "cuts_in", "remove"]

LINES = "SELECT CAST(line AS BLOB) FROM records WHERE run_id = ? ORDER BY seq"
COUNT = "SELECT records FROM runs WHERE run_id = ?"
HELD = "SELECT resource, run_id FROM locks WHERE run_id IS NOT NULL"


@frozen
class Gap:
    """Records that stood one after the other, and are gone."""

    first: int
    """The journal's number of the first."""

    end: Tip
    """Where the journal ended with the last of them."""


@frozen
class Cut:
    """What was removed at one time."""

    archive: str
    """Name of the file that it is in."""

    digest: str
    """SHA-256 of what that file holds, in hexadecimal."""

    records: int
    """How many records."""

    upto: int
    """The journal's number of the last of them."""

    runs: frozenset[str]
    """The runs."""

    gaps: tuple[Gap, ...]
    """Where they were, in order."""

    at: str
    """When they were removed, in UTC."""

    by: str
    """Who did it."""

    reason: str
    """What was to be archived."""

    def __str__(self) -> str:
        return (
            f"{self.records:,} records up to record {self.upto}, of {len(self.runs):,} runs, are "
            f"archived in {self.archive} under digest {self.digest}, by {self.by}"
        )


def cuts_in(connection: sqlite3.Connection | sqlite3.Cursor) -> list[Cut]:
    """Return what was removed, in order; what cannot be read is for `verify` to tell."""
    cuts: list[Cut] = []
    for (line,) in connection.execute(LINES, (CUTS,)):
        try:
            record = decode_line(line.decode("ascii"))
            if isinstance(record.event, ev.RecordsArchived):
                cuts.append(_cut(record.event, record.at.isoformat()))
        except (JournalError, AttributeError, UnicodeDecodeError, TypeError, ValueError):
            continue
    return cuts


def _cut(event: ev.RecordsArchived, at: str) -> Cut:
    gaps = [Gap(first, Tip(last, commit, chain)) for first, last, commit, chain in event.parts]
    return Cut(
        archive=event.archive,
        digest=event.digest,
        records=event.records,
        upto=event.upto,
        runs=frozenset(event.runs),
        gaps=tuple(gaps),
        at=at,
        by=event.by,
        reason=event.reason,
    )


def remove(
    cursor: sqlite3.Cursor, gaps: Iterable[Gap], ends: Mapping[str, Tail], beside: Sequence[str]
) -> None:
    """Remove the records in *gaps*, in the transaction that *cursor* is in.

    Args:
        cursor: In a write transaction.
        gaps: What to remove.
        ends: Where each chain that is in them ended when it was archived.
        beside: Chains that the runs did not have then, and may have got since.

    Raises:
        JournalError: A run has gone on since, or holds a lock.
    """
    for run_id in (*ends, *beside):
        row = cursor.execute(COUNT, (run_id,)).fetchone()
        if (row[0] if row else 0) != (ends[run_id].seq if run_id in ends else 0):
            raise JournalError(
                f"run {run_id!r} has gone on while it was being archived, so nothing was removed; "
                "archive again"
            )
    for resource, run_id in cursor.execute(HELD).fetchall():
        if run_id in ends:
            raise JournalError(
                f"run {run_id!r} has the lock {resource!r}, so nothing was removed; archive again "
                "once it has let go"
            )
    for gap in gaps:
        place: tuple[Any, ...] = (gap.first, gap.end.n)
        cursor.execute("DELETE FROM records WHERE n BETWEEN ? AND ?", place)
        if cursor.rowcount != gap.end.n - gap.first + 1:
            raise JournalError(
                f"records {gap.first} to {gap.end.n} are not all there any more, so nothing was "
                "removed; see what verify() finds"
            )
    for run_id in ends:
        for table in ("runs", "inbox"):
            cursor.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))  # noqa: S608

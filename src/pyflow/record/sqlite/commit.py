"""One commit: the events of any number of runs, sealed, chained and put into the tables."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError, PyflowError, TamperedJournal
from pyflow.frozen import frozen
from pyflow.record.batches import Batch
from pyflow.record.codec import GENESIS, decode_line, is_intact, seal_lines
from pyflow.record.events import NotificationsClosed, RunFinished, RunStarted
from pyflow.record.sqlite import locks
from pyflow.record.sqlite.inbox import take
from pyflow.record.sqlite.tip import Tip, link, tip_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pyflow.protocols import Lease
    from pyflow.record.codec import Record
    from pyflow.record.events import Event

__all__ = ["ENDS", "NOTHING", "UNFINISHED", "Batch", "Commit", "Tail", "last_of", "status_after"]

INSERT = "INSERT INTO records (n, run_id, seq, commit_no, line, chain) VALUES (?, ?, ?, ?, ?, ?)"
BEGIN_RUN = "INSERT INTO runs (run_id, began, records, workflow, status) VALUES (?, ?, ?, ?, ?)"
KEEP_RUN = "UPDATE runs SET records = ?, status = ? WHERE run_id = ?"
IF_HELD = f" AND EXISTS ({locks.HELD})"
FENCES_MAX = 16
"""How many locks are asked for in one statement; SQLite takes some hundred."""
LAST = "SELECT line FROM records WHERE run_id = ? ORDER BY seq DESC LIMIT 1"
UNFINISHED = "unfinished"
ENDS = (RunFinished, NotificationsClosed)
"""What a run, and what was told about it, end with, unless they are taken up again."""


@frozen
class Tail:
    """Where a run's own chain ends."""

    seq: int
    """Number of its last record."""

    hash: str
    """That record's hash."""


NOTHING = Tail(0, GENESIS)
"""The end of a run that has no records."""


class Commit:
    """Adds batches inside one write transaction.

    Args:
        cursor: In that transaction.
        believed: Where the journal's user believes that runs end.
        sure: Those for which that is so as long as the journal ends at *seen*.
        seen: Where the journal ended when its user last wrote.
    """

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        believed: Mapping[str, Tail],
        sure: AbstractSet[str],
        seen: Tip,
    ) -> None:
        self.tip = tip_of(cursor)
        self.is_next = self.tip.chain == seen.chain
        """Whether nobody has written since *seen*."""
        self.tails: dict[str, Tail] = {}
        """Where the runs of this commit end now."""
        self.finished: set[str] = set()
        """Those that have come to their end."""
        self._cursor = cursor
        self._believed = believed
        self._sure = sure if self.is_next else frozenset[str]()
        self._number = self.tip.commit + 1
        self._failed: dict[str, PyflowError] = {}

    def add_all(self, batches: Sequence[Batch]) -> list[list[Record] | PyflowError]:
        """Add every batch that can be; one that cannot leaves nothing, and fails alone.

        What a run has to record after a batch that failed fails as well, for
        the same reason: a record must not have holes.
        """
        return [self._attempt(batch) for batch in batches]

    def add(self, batch: Batch) -> list[Record]:
        """Add *batch*.

        Raises:
            JournalError: It cannot be written, or does not continue the run.
            LockLost: The run has lost one of its locks.
        """
        if not batch.events:
            return []
        tail = self._tail(batch.run_id)
        sealed = seal_lines(batch.run_id, batch.events, at=batch.at, seq=tail.seq, prev=tail.hash)
        records = [record for record, _ in sealed]
        # A few locks are asked for by the statement that notes where the run ends, if it has one.
        beside = batch.fences if tail.seq and len(batch.fences) <= FENCES_MAX else ()
        if not beside:
            locks.check(self._cursor, batch.fences)
        try:
            tip = self._insert(sealed)
            self._index(records[0], records[-1], tip.n - len(records) + 1, beside)
        except sqlite3.IntegrityError as error:
            raise JournalError(
                f"records of run {batch.run_id!r} stand where new ones belong ({error}), so the "
                "journal is damaged. Nothing was written; see what verify() finds"
            ) from error
        self.tip = tip
        return records

    def _attempt(self, batch: Batch) -> list[Record] | PyflowError:
        earlier = self._failed.get(batch.run_id)
        if earlier is not None:
            return earlier
        self._cursor.execute("SAVEPOINT batch")
        try:
            records = self.add(batch)
        except PyflowError as error:
            self._cursor.execute("ROLLBACK TO batch")
            self._cursor.execute("RELEASE batch")
            self._failed[batch.run_id] = error
            return error
        self._cursor.execute("RELEASE batch")
        return records

    def _tail(self, run_id: str) -> Tail:
        """Return where *run_id* ends, if that is where its user believes that it does."""
        if run_id in self.tails:
            return self.tails[run_id]
        known = self._believed.get(run_id)
        if known is not None and run_id in self._sure:
            return known
        last = last_of(self._cursor, run_id)
        tail = Tail(last.seq, last.hash) if last else NOTHING
        if known not in (None, tail):
            raise JournalError(
                f"run {run_id!r} was continued by another process: it ends at record {tail.seq} "
                f"now, and this one knows it up to record {known.seq}. Nothing was written; read "
                "the run again, and go on from there"
            )
        return tail

    def _insert(self, sealed: Sequence[tuple[Record, str]]) -> Tip:
        n, chain, number = self.tip.n, self.tip.chain, self._number
        rows: list[tuple[Any, ...]] = []
        for record, line in sealed:
            n += 1
            chain = link(chain, number, record.hash)
            rows.append((n, record.run_id, record.seq, number, line, chain))
            take(self._cursor, record, n)
        self._cursor.executemany(INSERT, rows)
        return Tip(n, number, chain)

    def _index(self, first: Record, last: Record, began: int, fences: Sequence[Lease]) -> None:
        """Have the index of runs, and whoever goes on from here, know where the run ends now."""
        run_id, status = last.run_id, status_after(last.event)
        if first.seq == 1:
            row = (run_id, began, last.seq, workflow_of(first.event), status)
            self._cursor.execute(BEGIN_RUN, row)
        else:
            self._keep(first, (last.seq, status, run_id), fences)
        self.tails[run_id] = Tail(last.seq, last.hash)
        if isinstance(last.event, ENDS):
            self.finished.add(run_id)
        else:
            self.finished.discard(run_id)

    def _keep(self, first: Record, row: tuple[int, str, str], fences: Sequence[Lease]) -> None:
        """Change the run's entry to *row*, if *fences* hold; one statement asks and writes."""
        values: list[object] = [*row]
        for lease in fences:
            values += (lease.resource, lease.epoch, lease.run_id)
        if self._cursor.execute(KEEP_RUN + IF_HELD * len(fences), values).rowcount != 1:
            locks.check(self._cursor, fences)
            raise missing_entry(first.run_id, first.seq)


def last_of(cursor: sqlite3.Cursor, run_id: str) -> Record | None:
    """Return the last record of *run_id*, or None if it has none.

    Raises:
        TamperedJournal: It is not what was written, or what should follow it is gone.
    """
    counted = cursor.execute("SELECT records FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    row = cursor.execute(LAST, (run_id,)).fetchone()
    if row is None and counted is None:
        return None
    if counted is None:
        raise missing_entry(run_id, 1)
    record = decode_line(row[0]) if row else None
    check_end(run_id, record, counted[0])
    if record is not None and not is_intact(record):
        raise TamperedJournal(
            f"record {record.seq} of run {run_id!r} was changed after it was written",
            run_id=run_id,
            seq=record.seq,
        )
    return record


def check_end(run_id: str, last: Record | None, count: object) -> None:
    """Make sure that *last* is the last of *count* records of *run_id*; damage makes that anything.

    Raises:
        TamperedJournal: It is not.
    """
    seq = last.seq if last else 0
    if seq != count or (last is not None and last.run_id != run_id):
        raise TamperedJournal(
            f"run {run_id!r} has {count} records by the index of runs, but its record ends at "
            f"number {seq}; what there is cannot be trusted. See what verify() finds",
            run_id=run_id,
            seq=min(seq, count) + 1 if isinstance(count, int) else 1,
        )


def missing_entry(run_id: str, seq: int) -> TamperedJournal:
    """Return the error for a run that has records, but no entry in the index of runs."""
    return TamperedJournal(
        f"run {run_id!r} has records, but is not in the index of runs, so one of the two is "
        "damaged. See what verify() finds",
        run_id=run_id,
        seq=seq,
    )


def workflow_of(first: Event) -> str | None:
    """Return the workflow of a run whose record begins with *first*."""
    return first.workflow if isinstance(first, RunStarted) else None


def status_after(last: Event) -> str:
    """Return how the index of runs calls a run whose record ends with *last*."""
    return last.status if isinstance(last, RunFinished) else UNFINISHED

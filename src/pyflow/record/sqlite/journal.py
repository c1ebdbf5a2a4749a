"""The journal on disk.

`SQLiteJournal` is a `Journal` whose records outlast the process, the machine
and, with their hashes, doubt. Several processes may have one open: each run
is written by one of them at a time, and one that falls behind is told so
instead of being allowed to write.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Self

from pyflow.errors import JournalError, PyflowError
from pyflow.messages import ENDINGS
from pyflow.record.codec import decode_line, unsealed, verify_chain
from pyflow.record.ledger import CUTS, is_ledger
from pyflow.record.sqlite.cells import checked
from pyflow.record.sqlite.commit import ENDS, Batch, Commit, Tail, check_end, last_of, missing_entry
from pyflow.record.sqlite.cuts import Cut, Gap, cuts_in, remove
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.inbox import PENDING, Message, message_of, put
from pyflow.record.sqlite.reading import Finding
from pyflow.record.sqlite.tip import START
from pyflow.record.sqlite.verify import findings_of

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pyflow.protocols import JSON, Lease
    from pyflow.record.codec import Record
    from pyflow.record.events import Event, RecordsArchived

__all__ = ["Batch", "Finding", "Message", "SQLiteJournal"]

READ = "SELECT line FROM records WHERE run_id = ? AND seq >= ? ORDER BY seq"
LATEST = "SELECT run_id, began FROM runs ORDER BY rowid DESC"
"""Walks from the end of the table, where rows are put when a run begins, and needs no index."""
UNENDED = """
SELECT run_id FROM runs WHERE status IS NULL OR status NOT IN (?, ?, ?, ?, ?) ORDER BY began
"""
"""Is given the `ENDINGS`. Takes in what damage has made of a status: whoever reads the run finds out."""


class SQLiteJournal:
    """Keeps the records of every run in a file, chained one by one and all together.

    A run is continued from where this journal has last written it, or read it
    as a whole, and from nowhere else: where another process has continued it
    in the meantime, `append` fails until the run has been read again.

    Args:
        database: The path of the file, which is made if it is not there, or a
            `Database` that is open; that one stays open when the journal is
            closed.
        accept_loss: For a path, what it is for a `Database`.

    Raises:
        JournalError: It cannot be opened, and was not touched.
        JournalIntegrityError: It is not what it was, and was not touched.
    """

    def __init__(
        self, database: str | os.PathLike[str] | Database, /, *, accept_loss: bool = False
    ) -> None:
        self._is_mine = not isinstance(database, Database)
        self.database = (
            database
            if isinstance(database, Database)
            else Database(database, accept_loss=accept_loss)
        )
        self._believed: dict[str, Tail] = {}
        self._sure: set[str] = set()
        self._tip = START
        try:
            self._version = self._data_version()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<SQLiteJournal {str(self.database.path)!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd when the file was opened, in sentences."""
        return self.database.notes

    # Writing ------------------------------------------------------------------------------

    def append(
        self,
        run_id: str,
        events: Sequence[Event],
        /,
        *,
        at: datetime,
        fences: Sequence[Lease] = (),
    ) -> list[Record]:
        """Add *events* to the record of *run_id* in one durable commit.

        Raises:
            JournalError: Nothing was written. Only where the disk failed in
                the commit itself is that in doubt, which the error says.
            LockLost: The run holds one of *fences* no more. Nothing was written.
        """
        with self.database.lock:
            self.database.head.settle()
            with self.database.writing() as cursor:
                commit = self._commit(cursor)
                records = commit.add(Batch(run_id, events, at, fences))
            self._committed(commit)
        return records

    def append_all(self, batches: Sequence[Batch], /) -> list[list[Record] | PyflowError]:
        """Add what many runs have to record in one durable commit.

        Returns:
            For each batch its records, or the error for which it, and it
            alone, was left out. What a run has to record after a batch that
            was left out is left out too.

        Raises:
            JournalError: The commit failed, so nothing of any batch was written.
        """
        if len(batches) == 1:
            return [self._append_alone(batches[0])]
        with self.database.lock:
            self.database.head.settle()
            with self.database.writing() as cursor:
                commit = self._commit(cursor)
                answers = commit.add_all(batches)
            self._committed(commit)
        return answers

    def _append_alone(self, batch: Batch) -> list[Record] | PyflowError:
        """Add *batch*, or return why it cannot be: without others, that ends the whole commit."""
        refusal: PyflowError | None = None
        with self.database.lock:
            self.database.head.settle()
            try:
                with self.database.writing() as cursor:
                    commit = self._commit(cursor)
                    try:
                        records = commit.add(batch)
                    except PyflowError as error:
                        refusal = error
                        raise
            except PyflowError as error:
                if error is not refusal:
                    raise
                return error
            self._committed(commit)
        return records

    def put(
        self,
        run_id: str,
        command: str,
        /,
        *,
        at: datetime,
        task: str | None = None,
        by: str | None = None,
        reason: str | None = None,
        data: JSON = None,
    ) -> str:
        """Ask something of *run_id*, whoever owns it, and return the id of the message.

        It is taken up by an event that names it as its `inbox_id`.

        Raises:
            JournalError: There is no such run, or nothing could be written.
        """
        with self.database.writing() as cursor:
            return put(cursor, (run_id, command, task, by, reason), at, data)

    def cut(
        self,
        event: RecordsArchived,
        /,
        *,
        at: datetime,
        gaps: Iterable[Gap],
        ends: Mapping[str, Tail],
        beside: Sequence[str] = (),
    ) -> Record:
        """Record *event*, and remove the records that it says are archived, in one durable commit.

        For `pyflow.record.archive`, which has them in an archive by then.

        Args:
            event: What was archived.
            at: When.
            gaps: Where those records are.
            ends: Where each run that they are of ended then.
            beside: Chains that had no record then.

        Raises:
            JournalError: A run has gone on since, or nothing can be written.
                Nothing was removed.
        """
        with self.database.lock:
            self.database.head.settle()
            with self.database.writing() as cursor:
                commit = self._commit(cursor)
                [record] = commit.add(Batch(CUTS, [event], at))
                remove(cursor, gaps, ends, beside)
            self._committed(commit)
        return record

    def compact(self) -> None:
        """Give the room of records that were removed back to the file system.

        Everybody who writes has to wait for it.

        Raises:
            JournalError: Somebody else is writing, or there is no room for a copy.
        """
        self.database.reading("VACUUM")
        self.database.reading("PRAGMA wal_checkpoint(TRUNCATE)")

    # Reading ------------------------------------------------------------------------------

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        """Return the records of *run_id* whose number is above *after*.

        They are checked: each is what was written, follows from the one
        before it, and none is missing.

        Raises:
            TamperedJournal: They are not.
        """
        after = max(after, 0)
        with self.database.lock:
            with self.database.snapshot() as cursor:
                records = _records_of(cursor, run_id, after)
            if after == 0:
                self._note(run_id, records)
        return records

    def last(self, run_id: str, /) -> Record | None:
        """Return the last record of *run_id*, or None if it has none.

        Raises:
            TamperedJournal: It is not what was written.
        """
        with self.database.snapshot() as cursor:
            return last_of(cursor, run_id)

    def runs(self) -> list[str]:
        """Return the ids of all runs, in the order in which they began.

        Raises:
            JournalError: The index of runs is damaged.
        """
        rows = self.database.reading("SELECT run_id FROM runs ORDER BY began")
        ids = [checked("the index of runs", row, str)[0] for row in rows]
        return [run_id for run_id in ids if not is_ledger(run_id)]

    def latest(self, count: int, /) -> list[str]:
        """Return the ids of the *count* runs that began last, in the order in which they began.

        Raises:
            JournalError: The index of runs is damaged.
        """
        with self.database.snapshot() as cursor:
            rows = (checked("the index of runs", row, str, int) for row in cursor.execute(LATEST))
            runs = ((began, run_id) for run_id, began in rows if not is_ledger(run_id))
            return [run_id for _, run_id in sorted(islice(runs, count))]

    def unfinished(self) -> list[str]:
        """Return the ids of runs that the index does not know to have ended, in order.

        It is an index: read a run to know how it stands.

        Raises:
            JournalError: The index of runs is damaged.
        """
        rows = self.database.reading(UNENDED, ENDINGS)
        ids = [checked("the index of runs", row, str)[0] for row in rows]
        return [run_id for run_id in ids if not is_ledger(run_id)]

    def cuts(self) -> list[Cut]:
        """Return what was removed and is in archives, in order."""
        with self.database.snapshot() as cursor:
            return cuts_in(cursor)

    def pending(self, run_id: str | None = None, /) -> list[Message]:
        """Return what was asked of *run_id*, or of any run, and not taken up, in order."""
        if run_id is None:
            rows = self.database.reading(f"{PENDING} ORDER BY id")
        else:
            rows = self.database.reading(f"{PENDING} AND run_id = ? ORDER BY id", (run_id,))
        return [message_of(row) for row in rows]

    def changed(self) -> bool:
        """Return whether anybody else has written since this was last asked."""
        before, self._version = self._version, self._data_version()
        return self._version != before

    def verify(self) -> list[Finding]:
        """Read everything, and return whatever is not as it was written.

        An empty list says that no record was changed, moved, taken out or put
        in. What it cannot say is in `pyflow.record.sqlite.head`.
        """
        return findings_of(self.database.path)

    def forget(self, run_id: str, /) -> None:
        """Keep nothing of *run_id* in memory: whoever goes on with it reads it before."""
        with self.database.lock:
            self._forget({run_id})

    def close(self) -> None:
        """Let go of the file, if it was this journal that opened it."""
        if self._is_mine:
            self.database.close()

    # Keeping up ---------------------------------------------------------------------------

    def _commit(self, cursor: sqlite3.Cursor) -> Commit:
        commit = Commit(cursor, self._believed, self._sure, self._tip)
        if commit.tip.n < self._tip.n:
            raise JournalError(
                f"{self.database.path} ends at record {commit.tip.n}, and had {self._tip.n} when "
                "this process wrote last: it was exchanged while it was open. Nothing was "
                "written; open it again, and see what it says"
            )
        return commit

    def _committed(self, commit: Commit) -> None:
        """Take note of a commit that is durable."""
        if not commit.tails:
            return
        self._tip = commit.tip
        if not commit.is_next:
            self._sure.clear()
        self._believed.update(commit.tails)
        self._sure.update(commit.tails)
        self._forget(commit.finished)
        self.database.head.write(commit.tip)

    def _note(self, run_id: str, records: Sequence[Record]) -> None:
        """Take note of where a run ends that has been read as a whole."""
        if records and not isinstance(records[-1].event, ENDS):
            self._believed[run_id] = Tail(records[-1].seq, records[-1].hash)
        else:
            self._forget({run_id})

    def _forget(self, runs: set[str]) -> None:
        """Drop what is believed of *runs*: nothing more is to come from them."""
        self._sure -= runs
        for run_id in runs:
            self._believed.pop(run_id, None)

    def _data_version(self) -> int:
        return self.database.reading("PRAGMA data_version")[0][0]


def _records_of(cursor: sqlite3.Cursor, run_id: str, after: int) -> list[Record]:
    """Return the records of *run_id* whose number is above *after*, checked."""
    row = cursor.execute("SELECT records FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    lines = [line for (line,) in cursor.execute(READ, (run_id, after))]
    sealed = [record for line in lines if (record := unsealed(line)) is not None]
    is_sound = len(sealed) == len(lines)
    records = sealed if is_sound else [decode_line(line) for line in lines]
    if row is None and records:
        raise missing_entry(run_id, records[0].seq)
    if row is None:
        return []
    count: object = row[0]  # damage may have made anything of it
    if not records and isinstance(count, int) and after > count:
        return []
    before = records.pop(0) if after and records and records[0].seq == after else None
    verify_chain(records, after=before, intact=is_sound)
    check_end(run_id, records[-1] if records else before, row[0])
    return records

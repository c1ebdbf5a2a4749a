"""The SQLite file of a journal: opened with care, written in whole transactions.

`Database` knows nothing of records or locks. It opens what is safe to open,
hands out write transactions and readings, and turns what SQLite says into
errors that tell what to do.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pyflow.errors import JournalError, JournalIntegrityError
from pyflow.record.sqlite.faults import FAULTS, Told, code_of, journal_error
from pyflow.record.sqlite.files import is_there, place_of
from pyflow.record.sqlite.filesystems import filesystem_of
from pyflow.record.sqlite.head import HeadFile, write_head
from pyflow.record.sqlite.opening import Glance, check_head, head_path, look, uri_of
from pyflow.record.sqlite.schema import make_journal, sync_directory
from pyflow.record.sqlite.tip import START, tip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

__all__ = ["Database"]

BUSY_TIMEOUT_S = 5.0
PAUSES_S = (0.001, 0.001, 0.002, 0.004, 0.008)
"""The pauses of a writer who waits for another; the last one again and again. SQLite's own grow to
0.1 s: where others commit all the time, it tries too seldom to find them idle, and starves."""
HARMLESS = ("SQLITE_BUSY", "SQLITE_FULL")
"""Codes of a failed COMMIT after which nothing can be on disk."""


class Database:
    """A journal's file that is open, for any number of threads of one process.

    Args:
        path: Where it is; a new one is made where there is none.
        busy_timeout_s: How long to wait for another process to let go of it.
        accept_loss: Open it even though its head says that it is not what it
            was, and make what it holds count from now on. `notes` says what
            was accepted.
        filesystem_of: Tells the kind of file system of a directory.

    Raises:
        JournalError: It cannot be opened, and was not touched.
        JournalIntegrityError: It is not what it was, and was not touched.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        /,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        accept_loss: bool = False,
        filesystem_of: Callable[[Path], str | None] = filesystem_of,
    ) -> None:
        self.lock = threading.RLock()
        """Held by whoever uses the connection; hold it to do several things in a row."""
        self.notes: tuple[str, ...] = ()
        """What was odd when it was opened, in sentences; nothing that would stop anybody."""
        self._pid = os.getpid()
        self._in_doubt = False
        self._busy_timeout_s = busy_timeout_s
        self._waits_itself = True  # SQLite, for another process to let go
        self._connection: sqlite3.Connection | None = None
        self.path = _place(path, filesystem_of)
        with Told(self.path, "opening", OSError):
            if not is_there(self.path):
                make_journal(self.path)
            glance = self._examine(busy_timeout_s, accept_loss=accept_loss)
            self.id = glance.database_id
            self._connection = self._connect(busy_timeout_s)
        try:
            self._take_over(glance, accept_loss=accept_loss)
        except BaseException:
            self._connection.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._connection is None else "open"
        return f"<Database {str(self.path)!r} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Cursor]:
        """Be the one who writes: everything done with the cursor is committed, or none of it.

        The commit is durable when the block has ended. Whatever is raised in
        the block, or by the commit, rolls everything back.

        Raises:
            JournalError: SQLite or the disk failed.
        """
        with self.lock:
            cursor = self._cursor()
            self._check_no_doubt()
            try:
                self._begin(cursor)
                yield cursor
                self._commit(cursor)
            except BaseException as error:
                self._roll_back(cursor)
                if isinstance(error, FAULTS):
                    raise journal_error(error, self.path, "writing") from error
                raise

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Cursor]:
        """Read several times from one and the same state.

        Raises:
            JournalError: SQLite or the disk failed.
        """
        with self.lock, Told(self.path, "reading"):
            cursor = self._cursor()
            try:
                self._let_wait(cursor, itself=True)
                cursor.execute("BEGIN")
                yield cursor
            finally:
                self._roll_back(cursor)

    def reading(self, sql: str, params: Sequence[Any] = (), /) -> list[tuple[Any, ...]]:
        """Return the rows that *sql* asks for.

        Raises:
            JournalError: SQLite or the disk failed.
        """
        with self.lock, Told(self.path, "reading"):
            connection = self._usable()
            self._let_wait(connection, itself=True)
            return connection.execute(sql, params).fetchall()

    def close(self) -> None:
        """Fold the ``-wal`` into the file, as far as nobody else needs it, and let go of both.

        Closing again changes nothing. A process that was forked off does not
        touch what its parent has open.

        Raises:
            JournalError: Something could not be written. What was committed
                is safe, and the file is closed.
        """
        with self.lock:
            connection = self._connection
            if connection is None:
                return
            if os.getpid() != self._pid:
                self.head.abandon()
                return
            self._connection = None
            with Told(self.path, "closing", OSError):
                try:
                    self.head.close()
                    self._let_wait(connection, itself=True)
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                finally:
                    connection.close()

    # Opening ------------------------------------------------------------------------------

    def _examine(self, timeout_s: float, *, accept_loss: bool) -> Glance:
        """Make sure that journal and head belong together, unless that is accepted."""
        glance, head = look(self.path, timeout_s=timeout_s)
        try:
            self.notes = check_head(self.path, glance, head)
        except JournalIntegrityError as error:
            if not accept_loss:
                raise
            self.notes = (f"accepted: {error}",)
        return glance

    def _connect(self, timeout_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri_of(self.path, mode="rw"),
            uri=True,
            timeout=timeout_s,  # first of all, so that what follows waits its turn
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalError(
                f"{self.path} cannot be used in WAL mode (SQLite answers {mode!r}); its file "
                "system lacks shared memory. Name a path on another one"
            )
        connection.execute("PRAGMA synchronous = FULL")
        # Where an fsync alone stops at the disk's cache.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")

    def _take_over(self, glance: Glance, *, accept_loss: bool) -> None:
        """Give a new journal its head, and bring that of an old one up to date."""
        path = head_path(self.path)
        with Told(self.path, "opening the head of", OSError):
            if not glance.has_head or (accept_loss and self.notes):
                self._make_head(path)
            self.head = HeadFile(path, self.id)
        if glance.tip != START:
            self.head.write(glance.tip)

    def _make_head(self, path: Path) -> None:
        """Write the head before the journal says that it has one: then it is never without."""
        with self.writing() as cursor:
            write_head(path, self.id, tip_of(cursor))
            sync_directory(path.parent)
            cursor.execute("UPDATE meta SET value = 'kept' WHERE key = 'head'")
        # So that a copy without the -wal says so as well.
        self.reading("PRAGMA wal_checkpoint(TRUNCATE)")

    # Using --------------------------------------------------------------------------------

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"{self.path} is closed; open it again")
        if os.getpid() != self._pid:
            raise JournalError(
                f"{self.path} was opened by process {self._pid}, from which this one (pid "
                f"{os.getpid()}) was forked off: SQLite cannot be carried over. Open it in here"
            )
        return self._connection

    def _cursor(self) -> sqlite3.Cursor:
        """Return what a transaction can be made with, if this thread is not in one already."""
        connection = self._usable()
        if connection.in_transaction:
            raise JournalError(
                f"a transaction on {self.path} is under way in this thread; end it before another"
            )
        return connection.cursor()

    def _check_no_doubt(self) -> None:
        if self._in_doubt:
            raise JournalError(
                f"a commit to {self.path} failed in such a way that only the disk knows whether "
                "it is there; open the journal again before anything is added to it"
            )

    def _begin(self, cursor: sqlite3.Cursor) -> None:
        """Become the one who writes, in short waits while another one does."""
        left_s, pauses = self._busy_timeout_s, 0
        self._let_wait(cursor, itself=False)
        while not _has_begun(cursor, may_wait=left_s > 0):
            pause_s = PAUSES_S[min(pauses, len(PAUSES_S) - 1)]
            time.sleep(pause_s)
            left_s -= pause_s
            pauses += 1

    def _let_wait(self, cursor: sqlite3.Cursor | sqlite3.Connection, *, itself: bool) -> None:
        """Have SQLite wait by itself where another process is in the way, or say so at once."""
        if itself is not self._waits_itself:
            span_s = self._busy_timeout_s if itself else 0.0
            cursor.execute(f"PRAGMA busy_timeout = {round(span_s * 1_000)}")
            self._waits_itself = itself

    def _commit(self, cursor: sqlite3.Cursor) -> None:
        try:
            cursor.execute("COMMIT")
        except sqlite3.Error as error:
            # A sync that failed may have reached the disk all the same, and asking again tells
            # nothing. So that nobody builds on either, this is the end of it.
            self._in_doubt = not code_of(error).startswith(HARMLESS)
            raise

    def _roll_back(self, cursor: sqlite3.Cursor) -> None:
        with suppress(sqlite3.Error):  # SQLite has done it already where it had to
            cursor.execute("ROLLBACK")
        if cursor.connection.in_transaction:
            self._in_doubt = True


def _has_begun(cursor: sqlite3.Cursor, *, may_wait: bool) -> bool:
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if may_wait and code_of(error).startswith("SQLITE_BUSY"):
            return False
        raise
    return True


def _place(path: str | os.PathLike[str], filesystem_of: Callable[[Path], str | None]) -> Path:
    with Told(Path(path), "opening", OSError):
        return place_of(path, filesystem_of=filesystem_of)

"""The index of a journal: a file beside it that can be thrown away.

Nobody who deploys pays for it: a commit writes the journal alone, and
whoever looks back brings the index up to date first, from where it ended.
It says nothing that the records would not say, so it is no part of what is
trusted: it names the journal and the link of the chain up to which it was
made, and is made anew where these do not fit.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pyflow.errors import JournalError
from pyflow.record.codec import decode_line
from pyflow.record.history.summary import facts_in, texts_in
from pyflow.record.ledger import CUTS, is_ledger
from pyflow.record.outline import outline_of
from pyflow.record.skim import kind_of
from pyflow.record.sqlite.faults import FAULTS, journal_error
from pyflow.record.sqlite.opening import uri_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

__all__ = ["Index", "index_path"]

VERSION = "2"
BATCH = 20_000
"""How many records are taken in by one transaction."""

TABLES = """
CREATE TABLE IF NOT EXISTS position (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, workflow TEXT NOT NULL,
    environment TEXT, version TEXT, service TEXT, initiator TEXT, status TEXT NOT NULL,
    started TEXT NOT NULL, ended TEXT, records INTEGER NOT NULL, error TEXT, commit_id TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started, number);
CREATE TABLE IF NOT EXISTS facts (
    field TEXT NOT NULL, value TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (field, value, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, environment TEXT,
    task TEXT NOT NULL, resource TEXT NOT NULL, before TEXT, after TEXT,
    PRIMARY KEY (number, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changes_by_place ON changes (environment, at);
CREATE INDEX IF NOT EXISTS changes_by_time ON changes (at);
"""
# With the beginnings of words, so that what very many words begin with is found as fast.
WORDS = "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (body, detail='none', prefix='1 2')"
RECORDS = "SELECT n, run_id, seq, line, chain FROM records WHERE n > ? ORDER BY n LIMIT ?"
RUN = "SELECT line FROM records WHERE run_id = ? ORDER BY seq"
COLUMNS = (
    *("number", "run_id", "workflow", "environment", "version", "service", "initiator", "status"),
    *("started", "ended", "records", "error", "commit_id"),
)
KEEP = f"INSERT OR REPLACE INTO runs VALUES ({', '.join(f':{name}' for name in COLUMNS)})"  # noqa: S608
FIND = f"SELECT {', '.join(COLUMNS)} FROM runs WHERE run_id = ?"  # noqa: S608 - our own columns


def index_path(journal: Path) -> Path:
    """Return where the index of *journal* is."""
    return journal.with_name(journal.name + ".index")


class Index:
    """The index of one journal, open.

    Where no file can be written beside the journal, it is made in a file
    that goes with the process.

    Args:
        journal: The journal's path.
        database_id: Its own name.
    """

    def __init__(self, journal: Path, database_id: str) -> None:
        self.journal = journal
        self._id = database_id
        self.connection = self._opened(index_path(journal))
        self.has_words = self._make_words()

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def catch_up(self, told: Callable[[int, int], None] | None = None) -> None:
        """Take in what the journal has got since.

        *told* hears, after each batch, up to which record, and where the
        journal ends. Memory does not grow with the journal.

        Raises:
            JournalError: The journal or the index cannot be read or written.
        """
        try:
            with closing(self._reader()) as reader:
                self._check_position(reader)
                (end,) = reader.execute("SELECT coalesce(max(n), 0) FROM records").fetchone()
                touched: set[str] = set()
                while (reached := self._take_batch(reader, touched)) is not None:
                    if told is not None:
                        told(reached, end)
                if CUTS in touched:
                    self._forget_archived(reader)
                self._tell_standing(reader, touched - {CUTS})
        except FAULTS as error:
            raise journal_error(error, self.journal, "indexing") from error

    # Opening ------------------------------------------------------------------------------

    def _opened(self, path: Path) -> sqlite3.Connection:
        with suppress(sqlite3.Error):
            return self._connected(str(path))
        with suppress(OSError):
            for suffix in ("", "-wal", "-shm"):  # it is damaged, or no index; it can be made anew
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        with suppress(sqlite3.Error):
            return self._connected(str(path))
        return self._connected("")

    def _connected(self, name: str) -> sqlite3.Connection:
        if name:
            _touch(name)
        connection = sqlite3.connect(name, timeout=30.0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA cache_size = -16000")
            connection.executescript(TABLES)
            connection.execute("SELECT number FROM runs ORDER BY number DESC LIMIT 1").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_words(self) -> bool:
        try:
            self.connection.execute(WORDS)
        except sqlite3.OperationalError:  # this SQLite was built without FTS5
            return False
        return True

    def _reader(self) -> sqlite3.Connection:
        return sqlite3.connect(
            uri_of(self.journal, mode="ro"), uri=True, timeout=30.0, isolation_level=None
        )

    # Position -----------------------------------------------------------------------------

    def _position(self) -> dict[str, str]:
        return dict(self.connection.execute("SELECT key, value FROM position").fetchall())

    def _check_position(self, reader: sqlite3.Connection) -> None:
        """Begin anew where the index was made of another journal, or of another past."""
        position = self._position()
        n = int(position.get("n", 0))
        row = reader.execute("SELECT chain FROM records WHERE n = ?", (n,)).fetchone()
        fits = n == 0 or (row is not None and row[0] == position.get("chain"))
        if (
            fits
            and position.get("id", self._id) == self._id
            and position.get("v", VERSION) == VERSION
        ):
            return
        with self._writing() as cursor:
            for table in ("runs", "facts", "changes", "position"):
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own tables
            if self.has_words:
                cursor.execute("DROP TABLE words")
                cursor.execute(WORDS)

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Cursor]:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                cursor.execute("ROLLBACK")
            raise

    # Taking in ----------------------------------------------------------------------------

    def _take_batch(self, reader: sqlite3.Connection, touched: set[str]) -> int | None:
        """Take in some records, and return up to which; None where there is none."""
        known = int(self._position().get("n", 0))
        if reader.execute("SELECT 1 FROM records WHERE n > ? LIMIT 1", (known,)).fetchone() is None:
            return None
        with self._writing() as cursor:
            n = int(self._position().get("n", 0))  # another process may have taken some in
            batch = _Batch(cursor, has_words=self.has_words)
            chain = ""
            for n, run_id, seq, line, chain in reader.execute(RECORDS, (n, BATCH)):  # noqa: B007, B020
                if run_id == CUTS:
                    touched.add(CUTS)
                elif _is_sound(run_id, seq, line) and not is_ledger(run_id):
                    batch.take(n, run_id, seq, line)
            batch.flush()
            touched |= batch.unfinished
            rows = {"id": self._id, "v": VERSION, "n": str(n), "chain": chain}
            if chain:
                cursor.executemany("INSERT OR REPLACE INTO position VALUES (?, ?)", rows.items())
        return n

    def _forget_archived(self, reader: sqlite3.Connection) -> None:
        """Drop runs that are in the journal no more."""
        there = {run_id for (run_id,) in reader.execute("SELECT run_id FROM runs")}
        with self._writing() as cursor:
            rows = cursor.execute("SELECT number, run_id FROM runs").fetchall()
            cursor.execute("CREATE TEMP TABLE gone (number INTEGER PRIMARY KEY)")
            gone = [(number,) for number, run_id in rows if run_id not in there]
            cursor.executemany("INSERT INTO gone VALUES (?)", gone)
            places = [("runs", "number"), ("facts", "number"), ("changes", "number")]
            places += [("words", "rowid")] if self.has_words else []
            for table, column in places:
                cursor.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT number FROM gone)")  # noqa: S608
            cursor.execute("DROP TABLE gone")

    def _tell_standing(self, reader: sqlite3.Connection, touched: Iterable[str]) -> None:
        """Say how those runs stand that are not over: held, paused and so on."""
        standing: list[tuple[str, str]] = []
        for run_id in sorted(touched):
            with suppress(JournalError):  # a damaged record is for `verify` to tell
                records = [decode_line(line) for (line,) in reader.execute(RUN, (run_id,))]
                standing.append((run_id, outline_of(run_id, records).status))
        if standing:
            with self._writing() as cursor:
                for run_id, status in standing:
                    _set_status(cursor, run_id, status)


def _touch(name: str) -> None:
    """Make the file for its owner's eyes only, as the journal is; -wal and -shm take after it."""
    with suppress(OSError):
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _set_status(cursor: sqlite3.Cursor, run_id: str, status: str) -> None:
    row = cursor.execute("SELECT number, status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is not None and row[1] != status:
        number, old = row
        cursor.execute("UPDATE runs SET status = ? WHERE number = ?", (status, number))
        cursor.execute(
            "DELETE FROM facts WHERE field = 'status' AND value = ? AND number = ?", (old, number)
        )
        cursor.execute("INSERT OR IGNORE INTO facts VALUES ('status', ?, ?)", (status, number))


def _is_sound(run_id: object, seq: object, line: object) -> bool:
    """Return whether a row can be one that was written; what is damaged is for `verify` to tell."""
    return isinstance(run_id, str) and isinstance(seq, int) and isinstance(line, str)


class _Batch:
    """Some records on their way into the index."""

    def __init__(self, cursor: sqlite3.Cursor, *, has_words: bool) -> None:
        self._cursor = cursor
        self._has_words = has_words
        self._rows: dict[str, dict[str, Any]] = {}
        self._before: dict[int, str] = {}
        self._facts: dict[tuple[str, str, int], None] = {}
        self._changes: list[tuple[Any, ...]] = []
        self._words: dict[int, list[str]] = {}
        self.unfinished: set[str] = set()

    def take(self, n: int, run_id: str, seq: int, line: str) -> None:
        """Take the record in *line*; one that cannot be read is passed over."""
        kind = kind_of(line)
        row = self._row(run_id)
        if row is not None:
            row["records"] = max(row["records"], seq)
        if kind not in SEEN:
            return
        try:
            raw = json.loads(line)
            data, at = raw["data"], raw["at"]
        except (ValueError, KeyError, TypeError):
            return
        if kind == "run_started" and row is None:
            row = self._begin(n, run_id, data, at)
        if row is None:
            return
        number = row["number"]
        for field, value in facts_in(kind, data):
            self._facts[field, value, number] = None
            if field == "service" and row["service"] is None:
                row["service"] = value
        self._fold(row, kind, data, at)
        if kind == "change_recorded":
            self._change(row, seq, data, at)
        if self._has_words and (words := texts_in(kind, data)):
            self._words.setdefault(number, []).append(words)

    def flush(self) -> None:
        """Write it all."""
        cursor = self._cursor
        cursor.executemany(KEEP, self._rows.values())
        for row in self._rows.values():
            number, status = row["number"], row["status"]
            if self._before.get(number) not in (None, status):
                gone = ("status", self._before[number], number)
                cursor.execute(
                    "DELETE FROM facts WHERE field = ? AND value = ? AND number = ?", gone
                )
            self._facts["status", status, number] = None
        cursor.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", self._facts)
        cursor.executemany(
            "INSERT OR REPLACE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._changes
        )
        for number, words in self._words.items():
            self._say(number, " ".join(words))
        self.unfinished = {run_id for run_id, row in self._rows.items() if row["ended"] is None}

    def _say(self, number: int, words: str) -> None:
        """Add *words* to those that the run is found by."""
        add = "UPDATE words SET body = body || ' ' || ? WHERE rowid = ?"
        if self._cursor.execute(add, (words, number)).rowcount == 0:
            put = "INSERT INTO words (body, rowid) VALUES (?, ?)"
            self._cursor.execute(put, (words, number))

    def _row(self, run_id: str) -> dict[str, Any] | None:
        row = self._rows.get(run_id)
        if row is None:
            found = self._cursor.execute(FIND, (run_id,)).fetchone()
            if found is not None:
                row = self._rows[run_id] = dict(zip(COLUMNS, found, strict=True))
                self._before[row["number"]] = row["status"]
        return row

    def _begin(self, n: int, run_id: str, data: dict[str, Any], at: str) -> dict[str, Any]:
        facts = dict(facts_in("run_started", data))
        row = self._rows[run_id] = {
            "number": n,
            "run_id": run_id,
            "workflow": facts["workflow"],
            "environment": facts.get("environment"),
            "version": facts.get("version"),
            "service": facts.get("service"),
            "initiator": facts.get("initiator"),
            "status": "running",
            "started": at,
            "ended": None,
            "records": 1,
            "error": None,
            "commit_id": facts.get("commit"),
        }
        return row

    def _fold(self, row: dict[str, Any], kind: str, data: dict[str, Any], at: str) -> None:
        match kind:
            case "run_resumed":
                row["status"], row["ended"] = "running", None
            case "run_finished":
                row["status"], row["ended"] = str(data["status"]), at
            case "attempt_failed" | "task_failed" if data.get("error"):
                error = data["error"]
                row["error"] = f"{data['task']}: {error.get('type')}: {error.get('message')}"[:1000]
            case _:
                pass

    def _change(self, row: dict[str, Any], seq: int, data: dict[str, Any], at: str) -> None:
        before, after = (json.dumps(data.get(name)) for name in ("before", "after"))
        task, resource = str(data.get("task")), str(data.get("resource"))
        environment = row["environment"]
        self._changes.append((row["number"], seq, at, environment, task, resource, before, after))


SEEN = frozenset(
    {
        *("run_started", "run_resumed", "run_finished", "task_started", "attempt_failed"),
        *("task_failed", "undo_attempt_failed", "repair_failed", "finalizer_failed", "logged"),
        *("change_recorded", "approval_requested", "approval_answered", "command_received"),
        *("interrupt_resolved", "intent_raised", "run_paused", "lock_acquired"),
    }
)
"""The kinds of record that runs are found by."""

"""Storage that really fails, at every write: an error that says why, and a journal that goes on."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from pyflow.errors import JournalError
from pyflow.record import events as ev
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.journal import SQLiteJournal
from support.journals import image_of, started
from support.trails import AT

WRITES = 12
BUSY_S = 0.01


@contextmanager
def locked(journal: SQLiteJournal) -> Generator[None]:
    """Have somebody else hold the write lock."""
    with closing(sqlite3.connect(journal.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(journal: SQLiteJournal) -> Generator[None]:
    """Have no room for a further page."""
    pages = journal.database.reading("PRAGMA page_count")[0][0]
    limit = journal.database.reading(f"PRAGMA max_page_count = {pages}")[0][0]
    assert limit == pages
    yield
    journal.database.reading("PRAGMA max_page_count = 1000000")


@contextmanager
def read_only(journal: SQLiteJournal) -> Generator[None]:
    """Have nobody write."""
    journal.database.reading("PRAGMA query_only = ON")
    yield
    journal.database.reading("PRAGMA query_only = OFF")


FAULTS: dict[str, tuple[Callable[[SQLiteJournal], AbstractContextManager[None]], str]] = {
    "locked": (locked, r"SQLITE_BUSY.*another process kept it locked"),
    "full": (full, r"SQLITE_FULL.*there is no room for it"),
    "read-only": (read_only, r"SQLITE_READONLY.*cannot be written by this user"),
}


def large(number: int) -> list[ev.Event]:
    """Return an event that needs pages of its own, and is like no other."""
    return [ev.Logged("a", f"{number} {'x' * 10_000}")]


def numbers(journal: SQLiteJournal) -> list[int]:
    """Return which of them are recorded."""
    return [int(str(r.data["message"]).split()[0]) for r in journal.read("r", after=1)]


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("number", range(WRITES))
class TestEveryWrite:
    def test_is_told_of(self, tmp_path: Path, kind: str, number: int) -> None:
        """The n-th write fails as a whole; what was there is there, and the next one succeeds."""
        fault, message = FAULTS[kind]
        with (
            Database(tmp_path / "j.db", busy_timeout_s=BUSY_S) as database,
            SQLiteJournal(database) as journal,
        ):
            journal.append("r", [started("r")], at=AT)
            for n in range(number):
                journal.append("r", large(n), at=AT)

            with fault(journal), pytest.raises(JournalError, match=message) as caught:
                journal.append("r", large(99), at=AT)

            assert str(tmp_path / "j.db") in str(caught.value)
            assert numbers(journal) == list(range(number))
            journal.append("r", large(number), at=AT)
            assert numbers(journal) == list(range(number + 1))
            assert journal.verify() == []

    def test_leaves_nothing(self, tmp_path: Path, kind: str, number: int) -> None:
        """What failed is not on the disk either, for whoever opens it after a crash."""
        fault, message = FAULTS[kind]
        with (
            Database(tmp_path / "j.db", busy_timeout_s=BUSY_S) as database,
            SQLiteJournal(database) as journal,
        ):
            journal.append("r", [started("r")], at=AT)
            for n in range(number):
                journal.append("r", large(n), at=AT)
            with fault(journal), pytest.raises(JournalError, match=message):
                journal.append("r", large(99), at=AT)
            left = image_of(tmp_path / "j.db", tmp_path / "left")

        with SQLiteJournal(left) as journal:
            assert numbers(journal) == list(range(number))
            assert (journal.notes, journal.verify()) == ((), [])


class TestMissingWal:
    def test_after_every_write(self, tmp_path: Path) -> None:
        """A journal that has lost its ``-wal`` after any write is refused, and stays as it was."""
        with SQLiteJournal(tmp_path / "j.db") as journal:
            journal.append("r", [started("r")], at=AT)
            for n in range(WRITES):
                journal.append("r", large(n), at=AT)
                left = image_of(tmp_path / "j.db", tmp_path / f"left{n}")
                Path(f"{left}-wal").unlink()

                with pytest.raises(JournalError, match=re.escape("-wal")):
                    SQLiteJournal(left)

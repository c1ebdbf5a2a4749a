"""A cell of a journal that damage has made another type: an error that says so, or what was there."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError, LockError, PyflowError
from pyflow.record.history.lookup import History
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.store import Store
from pyflow.record.sqlite.verify import findings_of
from support.journals import RUNS, fill, logged
from support.trails import AT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACES = (
    "meta.value",
    *(f"records.{column}" for column in ("run_id", "seq", "commit_no", "line", "chain")),
    *(f"runs.{column}" for column in ("run_id", "began", "records", "workflow", "status")),
    *(f"inbox.{column}" for column in ("run_id", "command", "task", "by", "reason", "at", "data")),
    *(f"locks.{column}" for column in ("resource", "epoch", "run_id", "owner", "since")),
    *(f"locks.{column}" for column in ("host", "pid")),
    *(f"waiters.{column}" for column in ("run_id", "owner", "resources")),
)
VALUES = {"null": None, "integer": 7, "real": 1.5, "blob": b"x", "text": "x"}
BROKEN = "its content is damaged, so none of it is trusted"


def take(store: Store, run_id: str, *resources: str, **options: Any) -> None:
    asyncio.run(store.locks.acquire(run_id, resources, **options))


def open_store(path: Path) -> Store:
    return Store(path, now=lambda: AT)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a journal is whose tables all have rows, and whose columns take anything."""
    path = tmp_path_factory.mktemp("sound") / "j.db"
    fill(path)
    with closing(open_store(path)) as store:
        store.journal.put("eu", "cancel", at=AT, by="bob", task="a", reason="r")
        take(store, "eu", "db", "web")
        with store.journal.database.writing() as cursor:
            cursor.execute(
                "INSERT INTO waiters (run_id, owner, resources) VALUES ('us', 'nobody', '[\"db\"]')"
            )
    loosen(path)
    return path


def loosen(path: Path) -> None:
    """Have every column take what damage may make of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for what in ("TEXT NOT NULL", "INTEGER NOT NULL", "TEXT,"):
            to = "," if what.endswith(",") else ""
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (what, to))


@pytest.fixture
def damage(sound: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """Returns a copy in which the last cell of a column, ``table.column``, is of another type."""

    def copy(place: str, kind: str) -> Path:
        path, (table, column) = tmp_path / "j.db", place.split(".")
        for suffix in ("", ".head"):
            shutil.copy(f"{sound}{suffix}", f"{path}{suffix}")
        where = "key = 'id'" if table == "meta" else f"rowid = (SELECT max(rowid) FROM {table})"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (VALUES[kind],))
            found = connection.execute(f"SELECT typeof({column}) FROM {table} WHERE {where}")
            assert found.fetchall() == [(kind,)]
        return path

    return copy


def history(path: Path) -> None:
    with History(path) as found:
        for run in found.runs():
            found.trail(run.run_id)


def looks(store: Store) -> dict[str, Callable[[], object]]:
    """Return everything that is asked of an open journal."""
    journal, locks = store.journal, store.locks
    return {
        "read": lambda: [journal.read(run_id) for run_id in RUNS],
        "last": lambda: [journal.last(run_id) for run_id in RUNS],
        "runs": journal.runs,
        "cuts": journal.cuts,
        "pending": journal.pending,
        "verify": journal.verify,
        "history": lambda: history(journal.database.path),
        "left": lambda: locks.left("eu"),
        "listed": locks.listed,
        "holder": lambda: [locks.holder("db"), locks.holder("web")],
        "refusal": lambda: locks.refusal(["web"], run_id="us", policy="fail"),
        "acquire": lambda: take(store, "us", "web", policy="fail"),
        "append": lambda: journal.append("eu", [logged(99)], at=AT),
        "break": lambda: locks.break_lock("web"),
    }


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("place", PLACES)
def test_a_cell_of_another_type(damage: Callable[[str, str], Path], place: str, kind: str) -> None:
    """Whatever is asked, it is answered, or refused with an error of our own."""
    with suppress(PyflowError), closing(open_store(damage(place, kind))) as store:
        for look in looks(store).values():
            with suppress(PyflowError):
                look()


@pytest.mark.parametrize("kind", ["null", "integer", "real", "blob"])
@pytest.mark.parametrize(
    ("place", "look", "what"),
    [
        ("runs.run_id", "runs", "the index of runs"),
        ("inbox.command", "pending", "message 1 of the inbox"),
        ("inbox.at", "pending", "message 1 of the inbox"),
        ("inbox.data", "pending", "message 1 of the inbox"),
        ("locks.since", "holder", "the lock 'web'"),
        ("locks.host", "left", "the lock 'web'"),
        ("waiters.resources", "acquire", "place 1 in the line for locks"),
    ],
)
def test_the_error_says_what_is_damaged(
    damage: Callable[[str, str], Path], place: str, look: str, what: str, kind: str
) -> None:
    error = LockError if place.startswith(("locks", "waiters")) else JournalError
    said = f"{what} cannot have held .*: {BROKEN}"
    with closing(open_store(damage(place, kind))) as store, pytest.raises(error, match=said):
        looks(store)[look]()


@pytest.mark.parametrize("kind", ["null", "integer", "real", "blob"])
def test_a_line_that_is_no_text(damage: Callable[[str, str], Path], kind: str) -> None:
    with SQLiteJournal(damage("records.line", kind)) as journal:
        with pytest.raises(JournalError, match=r"not a record|not in canonical form"):
            journal.read("ap")
        assert journal.verify() != []


@pytest.mark.parametrize("kind", ["null", "real", "blob", "text"])
def test_nothing_follows_a_last_record_whose_commit_is_no_number(
    damage: Callable[[str, str], Path], kind: str
) -> None:
    path = damage("records.commit_no", kind)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=f"the last record cannot have held .*: {BROKEN}"):
        SQLiteJournal(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "look", "shown"),
    [
        ("inbox.at", "pending", "'x'"),
        ("inbox.data", "pending", "what is there"),  # a secret, perhaps
        ("locks.since", "left", "'x'"),
    ],
)
def test_a_text_that_cannot_be_read(
    damage: Callable[[str, str], Path], place: str, look: str, shown: str
) -> None:
    said = f"cannot have held {shown}: {BROKEN}"
    with (
        closing(open_store(damage(place, "text"))) as store,
        pytest.raises(PyflowError, match=said),
    ):
        looks(store)[look]()


def test_numbers_that_are_gone_with_the_definition_of_the_table(
    sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "j.db"
    for suffix in ("", ".head"):
        shutil.copy(f"{sound}{suffix}", f"{path}{suffix}")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'n INTEGER PRIMARY KEY', 'n')"
        )

    assert {finding.kind for finding in findings_of(path)} >= {"file", "truncated"}
    with pytest.raises(JournalError, match="the last record cannot have held None"):
        SQLiteJournal(path)

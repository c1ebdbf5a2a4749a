"""Is it safe to open? What a journal and its head say about one another.

Everything is looked at through connections that cannot write, so a journal
that is refused stays byte for byte what it was: its ``-wal`` too, which an
ordinary connection would fold into the journal and remove when it is closed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from pyflow.errors import JournalError, JournalIntegrityError
from pyflow.frozen import frozen
from pyflow.record.sqlite.cells import checked
from pyflow.record.sqlite.faults import code_of
from pyflow.record.sqlite.files import HEAD_SUFFIX
from pyflow.record.sqlite.head import Head, foreign, read_head
from pyflow.record.sqlite.schema import APPLICATION_ID, VERSION
from pyflow.record.sqlite.tip import Tip, tip_of

if TYPE_CHECKING:
    from pathlib import Path

    from pyflow.errors import IntegrityProblem

__all__ = ["Glance", "head_path", "look", "uri_of"]


@frozen
class Glance:
    """What a journal says of itself."""

    database_id: str
    """Its own random name."""

    tip: Tip
    """Where it ends."""

    has_head: bool
    """Whether it has had a head file: a new one is given its head when it is first opened."""

    at_head: str | None = None
    """The link of its chain at the record where its head says that it ends."""


def head_path(path: Path) -> Path:
    """Return where the head of the journal *path* is."""
    return path.with_name(path.name + HEAD_SUFFIX)


def uri_of(path: Path, **options: str) -> str:
    """Return *path* as SQLite wants it, with *options*; it never makes a file that is missing."""
    return path.as_uri() + "?" + "&".join(f"{key}={value}" for key, value in options.items())


def look(path: Path, *, timeout_s: float) -> tuple[Glance, Head | JournalIntegrityError | None]:
    """Return what the journal at *path* and its head say, or why the latter cannot be read.

    The head is read first: it never says more than has been committed.

    Raises:
        JournalError: It is no journal of ours, or of a newer version.
        sqlite3.Error: It is damaged, or locked.
    """
    _check_file(path)
    try:
        head = read_head(head_path(path))
    except JournalIntegrityError as error:
        head = error
    with closing(
        sqlite3.connect(uri_of(path, mode="ro"), uri=True, timeout=timeout_s, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN")
        _check_kind(connection, path)
        return _glance(connection, head if isinstance(head, Head) else None), head


def check_head(
    path: Path, glance: Glance, head: Head | JournalIntegrityError | None
) -> tuple[str, ...]:
    """Return what is to be told about *head*, if it and the journal can be two of a pair.

    Raises:
        JournalIntegrityError: They cannot.
    """
    if not glance.has_head:
        return ()
    if isinstance(head, JournalIntegrityError):
        raise head
    if head is None:
        raise _mismatch(
            path,
            "no_head",
            f"has {glance.tip.n} records, but its head file is missing, so nothing tells whether "
            "these are all. A copy needs the journal, its -wal and its .head: put the head back",
        )
    if head.database_id != glance.database_id:
        raise foreign(head_path(path), head, glance.database_id)
    if glance.tip.n < head.tip.n:
        raise _behind(path, glance.tip, head.tip)
    if head.tip.n and glance.at_head != head.tip.chain:
        raise _mismatch(
            path,
            "rewritten",
            f"holds another record {head.tip.n} than its head says: records were rewritten, or "
            "the journal was exchanged for a copy that went its own way. Put back the one that "
            "belongs to the head",
        )
    return tuple(_remarks(glance.tip, head))


def _check_file(path: Path) -> None:
    """Make sure that the file itself, past ``-wal`` and locks, does not belong to somebody else.

    What is not ours is not even asked for a lock. What seems damaged may be:
    a crash in the middle of a checkpoint leaves it so, and the ``-wal`` mends it.
    """
    with closing(sqlite3.connect(uri_of(path, mode="ro", immutable="1"), uri=True)) as connection:
        try:
            _check_kind(connection, path)
        except sqlite3.DatabaseError as error:
            if not code_of(error).startswith("SQLITE_CORRUPT"):
                raise


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != APPLICATION_ID:
        raise JournalError(
            f"{path} is an SQLite database, but not a journal of pyflow: its application id is "
            f"{found:#x}, not {APPLICATION_ID:#x}. Name another path"
        )
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise JournalError(
            f"{path} has version {version}, and this pyflow knows journals up to version "
            f"{VERSION}: a newer one wrote it. Open it with that one"
        )
    if version < 1:
        raise JournalError(
            f"{path} has version {version}, which no journal ever had: it is damaged. Put the "
            "journal, its -wal and its .head back from one backup"
        )


def _glance(connection: sqlite3.Connection, head: Head | None) -> Glance:
    rows = connection.execute("SELECT key, value FROM meta").fetchall()
    meta: dict[str, str] = dict(checked("the table meta", row, str, str) for row in rows)
    row = connection.execute(
        "SELECT chain FROM records WHERE n = ?", (head.tip.n if head else 0,)
    ).fetchone()
    return Glance(
        meta.get("id", ""),
        tip_of(connection),
        meta.get("head") != "pending",
        row[0] if row else None,
    )


def _behind(path: Path, tip: Tip, head: Tip) -> JournalIntegrityError:
    is_empty = tip.n == 0
    holds = "holds no record at all" if is_empty else f"ends at record {tip.n}"
    return _mismatch(
        path,
        "emptied" if is_empty else "behind",
        f"{holds}, but its head says that it had {head.n}: {head.n - tip.n} records are "
        "lost. Look for its -wal file, which may have been left behind in copying, and put both "
        "back; or restore journal and head from one backup",
    )


def _remarks(tip: Tip, head: Head) -> list[str]:
    remarks: list[str] = []
    if head.torn:
        remarks.append("one of the two slots of the head could not be read; it is written anew")
    lag = tip.commit - head.tip.commit
    if lag > 1:
        remarks.append(
            f"the head was {lag} commits behind the journal, as after a power cut, and was brought "
            f"up to date; had the journal lost its last {lag} commits, nothing would have told"
        )
    return remarks


def _mismatch(path: Path, problem: IntegrityProblem, text: str) -> JournalIntegrityError:
    return JournalIntegrityError(
        f"{path} {text}; or accept what there is: SQLiteJournal(..., accept_loss=True)",
        path=str(path),
        problem=problem,
    )

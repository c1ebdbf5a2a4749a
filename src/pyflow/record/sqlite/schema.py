"""The tables of a journal on disk, and how a new one is made.

A new journal appears at its path whole or not at all: it is made beside it
under another name, synced, and then linked to its place. So nobody, however
the maker ended, ever finds half of one there.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from pyflow.record.sqlite import locks

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["APPLICATION_ID", "TABLES", "VERSION", "make_journal"]

APPLICATION_ID = 0x7079666C
"""What a journal of ours has in its header: ``pyfl``."""

VERSION = 1
"""The version of these tables. A journal of a higher one is not opened."""

TABLES = """
CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE records (
    n INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    commit_no INTEGER NOT NULL,
    line TEXT NOT NULL,
    chain TEXT NOT NULL
);
CREATE UNIQUE INDEX records_by_run ON records (run_id, seq);
CREATE TABLE runs (
    run_id TEXT NOT NULL PRIMARY KEY,
    began INTEGER NOT NULL,
    records INTEGER NOT NULL,
    workflow TEXT,
    status TEXT NOT NULL
);
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    command TEXT NOT NULL,
    task TEXT,
    by TEXT,
    reason TEXT,
    at TEXT NOT NULL,
    data TEXT,
    taken INTEGER
);
CREATE INDEX inbox_pending ON inbox (run_id) WHERE taken IS NULL;
"""
"""`records` is the journal. `runs` is an index over it: it says nothing that a
reading of all records would not say. `inbox` is what other processes ask of a
run; `taken` is the number of the record that took it up. In `meta`, `id` is
the journal's own random name, and `head` whether it has had a head file."""


def make_journal(path: Path) -> None:
    """Make an empty journal at *path*, for its owner's eyes only.

    Where another process was faster, its journal stays.

    Raises:
        OSError: There can be no file there.
        sqlite3.Error: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
    try:
        _touch(draft)
        _fill(draft)
        _publish(draft, path)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _touch(draft: Path) -> None:
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)  # whatever the umask; -wal and -shm take after the database
    finally:
        os.close(fd)


def _fill(draft: Path) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.executescript(f"BEGIN; {TABLES} {locks.TABLES} COMMIT;")
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)",
            [("id", os.urandom(16).hex()), ("head", "pending")],
        )
        connection.execute("PRAGMA journal_mode = WAL")


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in *directory* outlast a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

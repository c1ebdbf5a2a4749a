"""What SQLite and the system say when something fails, as errors that say what to do."""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING

from pyflow.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FAULTS", "Told", "code_of", "journal_error"]

FAULTS = (sqlite3.Error, UnicodeError)
"""What SQLite raises, and its module for text that it cannot hand on, to SQLite or from it.

The latter may also be what SQLite says of a damaged schema, quoting it.
"""

FULL = "there is no room for it. Free some space, or raise the quota, then resume"
IO = (
    "the disk would not read or write. Look at the disk, its mount and limits such as "
    "`ulimit -f`, then open the journal again"
)
READ_ONLY = (
    "the journal, its directory or its file system cannot be written by this user. Make both "
    "writable, or name another path"
)
BUSY = (
    "another process kept it locked for longer than the busy timeout. Find that process, "
    "let it end, then try again"
)
BROKEN = (
    "its content is damaged, so none of it is trusted. Keep the file as it is, and put back the "
    "journal, its -wal and its .head together from one backup"
)
CLOSED_TO_US = "it cannot be opened. Look at the path, its permissions and the limit of open files"
OTHER = "that was not to be expected. Open the journal again; if it stays, report it"

ADVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("SQLITE_FULL", "ENOSPC", "EDQUOT"), FULL),
    (("SQLITE_IOERR", "EIO", "EFBIG"), IO),
    (("SQLITE_READONLY", "EROFS", "EACCES", "EPERM", "SQLITE_PERM", "SQLITE_AUTH"), READ_ONLY),
    (("SQLITE_BUSY", "SQLITE_LOCKED", "EAGAIN"), BUSY),
    (("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "UNREADABLE"), BROKEN),
    (("SQLITE_CANTOPEN", "ELOOP", "ENAMETOOLONG", "EMFILE", "ENFILE"), CLOSED_TO_US),
)
"""Beginnings of codes, and what to do about them."""


class Told:
    """A block in which SQLite's errors, and *more*, become a `JournalError`.

    A class, because a generator would tie error, traceback and cursor into a
    ring, and whatever the cursor had locked would stay so until it is collected.
    """

    __slots__ = ("_doing", "_faults", "_path")

    def __init__(self, path: Path, doing: str, *more: type[Exception]) -> None:
        self._path = path
        self._doing = doing
        self._faults = (*FAULTS, *more)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, self._faults):
            raise journal_error(error, self._path, self._doing) from error


def code_of(error: Exception) -> str:
    """Return the name that SQLite or the system has for *error*."""
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, "EUNKNOWN")
    if isinstance(error, UnicodeError):
        return "UNICODE" if isinstance(error, UnicodeEncodeError) else "UNREADABLE"
    name: str | None = getattr(error, "sqlite_errorname", None)
    if name is None:  # raised by the module sqlite3 itself
        return "UNREADABLE" if "decode" in str(error) else "SQLITE_MISUSE"
    return name


def journal_error(error: Exception, path: Path, doing: str) -> JournalError:
    """Return the error to raise for *error*, which came up while *doing* something to *path*."""
    code = code_of(error)
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    advice = next((text for names, text in ADVICE if code.startswith(names)), OTHER)
    if code == "UNICODE":
        advice = "SQLite stores Unicode; leave out lone surrogates"
    return JournalError(f"{path}: {doing} failed with {code} ({said}): {advice}")

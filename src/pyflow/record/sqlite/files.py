"""Which path can be a journal: looked at from outside, without opening what is there.

Nothing here opens the database file itself. A process that closes any
descriptor of a file loses all its POSIX locks on that file, and SQLite's are
of that kind.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pyflow.errors import JournalError, JournalIntegrityError, shown
from pyflow.record.sqlite.filesystems import NETWORK, filesystem_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HEAD_SUFFIX", "is_there", "place_of"]

HEAD_SUFFIX = ".head"
BYTES_MIN = 512
"""The smallest page that an SQLite database can have."""
LEFT_BEHIND = (HEAD_SUFFIX, "-wal", "-journal")
KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def place_of(
    path: str | os.PathLike[str],
    /,
    *,
    filesystem_of: Callable[[Path], str | None] = filesystem_of,
) -> Path:
    """Return the absolute path at which the journal *path* is, with links followed.

    Links are followed because SQLite does, and because people keep data
    behind them. Done once and here, every name of a journal leads to one
    ``-wal``, one head and one set of locks.

    Raises:
        JournalError: There can be no journal there.
    """
    text = os.fspath(path)
    if text in ("", ":memory:"):
        raise JournalError(
            f"the journal {text!r} is no file; name one, or use MemoryJournal() to keep it in memory"
        )
    if "\0" in text:
        raise JournalError(f"the path {shown(text)} has a NUL in it, which no file name can")
    place = Path(os.path.realpath(text))
    _check_directory(place)
    kind = filesystem_of(place.parent)
    if kind in NETWORK:
        raise JournalError(
            f"{place} is on a network file system ({kind}), where SQLite's WAL damages data; "
            "name a path on a disk of this machine"
        )
    return place


def is_there(path: Path) -> bool:
    """Return whether there is a file at *path* that may be a journal; if not, there may be one.

    Raises:
        JournalError: There is something else, or nobody may write there.
        JournalIntegrityError: There is less than there was.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        left = _left_behind(path)
        if left is None:
            return False
        if not path.exists():
            raise _gone(path, left) from None
        found = path.stat()  # somebody has made it just now
    if not stat.S_ISREG(found.st_mode):
        kind = next((text for test, text in KINDS if test(found.st_mode)), "no regular file")
        raise JournalError(f"{path} is {kind}, not a journal; name a regular file")
    if found.st_size < BYTES_MIN:
        _refuse_short(path, found.st_size)
    if not os.access(path, os.R_OK | os.W_OK):
        raise _denied(path, "cannot be read and written")
    return True


def _check_directory(place: Path) -> None:
    parent = place.parent
    if not parent.exists():
        raise JournalError(
            f"the directory of {place} does not exist (ENOENT); make it, or name another path"
        )
    if not parent.is_dir():
        raise JournalError(f"{parent} is not a directory (ENOTDIR), so {place} cannot be a journal")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _denied(parent, "cannot be written, and SQLite has to put files beside the journal")


def _left_behind(path: Path) -> str | None:
    """Return the name of a file that a journal at *path* has had beside it, or None."""
    names = [path.name + suffix for suffix in LEFT_BEHIND]
    return next((name for name in names if os.path.lexists(path.with_name(name))), None)


def _gone(path: Path, left: str) -> JournalIntegrityError:
    return JournalIntegrityError(
        f"{path} is gone, but {left} is still there, so there was a journal. Put it back; or, if "
        f"its runs no longer matter, remove {left} to begin a new one",
        path=str(path),
        problem="gone",
    )


def _refuse_short(path: Path, size: int) -> None:
    """Refuse what SQLite would take for a database that is still empty."""
    if os.path.lexists(path.with_name(path.name + HEAD_SUFFIX)):
        raise JournalIntegrityError(
            f"{path} has {size} bytes, but its head file is there, so it held a journal. Put the "
            "journal, its -wal and its .head back from one backup",
            path=str(path),
            problem="emptied",
        )
    raise JournalError(
        f"{path} has {size} bytes, fewer than any journal, and SQLite would take it for an empty "
        "one. If it was a journal, put it back from a backup; if not, remove it, or name another path"
    )


def _denied(path: Path, what: str) -> JournalError:
    is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    code = "EROFS: the file system is read-only" if is_read_only else "EACCES: permission denied"
    return JournalError(
        f"{path} {what} by user {os.geteuid()} ({code}); make it writable, or name another path"
    )

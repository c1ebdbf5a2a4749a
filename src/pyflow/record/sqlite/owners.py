"""Who is alive on this host: one locked file for each owner.

An owner is whoever has a database open: one engine of one process. For as
long as it lives it holds an exclusive `flock` on a file of its own, beside
the database. The kernel lets go of that when the process ends, however it
ends, so nobody has to clean up after a `kill -9`, and no number of a process
is ever compared with another's.

To ask whether an owner is alive is to try a shared lock on its file. A
shared one, so that two who ask do not take each other for the owner.

An owner's name is random and never used twice, and its file is locked before
anybody is told the name. So a file that can be locked belongs to the dead,
and is removed by whoever finds that out. Two who remove would stand in each
other's way at worst: they take turns by a lock on the directory, and look
again whether the file is still the one that they have locked.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import weakref
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pyflow.errors import LockError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Owner"]

SUFFIX = ".owners"
NAME = re.compile(r"[0-9a-f]{32}")
NAMES_MAX = 16
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Owner:
    """One who has a database open, and is known to be alive until it is closed or its process ends.

    A process that is forked off is not the owner, although it looks like it:
    in there, the owner is closed from the start.

    Args:
        database: The path of the database. Whatever links lead to it, there
            is one directory of owners beside it, only for its own user.
        now: Tells the instant that the owner's file gives for its beginning.

    Raises:
        LockError: The directory or the file in it cannot be made.
    """

    def __init__(self, database: str | os.PathLike[str], *, now: Callable[[], datetime]) -> None:
        self.pid = os.getpid()
        self.host = os.uname().nodename
        self.directory = Path(os.path.realpath(database) + SUFFIX)
        about = self._about(now())
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            self._sweep()
            self._file = self._begin()
        except OSError as error:
            raise LockError(
                f"nobody could tell that this engine is alive: {self.directory}: {error}; "
                "make it a directory that this user may write to, on a local disk with room on it"
            ) from error
        self.id = Path(self._file.name).name
        with suppress(OSError):  # on a full disk, it is alive all the same
            self._file.write(about)
        os.register_at_fork(after_in_child=partial(_disown, weakref.ref(self)))

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<Owner {self.id[:8]} of {self.directory.stem} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether this process is the owner, and has not closed it."""
        return not self._file.closed and os.getpid() == self.pid

    def check_open(self) -> None:
        """Make sure that this process may act as the owner.

        Raises:
            LockError: The owner is closed, or this process was forked off.
        """
        if self.is_open:
            return
        if os.getpid() != self.pid:
            raise LockError(
                f"this process (pid {os.getpid()}) was forked off the one that has the database "
                f"open (pid {self.pid}); make an engine of its own in here"
            )
        raise LockError("the database is closed; make another engine")

    def is_alive(self, owner_id: str, /) -> bool:
        """Return whether the owner *owner_id* is alive, in whatever process of this host.

        Raises:
            LockError: That cannot be found out.
        """
        if not NAME.fullmatch(owner_id):
            return False
        try:
            return self._look(owner_id)
        except OSError as error:
            raise LockError(
                f"whether owner {owner_id} is alive cannot be told: {self.directory}: {error}; "
                "see that this user may read what is in there"
            ) from error

    def close(self) -> None:
        """Stop being alive. Closing again changes nothing."""
        if not self.is_open:
            return
        with suppress(OSError):  # it is gone already, or will be removed as that of a dead one
            (self.directory / self.id).unlink()
        self._file.close()

    def _begin(self) -> FileIO:
        """Make a file, and have it locked before anybody knows its name."""
        for _ in range(NAMES_MAX):
            path = self.directory / secrets.token_hex(16)
            file = FileIO(path, "x", opener=_open_private)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file.fileno(), path):
                    return file
            except BlockingIOError:  # somebody who sweeps has found it, and will remove it
                pass
            except BaseException:
                file.close()
                path.unlink(missing_ok=True)
                raise
            file.close()
        raise FileExistsError(f"{NAMES_MAX} new files were removed at once")

    def _about(self, since: datetime) -> bytes:
        """Return what a person finds in the file. Nothing in pyflow reads it."""
        boot_id = BOOT_ID.read_text().strip() if BOOT_ID.exists() else None
        about = {
            "pid": self.pid,
            "host": self.host,
            "boot_id": boot_id,
            "started": since.isoformat(),
        }
        return f"{json.dumps(about)}\n".encode()

    def _sweep(self) -> None:
        """Remove the files of the dead."""
        for name in sorted(os.listdir(self.directory)):  # noqa: PTH208 - names are all it takes
            if NAME.fullmatch(name):
                with suppress(OSError):  # whoever needs to know about that one will be told
                    self._look(name)

    def _look(self, name: str) -> bool:
        """Return whether the owner *name* is alive, and remove its file if not."""
        path = self.directory / name
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            with suppress(OSError):  # then it stays, and tells the same to the next who looks
                self._remove(path, file)
            return False
        finally:
            os.close(file)

    def _remove(self, path: Path, file: int) -> None:
        """Remove *path*, which *file* has locked, unless somebody else is removing."""
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                path.unlink()
        finally:
            fcntl.flock(directory, fcntl.LOCK_UN)  # for whoever has inherited it, too
            os.close(directory)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _is_at(file: int, path: Path) -> bool:
    """Return whether *path* still leads to the open *file*."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _disown(owner: weakref.ref[Owner]) -> None:
    """Take the file away from a process that was forked off; the lock stays with its parent."""
    found = owner()
    if found is not None:
        found._file.close()  # noqa: SLF001 - one of this module's own

"""The head of a journal: a small file beside it that says where the journal ended.

SQLite cannot tell a journal that lost its end from one that never had it: a
missing ``-wal``, a damaged page in it or an old copy make a sound database.
The head can. It holds two slots, each a line of fixed length with a checksum
on a page of its own, and is written in place after each commit.

What it costs, and what it can miss: a write to the head is not synced by
itself, because that would double the time of a commit and guard against
nothing that the commit's own sync leaves open. It is synced every
`SYNC_EVERY` commits and when the journal is closed. No commit is ever lost
with it; the head alone lags, after

- the death of the process, at any moment, by one commit at most, because what
  is written outlasts the process, synced or not;
- a power cut, by `SYNC_EVERY` commits at most.

By so much could the journal lose its end unnoticed. A journal that is ahead
of its head is nothing bad: `verify` finds nothing wrong with it, and the head
is brought up to date when it is opened.

Between two syncs only one of the slots is written; the other one has been
synced, so one that tears as the power goes leaves it whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from pyflow.errors import JournalError, JournalIntegrityError
from pyflow.frozen import frozen
from pyflow.record.sqlite.faults import journal_error
from pyflow.record.sqlite.tip import START, Tip

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SYNC_EVERY", "Head", "HeadFile", "read_head", "write_head"]

SYNC_EVERY = 64
"""How many writes of the head may be lost to a power cut."""

TAG = "pyflow-head-v1"
PITCH = 4096
PLACES = (0, PITCH)
SLOT_BYTES = len(TAG) + 1 + 32 + 1 + 20 + 1 + 20 + 1 + 64 + 1 + 64 + 1
OPEN_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
SYNC = getattr(os, "fdatasync", os.fsync)


@frozen
class Head:
    """What a head file says."""

    database_id: str
    """The journal that it belongs to."""

    tip: Tip
    """Where that journal ended."""

    torn: int = 0
    """How many of its slots could not be read."""


def encode_slot(database_id: str, tip: Tip) -> bytes:
    """Return the slot that says where the journal *database_id* ends."""
    text = f"{TAG} {database_id} {tip.commit:020d} {tip.n:020d} {tip.chain}"
    return f"{text} {hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def decode_slot(data: bytes) -> tuple[str, Tip] | None:
    """Return what a slot says, or None if it is not as it was written."""
    try:
        _, database_id, commit, n, chain, _ = data.decode("ascii").split(" ")
        tip = Tip(int(n), int(commit), chain)
    except ValueError:
        return None
    return (database_id, tip) if encode_slot(database_id, tip) == data else None


def read_head(path: Path) -> Head | None:
    """Return what the head file at *path* says, or None if there is none.

    Raises:
        JournalIntegrityError: Neither slot can be read.
        OSError: The file cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | OPEN_FLAGS)
    except FileNotFoundError:
        return None
    try:
        with suppress(BlockingIOError):  # whoever writes now writes one slot, in one piece
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        slots = _slots(fd)
    finally:
        os.close(fd)
    return _newest(slots, path)


def write_head(path: Path, database_id: str, tip: Tip) -> None:
    """Write a head file at *path*, both slots, whatever was there.

    Raises:
        OSError: It cannot be written.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, 0o600)
    try:
        os.fchmod(fd, 0o600)
        for place in PLACES:
            _pwrite(fd, encode_slot(database_id, tip), place)
        os.fsync(fd)
    finally:
        os.close(fd)


class HeadFile:
    """The head of an open journal.

    Several processes may write it in turn. It only ever moves forward. One
    that nobody closes lets go of the file once nothing refers to it.
    """

    def __init__(self, path: Path, database_id: str, *, sync_every: int = SYNC_EVERY) -> None:
        self.path = path
        self.database_id = database_id
        self._sync_every = sync_every
        self._tip = START
        self._owed: Tip | None = None
        self._slots: tuple[bytes, ...] = ()
        self._place = PLACES[0]
        self._written = 0
        self._torn = 0
        self._fd = os.open(path, os.O_RDWR | OPEN_FLAGS)
        self._let_go = weakref.finalize(self, _close, self._fd, os.fstat(self._fd))
        self._let_go.atexit = False  # then the system does it, and others may write until then

    def __repr__(self) -> str:
        return f"<HeadFile {self.path.name} n={self._tip.n}>"

    def write(self, tip: Tip) -> None:
        """Say that the journal ends at *tip*, which is durable.

        It does not fail, because the commit has not either: what could not be
        written is owed, and `settle` tells.
        """
        self._owed = tip
        with suppress(OSError, JournalError):
            self._pay(tip)

    def settle(self) -> None:
        """Write what could not be written before.

        Raises:
            JournalError: It still cannot be written.
        """
        if self._owed is None:
            return
        try:
            self._pay(self._owed)
        except BlockingIOError:  # another process writes it, or was stopped while it did
            pass
        except OSError as error:
            raise journal_error(error, self.path, "writing the head") from error

    def level(self) -> int:
        """Bring both slots up to date, durably, and return up to which record the head is sure.

        Whatever becomes of this process or the power, what is read from the
        head afterwards is that record or a later one; 0 where that cannot be said.

        Raises:
            JournalError: They cannot be written.
        """
        self.settle()
        try:
            with suppress(BlockingIOError):  # another process writes; it says below how far
                self._level()
            SYNC(self._fd)
            found = [decode_slot(slot) for slot in _slots(self._fd)]
        except OSError as error:
            raise journal_error(error, self.path, "writing the head") from error
        return min(slot[1].n if slot is not None else 0 for slot in found)

    def close(self) -> None:
        """Bring both slots up to date and let go of the file.

        Raises:
            JournalError: They cannot be written.
        """
        try:
            self.settle()
            if self._written or self._torn:
                self._level()
        except BlockingIOError:
            pass
        except OSError as error:
            raise journal_error(error, self.path, "writing the head") from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file, as a process does that was forked off."""
        self._fd = -1
        self._let_go()

    def _pay(self, tip: Tip) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if _slots(self._fd) != self._slots:
                self._catch_up()
            if tip.n > self._tip.n:
                self._put(tip)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._owed = None

    def _catch_up(self) -> None:
        """Take note of what another process wrote, and leave the newer slot alone."""
        SYNC(self._fd)
        slots = _slots(self._fd)
        head = _newest(slots, self.path)
        if head.database_id != self.database_id:
            raise foreign(self.path, head, self.database_id)
        self._tip, self._torn = head.tip, head.torn
        newer = encode_slot(head.database_id, head.tip)
        self._place = PLACES[1] if slots[0] == newer else PLACES[0]
        self._slots, self._written = slots, 0

    def _put(self, tip: Tip) -> None:
        slot = encode_slot(self.database_id, tip)
        _pwrite(self._fd, slot, self._place)
        first, second = self._slots
        self._slots = (slot, second) if self._place == PLACES[0] else (first, slot)
        self._tip = tip
        self._written += 1
        if self._written >= self._sync_every:
            self._turn()

    def _turn(self) -> None:
        """Sync the slot that was written, so that the other one may be."""
        SYNC(self._fd)
        self._written = 0
        self._place = PLACES[1] if self._place == PLACES[0] else PLACES[0]

    def _level(self) -> None:
        """Have both slots say the same, unless another process has written meanwhile."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if _slots(self._fd) == self._slots:
                if self._written:
                    self._turn()
                _pwrite(self._fd, encode_slot(self.database_id, self._tip), self._place)
                SYNC(self._fd)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def foreign(path: Path, head: Head, database_id: str) -> JournalIntegrityError:
    """Return the error for a *head* of another journal than *database_id*."""
    return JournalIntegrityError(
        f"{path} is the head of another journal ({head.database_id[:8]}), not of this one "
        f"({database_id[:8]}): one of the two files was exchanged. Put a journal and its head back "
        "together",
        path=str(path),
        problem="foreign_head",
    )


def _close(fd: int, head: os.stat_result) -> None:
    """Close *fd*, unless a process that was forked off has made it something else than *head*."""
    with suppress(OSError):  # or has closed it, with all that it inherited
        if os.path.samestat(os.fstat(fd), head):
            os.close(fd)


def _slots(fd: int) -> tuple[bytes, ...]:
    return os.pread(fd, SLOT_BYTES, PLACES[0]), os.pread(fd, SLOT_BYTES, PLACES[1])


def _newest(slots: tuple[bytes, ...], path: Path) -> Head:
    found = [slot for slot in map(decode_slot, slots) if slot is not None]
    if not found:
        raise JournalIntegrityError(
            f"{path} cannot be read: neither of its two slots is as it was written, so nothing "
            "tells whether the journal still has its end. Put the journal and its head back from "
            "one backup",
            path=str(path),
            problem="unreadable_head",
        )
    database_id, tip = max(found, key=lambda slot: slot[1].n)
    return Head(database_id, tip, len(slots) - len(found))


def _pwrite(fd: int, data: bytes, place: int) -> None:
    if os.pwrite(fd, data, place) != len(data):
        raise OSError(5, "only a part was written")

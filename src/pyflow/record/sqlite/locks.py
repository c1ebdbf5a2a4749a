"""Locks for all processes of one host that share a database.

One row for each resource says who has it, or who left something there, and
counts its epochs; it is never deleted, so an epoch never comes back. Whether
a holder is alive says its `Owner`; that its run is unfinished says the row,
which `release` alone gives back.

Everything is decided inside a write transaction, so by one at a time. Those
who wait read in between, at short intervals that grow while nothing changes,
and write only once what they see concerns them.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pyflow.errors import JournalError, LockError, LockHeld, LockLost, LockMoved, RunAlive
from pyflow.protocols import Holder, Lease
from pyflow.record.refusals import (
    alive_text,
    held_text,
    in_line_text,
    moved_text,
    residue_text,
    unfinished_text,
)
from pyflow.record.sqlite.cells import MAYBE, checked, parsed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Generator, Iterable, Sequence

    from pyflow.protocols import LockPolicy
    from pyflow.record.sqlite.database import Database
    from pyflow.record.sqlite.owners import Owner

    Standing: TypeAlias = Literal["held", "dead", "residue"]

    _Read: TypeAlias = Callable[[str, tuple[Any, ...]], Iterable[tuple[Any, ...]]]

__all__ = ["TABLES", "SQLiteLocks", "check"]

INDEX = "CREATE INDEX IF NOT EXISTS locks_taken ON locks (run_id) WHERE run_id IS NOT NULL"
"""Finds what a run has or left among the rows of all runs that ever were. A journal that
has none, because an earlier version made it, is given one."""

TABLES = f"""
CREATE TABLE locks (
    resource TEXT NOT NULL PRIMARY KEY,
    epoch INTEGER NOT NULL,
    run_id TEXT,
    owner TEXT,
    since TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    CHECK (owner IS NULL OR run_id IS NOT NULL)
);
CREATE TABLE waiters (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    resources TEXT NOT NULL
);
{INDEX};
"""
"""A lock with an owner is held, one with only a run has residue, one with neither is free."""

HELD = "SELECT 1 FROM locks WHERE resource = ? AND epoch = ? AND run_id = ? AND owner IS NOT NULL"
"""Finds a lock that is held as a lease says; what `check` makes sure of."""
PAUSE_S = (0.02, 0.5)
GROWTH = 1.5
LOOKS_MAX = 20

SET = """
INSERT INTO locks (resource, epoch, run_id, owner, since, host, pid) VALUES (?, 1, ?, ?, ?, ?, ?)
ON CONFLICT (resource) DO UPDATE SET epoch = epoch + 1, run_id = excluded.run_id,
owner = excluded.owner, since = excluded.since, host = excluded.host, pid = excluded.pid
"""
EPOCH = "SELECT epoch, run_id FROM locks WHERE resource = ?"
LINE = "SELECT ticket, run_id, owner, resources FROM waiters ORDER BY ticket"
COLUMNS = "SELECT resource, epoch, run_id, owner, since, host, pid FROM locks"
IS_INDEXED = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'locks_taken'"
NAMES_MAX = 500
"""How many resources are asked for in one statement; every SQLite takes some more."""


@dataclass(frozen=True, slots=True)
class _Lock:
    """A resource that a run has, or has left something on."""

    resource: str
    epoch: int
    run_id: str
    owner: str | None  # None where the run gave it back with residue
    since: datetime
    host: str
    pid: int

    def holder(self, *, is_alive: bool) -> Holder:
        """Return who has it, as people are told."""
        lease = Lease(self.resource, self.run_id, self.epoch)
        return Holder(lease, is_alive, self.host, self.pid, self.since)


@dataclass(frozen=True, slots=True)
class _Waiter:
    """One who waits for some resources."""

    ticket: int
    run_id: str
    owner: str
    resources: frozenset[str]


class _Place:
    """Where one who wants some resources stands."""

    def __init__(
        self,
        run_id: str | None,
        wanted: Sequence[str],
        had: Sequence[Lease],
        told: Callable[[Holder], None] | None = None,
    ) -> None:
        self.run_id = run_id
        self.wanted = wanted
        self.had = [lease for lease in had if lease.resource in wanted]
        self.told = told
        self.knows: set[tuple[str, int]] = set()  # leases that it was told of
        self.ticket: int | None = None
        self.missed: dict[int, int] = {}  # by ticket, how often in a row they did not come

    def tell(self, holders: Iterable[_Lock]) -> None:
        """Have whoever waits hear of *holders*, of each lease once."""
        for lock in holders:
            if self.told is not None and (lock.resource, lock.epoch) not in self.knows:
                self.knows.add((lock.resource, lock.epoch))
                self.told(lock.holder(is_alive=True))

    def note(self, called: Iterable[_Waiter]) -> None:
        """Count a look at which it was the turn of *called*, and they had not come yet."""
        self.missed = {w.ticket: self.missed.get(w.ticket, 0) + 1 for w in called}


class _View:
    """What one look shows: those who wait, in order, and of what they and I want, what is not free.

    Of other resources it knows nothing: there is one for each run that ever was.
    """

    def __init__(
        self, read: _Read, is_alive: Callable[[str], bool], wanted: Iterable[str] = ()
    ) -> None:
        waiters = [_waiter_in(row) for row in read(LINE, ())]
        names = {*wanted}.union(*(waiter.resources for waiter in waiters))
        locks = [_lock_in(row) for row in _taken(read, sorted(names))]
        owners = dict.fromkeys(one.owner for one in (*locks, *waiters))
        alive = {owner: owner is not None and is_alive(owner) for owner in owners}
        self.held = {lock.resource: lock for lock in locks if alive[lock.owner]}
        self.left = {lock.resource: lock for lock in locks if not alive[lock.owner]}
        self.line = [waiter for waiter in waiters if alive[waiter.owner]]
        self.gone = [waiter for waiter in waiters if not alive[waiter.owner]]
        self._read = read

    def has(self, ticket: int | None) -> bool:
        """Return whether *ticket* is in the line."""
        return any(waiter.ticket == ticket for waiter in self.line)

    def moved(self, had: Iterable[Lease]) -> tuple[Lease, int, str | None] | None:
        """Return the first of *had* that is not its run's own any more, its epoch and whose it is."""
        for lease in had:
            rows = self._read(EPOCH, (lease.resource,))
            for epoch, run_id in rows:
                if epoch != lease.epoch and run_id != lease.run_id:
                    return lease, epoch, run_id
        return None

    def holders(self, resources: Iterable[str]) -> list[_Lock]:
        """Return those that are held among *resources*."""
        return [self.held[name] for name in resources if name in self.held]

    def earlier(self, resources: Iterable[str], ticket: int | None) -> list[_Waiter]:
        """Return those who came before *ticket*, or before anybody new, for one of *resources*.

        What a run has left nobody but that run can take, so nobody is before it there.
        """
        contested = {name for name in resources if name not in self.left}
        return [
            waiter
            for waiter in self.line
            if (ticket is None or waiter.ticket < ticket)
            and not contested.isdisjoint(waiter.resources)
        ]

    def called(self, waiters: Iterable[_Waiter]) -> list[_Waiter]:
        """Return those of *waiters* whose turn it is."""
        return [
            waiter
            for waiter in waiters
            if self.held.keys().isdisjoint(waiter.resources)
            and not self.earlier(waiter.resources, waiter.ticket)
        ]


class SQLiteLocks:
    """Lets one run at a time touch a resource, over all processes that share a database.

    Those who wait are served in the order in which they came. One who has
    died, or does not come when it is their turn (a stopped process, say),
    loses their place; whoever wakes up again goes to the end of the line.

    Args:
        database: Where the locks are kept, beside the record.
        owner: Who takes them. When it is closed or dies, whatever it has not
            given back is unfinished.
        now: Tells the instants that people are shown. Nothing is decided by them.
        pause_s: The shortest and the longest wait between two looks, in seconds.
        looks: How many looks of others one may miss when it is their turn.
    """

    def __init__(
        self,
        database: Database,
        owner: Owner,
        *,
        now: Callable[[], datetime],
        pause_s: tuple[float, float] = PAUSE_S,
        looks: int = LOOKS_MAX,
    ) -> None:
        self._database = database
        self._owner = owner
        self._now = now
        self._pause_s = pause_s
        self._looks = looks
        self._index()

    def __repr__(self) -> str:
        return f"<SQLiteLocks of {self._owner!r}>"

    async def acquire(
        self,
        run_id: str,
        resources: Sequence[str],
        /,
        *,
        policy: LockPolicy = "wait",
        had: Sequence[Lease] = (),
        told: Callable[[Holder], None] | None = None,
    ) -> list[Lease]:
        """Wait until every one of *resources* is free, and take them all, in sorted order.

        A run whose process died may take again what it had, at a new epoch.
        *had* is what the run says that it has had of them, and *told* hears of
        everybody who has one of them while this waits.

        Raises:
            LockHeld: Another run has one of them, and *policy* is ``fail``.
            LockMoved: Somebody broke or took one that the run has had.
            RunAlive: *run_id* has one of them, and whoever took it is alive.
            LockError: Another run died there or left residue, before this one
                came or while it waited; or the database cannot be used, as
                with every other call.
        """
        place = _Place(run_id, sorted(set(resources)), had, told)
        if not place.wanted:
            return []
        try:
            while (leases := self._try(place, policy)) is None:
                await self._wait(place)
        except BaseException:
            self._leave(place)
            raise
        return leases

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        """Give *leases* back; with *residue*, so that nobody takes them unawares."""
        if not leases:
            return
        since = self._now().isoformat()
        with self._writing() as cursor:
            for lease in leases:
                cursor.execute(
                    "UPDATE locks SET owner = NULL, run_id = ?, since = ? "
                    "WHERE resource = ? AND run_id = ? AND epoch = ? AND owner IS NOT NULL",
                    (
                        lease.run_id if residue else None,
                        since,
                        lease.resource,
                        lease.run_id,
                        lease.epoch,
                    ),
                )

    def holder(self, resource: str, /) -> Holder | None:
        """Return who holds *resource*, dead or alive, or None where nobody does."""
        lock, is_alive = self._settled(resource)
        if lock is None or lock.owner is None:
            return None
        return lock.holder(is_alive=is_alive)

    def refusal(
        self,
        resources: Sequence[str],
        /,
        *,
        run_id: str | None = None,
        policy: LockPolicy = "wait",
        had: Sequence[Lease] = (),
    ) -> LockError | None:
        """Return what `acquire` would raise as things are, or None where it would take or wait."""
        place = _Place(run_id, resources, had)
        moved = self._why_moved(self._view(resources), place) if place.had else None
        if moved is not None:
            return moved
        for resource in resources:
            lock, is_alive = self._settled(resource)
            error = self._refused(lock, run_id, is_alive=is_alive)
            if error is not None:
                return error
        if policy == "fail":
            view = self._view(resources)
            holders, earlier = view.holders(resources), view.earlier(resources, None)
            if holders or earlier:
                return self._in_the_way(holders, earlier, place)
        return None

    def left(self, run_id: str, /) -> list[str]:
        """Return, in sorted order, what only *run_id* may take: it died there, or left residue."""
        locks = self._locks("run_id = ?", run_id)
        found = {lock.resource: self._settled(lock.resource) for lock in locks}
        return sorted(
            resource
            for resource, (lock, is_alive) in found.items()
            if lock is not None and lock.run_id == run_id and not is_alive
        )

    def listed(self) -> list[tuple[Holder, Standing]]:
        """Return who has every resource that is not free, in sorted order, and how that stands.

        Where a run gave a resource back with residue, the holder is that run.
        """
        found: list[tuple[Holder, Standing]] = []
        taken = self._locks("run_id IS NOT NULL")  # asked for in order, SQLite reads all rows
        for one in sorted(taken, key=lambda lock: lock.resource):
            lock, is_alive = self._settled(one.resource)
            if lock is not None:
                left: Standing = "dead" if lock.owner is not None else "residue"
                found.append((lock.holder(is_alive=is_alive), "held" if is_alive else left))
        return found

    def break_lock(self, resource: str, /) -> int:
        """Free *resource* whatever its state, and return its new epoch; the old lease is void."""
        with self._writing() as cursor:
            return self._set(cursor, resource, run_id=None, owner=None)

    # In line ------------------------------------------------------------------------------

    def _try(self, place: _Place, policy: LockPolicy) -> list[Lease] | None:
        """Take what is wanted, or else have a ticket for it."""
        with self._writing() as cursor:
            self._owner.check_open()
            view = self._view(place.wanted, _reader(cursor))
            error = self._why_refused(view, place)
            if error is not None:
                raise error
            earlier = view.earlier(place.wanted, place.ticket)
            absent = self._absent(view, place, earlier)
            for waiter in (*view.gone, *absent):
                cursor.execute("DELETE FROM waiters WHERE ticket = ?", (waiter.ticket,))
            holders = view.holders(place.wanted)
            if not holders and earlier == absent:
                assert place.run_id is not None
                cursor.execute("DELETE FROM waiters WHERE ticket = ?", (place.ticket,))
                return [self._take(cursor, resource, place.run_id) for resource in place.wanted]
            if policy == "fail":
                raise self._in_the_way(holders, earlier, place)
            if not view.has(place.ticket):
                cursor.execute(
                    "INSERT INTO waiters (run_id, owner, resources) VALUES (?, ?, ?)",
                    (place.run_id, self._owner.id, json.dumps(place.wanted)),
                )
                place.ticket = cursor.lastrowid
        place.tell(holders)
        return None

    async def _wait(self, place: _Place) -> None:
        """Wait until it looks as if it were worth another try."""
        least, most = self._pause_s
        pause_s, before = least, None
        while True:
            await asyncio.sleep(pause_s)
            view = self._view(place.wanted)
            earlier = view.earlier(place.wanted, place.ticket)
            ahead = [*view.holders(place.wanted), *earlier]
            place.note(view.called(earlier))
            place.tell(view.holders(place.wanted))
            if (
                not ahead
                or not view.has(place.ticket)
                or self._absent(view, place, earlier)
                or self._why_refused(view, place) is not None
            ):
                return
            # Whoever is far back has no need to look often.
            pause_s = min(pause_s * GROWTH if ahead == before else least * len(ahead), most)
            before = ahead

    def _leave(self, place: _Place) -> None:
        """Give the ticket back. Where that fails, it is taken away for not coming."""
        if place.ticket is not None:
            with suppress(LockError), self._writing() as cursor:
                cursor.execute("DELETE FROM waiters WHERE ticket = ?", (place.ticket,))

    def _absent(self, view: _View, place: _Place, earlier: list[_Waiter]) -> list[_Waiter]:
        """Return those of *earlier* who did not come although it was, and is, their turn."""
        missed = [w for w in earlier if place.missed.get(w.ticket, 0) >= self._looks]
        return view.called(missed)

    def _take(self, cursor: sqlite3.Cursor, resource: str, run_id: str) -> Lease:
        return Lease(
            resource, run_id, self._set(cursor, resource, run_id=run_id, owner=self._owner.id)
        )

    def _set(
        self, cursor: sqlite3.Cursor, resource: str, *, run_id: str | None, owner: str | None
    ) -> int:
        """Begin a new epoch of *resource*, and return it."""
        since, host, pid = self._now().isoformat(), self._owner.host, self._owner.pid
        cursor.execute(SET, (resource, run_id, owner, since, host, pid))
        row = cursor.execute("SELECT epoch FROM locks WHERE resource = ?", (resource,)).fetchone()
        epoch: int
        [epoch] = checked(f"the epoch of the lock {resource!r}", row, int)
        return epoch

    def _index(self) -> None:
        """Make what finds the locks of a run, where an earlier version has made the journal."""
        with suppress(JournalError):  # what cannot be written now is written another time
            if not self._database.reading(IS_INDEXED):
                with self._database.writing() as cursor:
                    cursor.execute(INDEX)

    # Why not ------------------------------------------------------------------------------

    def _why_refused(self, view: _View, place: _Place) -> LockError | None:
        moved = self._why_moved(view, place)
        if moved is not None:
            return moved
        for resource in place.wanted:
            held = view.held.get(resource)
            error = self._refused(
                held or view.left.get(resource), place.run_id, is_alive=held is not None
            )
            if error is not None:
                return error
        return None

    def _why_moved(self, view: _View, place: _Place) -> LockMoved | None:
        moved = view.moved(place.had)
        if moved is None:
            return None
        lease, epoch, run_id = moved
        return LockMoved(moved_text(lease, epoch, run_id), lease=lease, epoch=epoch)

    def _refused(
        self, lock: _Lock | None, run_id: str | None, *, is_alive: bool
    ) -> LockError | None:
        """Return why *run_id* cannot even wait for *lock*, or None."""
        if lock is None:
            return None
        holder, now, is_its_own = lock.holder(is_alive=is_alive), self._now(), lock.run_id == run_id
        if is_alive:
            return RunAlive(alive_text(holder, now=now), holder=holder) if is_its_own else None
        if is_its_own:
            return None
        if lock.owner is not None:
            return LockError(unfinished_text(holder, now=now))
        return LockError(residue_text(lock.resource, lock.run_id, since=holder.since, now=now))

    def _in_the_way(self, holders: list[_Lock], earlier: list[_Waiter], place: _Place) -> LockHeld:
        if holders:
            holder = holders[0].holder(is_alive=True)
            return LockHeld(held_text(holder, now=self._now()), holder=holder)
        shared = next(name for name in place.wanted if name in earlier[0].resources)
        return LockHeld(in_line_text(shared, earlier[0].run_id))

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Cursor]:
        try:
            with self._database.writing() as cursor:
                yield cursor
        except JournalError as error:
            raise LockError(f"the locks could not be written: {error}") from error

    def _view(self, wanted: Iterable[str] = (), read: _Read | None = None) -> _View:
        """Return what a look shows to one who wants *wanted*, inside a transaction if *read* is."""
        with _as_lock_error():
            return _View(read or self._database.reading, self._owner.is_alive, wanted)

    def _locks(self, where: str, *params: str) -> list[_Lock]:
        with _as_lock_error():
            rows = self._database.reading(f"{COLUMNS} WHERE {where}", params)
            return [_lock_in(row) for row in rows]

    def _settled(self, resource: str) -> tuple[_Lock | None, bool]:
        """Return the lock on *resource* if it is not free, and whether its holder is alive.

        One who was found dead may have given the lock back just before. So
        that counts only if the lock is, after the death, still what it was.
        """
        lock = self._lock(resource)
        while lock is not None and lock.owner is not None:
            if self._owner.is_alive(lock.owner):
                return lock, True
            before, lock = lock, self._lock(resource)
            if lock == before:
                break
        return lock, False

    def _lock(self, resource: str) -> _Lock | None:
        return next(iter(self._locks("resource = ? AND run_id IS NOT NULL", resource)), None)


def check(cursor: sqlite3.Cursor, leases: Iterable[Lease], /) -> None:
    """Make sure that *leases* still hold, inside the write transaction that *cursor* is in.

    What else that transaction writes is then written by the holder, whatever
    happens to the lock afterwards. Nothing is written here.

    Raises:
        LockLost: One of them does not hold any more.
    """
    for lease in leases:
        epoch, run_id, owner = cursor.execute(
            "SELECT epoch, run_id, owner FROM locks WHERE resource = ?", (lease.resource,)
        ).fetchone() or (0, None, None)
        if owner is None or (epoch, run_id) != (lease.epoch, lease.run_id):
            whose = f"held by run {run_id}" if owner is not None else "not held by any run"
            raise LockLost(
                f"the lock {lease.resource!r} is {whose} at epoch {epoch} now; this run had "
                f"epoch {lease.epoch}, so nothing was written",
                lease=lease,
                epoch=epoch,
            )


@contextmanager
def _as_lock_error() -> Generator[None]:
    """Have whoever reads the locks hear of a `LockError`, as `acquire` and the others promise."""
    try:
        yield
    except JournalError as error:
        raise LockError(f"the locks could not be read: {error}") from error


def _lock_in(row: Sequence[Any]) -> _Lock:
    what = f"the lock {row[0]!r}"
    resource, epoch, run_id, owner, at, host, pid = checked(
        what, row, str, int, str, MAYBE, str, str, int
    )
    since = parsed(what, datetime.fromisoformat, at)
    return _Lock(resource, epoch, run_id, owner, since, host, pid)


def _waiter_in(row: Sequence[Any]) -> _Waiter:
    what = f"place {row[0]} in the line for locks"
    ticket, run_id, owner, resources = checked(what, row, int, str, str, str)
    return _Waiter(ticket, run_id, owner, parsed(what, _names_in, resources))


def _names_in(text: str) -> frozenset[str]:
    """Return the resources that a place in the line is for.

    Raises:
        ValueError: It is for none that SQLite could ever be asked for.
    """
    names: object = json.loads(text)
    if not isinstance(names, list):
        raise ValueError("not a list")  # noqa: TRY004 - as whatever else cannot be read
    for name in cast("list[object]", names):
        if not isinstance(name, str):
            raise ValueError("not a name")  # noqa: TRY004
        name.encode()
    return frozenset(cast("list[str]", names))


def _taken(read: _Read, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """Yield the rows of those of *names* that are not free, each found by its name."""
    for at in range(0, len(names), NAMES_MAX):
        part = tuple(names[at : at + NAMES_MAX])
        marks = ", ".join("?" * len(part))
        yield from read(f"{COLUMNS} WHERE resource IN ({marks}) AND run_id IS NOT NULL", part)


def _reader(cursor: sqlite3.Cursor) -> _Read:
    return lambda sql, params: cursor.execute(sql, params).fetchall()

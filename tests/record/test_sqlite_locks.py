"""Locks that all processes of a host share."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import pyflow
from pyflow.errors import LockError, LockHeld, LockLost, LockMoved, RunAlive
from pyflow.protocols import Holder, Lease
from pyflow.record.codec import decode_line
from pyflow.record.sqlite.database import Database
from pyflow.record.sqlite.journal import SQLiteJournal
from pyflow.record.sqlite.locks import SQLiteLocks, check
from pyflow.record.sqlite.owners import Owner
from pyflow.testing.contracts.rules import give_up
from support.lock_process import Process, opened
from support.trails import AT, STARTED

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "deploys.db"


def take(locks: SQLiteLocks, run_id: str, *resources: str, **options: Any) -> list[Lease]:
    return asyncio.run(locks.acquire(run_id, resources or ("a",), **options))


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with Database(path) as database:
        return database.reading(sql)


def waiters(path: Path) -> list[str]:
    """Return which runs are in the line."""
    return [row[0] for row in rows(path, "SELECT run_id FROM waiters ORDER BY ticket")]


def line_of(locks: SQLiteLocks) -> list[str]:
    """Return which runs wait whose processes are alive."""
    return [waiter.run_id for waiter in locks._view().line]


async def until_waiting(locks: SQLiteLocks, *run_ids: str) -> None:
    """Wait until exactly these runs are in the line."""
    async with asyncio.timeout(30):
        while line_of(locks) != [*run_ids]:  # noqa: ASYNC110 - it is on disk
            await asyncio.sleep(0.001)


def holder_of(locks: SQLiteLocks, resource: str) -> Holder:
    holder = locks.holder(resource)
    assert holder is not None
    return holder


def spawn(coroutine: Coroutine[Any, Any, list[Lease]]) -> asyncio.Task[list[Lease]]:
    return asyncio.get_running_loop().create_task(coroutine)


class Frozen:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = AT

    def __call__(self) -> Any:
        return self.at


class TestAcquire:
    def test_leases(self, path: Path) -> None:
        """Resources are taken in sorted order, each once, however they are named."""
        with opened(path) as locks:
            leases = take(locks, "r", "b", "é \U0001f680", "a", "b")

        assert leases == [Lease("a", "r", 1), Lease("b", "r", 1), Lease("é \U0001f680", "r", 1)]

    def test_nothing(self, path: Path) -> None:
        """Asking for nothing gives nothing, and giving nothing back is that."""
        with opened(path) as locks:
            assert asyncio.run(locks.acquire("r", [])) == []
            locks.release([])

    def test_two_managers(self, path: Path) -> None:
        """Two engines of one process keep each other out, and each knows the other is alive."""

        async def main(one: SQLiteLocks, two: SQLiteLocks) -> tuple[Holder | None, Lease]:
            leases = await one.acquire("r", ["a"])
            seen = two.holder("a")
            waiting = spawn(two.acquire("s", ["a"]))
            await until_waiting(one, "s")
            one.release(leases)
            return seen, (await waiting)[0]

        with opened(path, now=lambda: AT) as one, opened(path) as two:
            seen, lease = asyncio.run(main(one, two))
            owner = one._owner

        assert seen == Holder(Lease("a", "r", 1), True, owner.host, owner.pid, AT)
        assert lease == Lease("a", "s", 2)

    def test_waits_without_writing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who waits writes to draw a ticket, and to take the lock; all other looks only read."""
        written: list[str] = []
        read: list[str] = []

        async def main(locks: SQLiteLocks, other: SQLiteLocks) -> None:
            leases = await other.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a"]))
            while len(read) < 20:  # noqa: ASYNC110 - what it reads are calls
                await asyncio.sleep(0.001)
            assert len(written) == 1
            other.release(leases)
            await waiting

        with opened(path) as other, opened(path) as locks:
            database = locks._database
            writing, reading = database.writing, database.reading
            monkeypatch.setattr(database, "writing", lambda: [written.append("w"), writing()][1])
            monkeypatch.setattr(database, "reading", lambda *a: [read.append("r"), reading(*a)][1])
            asyncio.run(main(locks, other))

        assert len(written) == 2

    def test_pauses_grow(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Pauses grow to half a second while nothing changes, and are short again after a change."""
        pauses: list[float] = []
        real = asyncio.sleep

        async def main(one: SQLiteLocks, locks: SQLiteLocks) -> None:
            leases = await one.acquire("r", ["a"])

            async def sleep(pause_s: float) -> None:
                pauses.append(pause_s)
                if len(pauses) == 12:
                    one.release(leases)
                    leases[:] = await one.acquire("q", ["a"], policy="fail")
                if len(pauses) == 14:
                    one.release(leases)
                await real(0)

            monkeypatch.setattr(asyncio, "sleep", sleep)
            await locks.acquire("s", ["a"])

        with opened(path) as one, Database(path) as database:
            monkeypatch.setattr(one._view().__class__, "earlier", lambda *a: [])
            asyncio.run(main(one, SQLiteLocks(database, one._owner, now=lambda: AT)))

        grown = [0.02, 0.02, *(0.02 * 1.5**n for n in range(1, 8)), 0.5, 0.5, 0.5, 0.02, 0.03]
        assert pauses == pytest.approx(grown)

    def test_far_back(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever is far back in the line looks less often."""
        pauses: list[float] = []

        async def sleep(pause_s: float) -> None:
            pauses.append(pause_s)
            if len(pauses) == 4:
                raise asyncio.CancelledError

        with opened(path) as one, Database(path) as database:
            take(one, "r")
            with database.writing() as cursor:
                line = [(f"s{n}", one._owner.id, '["a"]') for n in range(4)]
                cursor.executemany("INSERT INTO waiters VALUES (NULL, ?, ?, ?)", line)
            monkeypatch.setattr(asyncio, "sleep", sleep)
            with pytest.raises(asyncio.CancelledError):
                take(SQLiteLocks(database, one._owner, now=lambda: AT), "t")
            monkeypatch.undo()

        assert pauses == pytest.approx([0.02, 0.1, 0.15, 0.225])

    def test_cancelled(self, path: Path) -> None:
        """A cancelled wait gives its ticket back."""

        async def main(locks: SQLiteLocks) -> None:
            await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a"]))
            await until_waiting(locks, "s")
            await give_up(waiting)
            await until_waiting(locks)

        with opened(path) as locks:
            asyncio.run(main(locks))

    def test_ticket_cannot_be_given_back(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A wait ends as cancelled although its ticket stays; whoever is next is served in the end."""

        async def main(locks: SQLiteLocks, other: SQLiteLocks) -> tuple[bool, list[Lease]]:
            leases = await locks.acquire("r", ["a"])
            waiting = spawn(other.acquire("s", ["a"]))
            await until_waiting(locks, "s")
            monkeypatch.setattr(other._database, "_connection", None)
            await give_up(waiting)
            monkeypatch.undo()
            next_ = spawn(locks.acquire("t", ["a"]))
            await until_waiting(locks, "s", "t")
            locks.release(leases)
            return waiting.cancelled(), await next_

        with opened(path, looks=5) as locks, opened(path) as other:
            cancelled, leases = asyncio.run(main(locks, other))

        assert (cancelled, leases) == (True, [Lease("a", "t", 2)])
        assert waiters(path) == []

    def test_closed(self, path: Path) -> None:
        """A closed engine takes nothing, and one that closes while it waits hears of it."""

        async def main(locks: SQLiteLocks, other: SQLiteLocks) -> None:
            await locks.acquire("r", ["a"])
            waiting = spawn(other.acquire("s", ["a"]))
            await until_waiting(locks, "s")
            other._owner.close()
            with pytest.raises(LockError, match="the database is closed"):
                await waiting

        with opened(path) as locks, opened(path) as other:
            asyncio.run(main(locks, other))
            with pytest.raises(LockError, match="the database is closed"):
                take(other, "s", "b")

    def test_database_closed(self, path: Path) -> None:
        """What the database says comes as a LockError, from every call."""
        with opened(path) as locks:
            leases = take(locks, "r")
            locks._database.close()
            calls = [
                lambda: take(locks, "s"),
                lambda: locks.release(leases),
                lambda: locks.holder("a"),
                lambda: locks.refusal(["a"]),
                lambda: locks.break_lock("a"),
            ]
            for call in calls:
                with pytest.raises(LockError, match=r"the locks could not be .* is closed"):
                    call()

    def test_dead_waiter(self, path: Path) -> None:
        """One who died in the line is in nobody's way, and is taken out of it."""
        with opened(path) as locks:
            leases = take(locks, "r")
            with Process("hold", path, "s", "a") as other:
                assert other.hear() == "waits"
                other.kill()
            locks.release(leases)

            assert waiters(path) == ["s"]
            assert take(locks, "t") == [Lease("a", "t", 2)]
            assert waiters(path) == []

    def test_stopped_waiter(self, path: Path) -> None:
        """One who does not come when it is their turn loses it, and is served later all the same."""
        with opened(path, looks=5) as locks, Process("hold", path, "s", "a") as other:
            leases = take(locks, "r", "b", "a")
            assert other.hear() == "waits"
            other.stop()
            locks.release(leases)
            mine = take(locks, "t", "a", "b")
            other.go_on()
            assert other.hear() == "waits"
            line = line_of(locks)
            locks.release(mine)

            assert (mine[0].epoch, line, other.hear()) == (2, ["s"], "a@3")

    def test_several_stopped(self, path: Path) -> None:
        """Those who do not come lose their turns one after the other; whoever is called next goes on."""
        with opened(path, looks=3) as locks, opened(path) as other:
            with locks._database.writing() as cursor:
                line = [(f"s{n}", other._owner.id, '["a"]') for n in range(3)]
                cursor.executemany("INSERT INTO waiters VALUES (NULL, ?, ?, ?)", line)

            view = locks._view()
            called = [waiter.run_id for waiter in view.called(view.line)]
            leases = take(locks, "r")

            assert (called, leases) == (["s0"], [Lease("a", "r", 1)])
            assert line_of(locks) == []

    def test_not_called_yet(self, path: Path) -> None:
        """One who cannot go on yet, for want of something else, keeps the place in the line."""

        async def main(locks: SQLiteLocks) -> list[str]:
            leases = await locks.acquire("r", ["a"])
            first = spawn(locks.acquire("s", ["a", "b"]))
            await until_waiting(locks, "s")
            second = spawn(locks.acquire("t", ["b"]))
            await until_waiting(locks, "s", "t")
            await asyncio.wait([second], timeout=0.2)
            line = line_of(locks)
            locks.release(leases)
            locks.release(await first)
            locks.release(await second)
            return line

        with opened(path, looks=2) as locks:
            assert asyncio.run(main(locks)) == ["s", "t"]


class Reads:
    """Notes the statements of a database that read, and counts the rows they gave."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: list[str] = []
        self.rows = 0
        self._database = database
        self._reading = database.reading
        monkeypatch.setattr(database, "reading", self)

    def __call__(self, sql: str, params: Sequence[Any] = (), /) -> list[tuple[Any, ...]]:
        self.plans += [step for *_, step in self._reading(f"EXPLAIN QUERY PLAN {sql}", params)]
        found = self._reading(sql, params)
        self.rows += len(found)
        return found

    @property
    def scans(self) -> list[str]:
        """The steps that walk through all locks."""
        return [step for step in self.plans if step.startswith("SCAN locks")]


def ran(database: Database, runs: int, *, owner: str | None = None) -> None:
    """Leave the locks as so many runs do, which have ended, or are *owner*'s."""
    values = "VALUES ('run:' || ?, 1, ?, ?, '2026-01-02T03:04:05+00:00', 'host', 1)"
    with database.writing() as cursor:
        cursor.executemany(
            f"INSERT INTO locks {values}",
            [(f"{owner}{n}", f"{owner}{n}" if owner else None, owner) for n in range(runs)],
        )


class TestManyRuns:
    @pytest.mark.parametrize("is_old", [False, True])
    def test_no_scan(self, path: Path, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """No look walks through the locks of all runs, in a journal of an earlier version either."""
        if is_old:
            with Database(path) as database, database.writing() as cursor:
                cursor.execute("DROP INDEX locks_taken")
        with opened(path) as locks:
            take(locks, "r", "a", "b")
            reads = Reads(locks._database, monkeypatch)
            locks._view(["a", "c"])
            locks.refusal(["a"], policy="fail", had=[Lease("a", "s", 1)])
            locks.holder("a")
            listed = [holder.lease.resource for holder, _ in locks.listed()]
            left = locks.left("r")

        assert (listed, left) == (["a", "b"], [])
        assert reads.plans != []
        assert reads.scans == []

    def test_reads_what_is_wanted(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A look reads the locks that somebody wants, and none of other runs, dead or alive."""
        with opened(path) as locks, opened(path) as other:
            take(locks, "r", "a")
            ran(locks._database, 50)
            ran(locks._database, 50, owner=other._owner.id)
            ran(locks._database, 50, owner="f" * 32)
            reads = Reads(locks._database, monkeypatch)

            view = locks._view(["a", "b"])

        assert ([*view.held], [*view.left], reads.rows) == (["a"], [], 1)

    def test_what_others_want(self, path: Path) -> None:
        """Whose turn it is among those who wait depends on all that they want, not on what I do."""
        with opened(path) as locks, opened(path) as other:
            take(other, "r", "b")
            with locks._database.writing() as cursor:
                line = [("s", other._owner.id, '["a", "b"]'), ("t", other._owner.id, '["a"]')]
                cursor.executemany("INSERT INTO waiters VALUES (NULL, ?, ?, ?)", line)
            view = locks._view(["a"])

            assert [waiter.run_id for waiter in view.earlier(["a"], None)] == ["s", "t"]
            assert view.called(view.line) == []
            locks.break_lock("b")
            view = locks._view(["a"])
            assert [waiter.run_id for waiter in view.called(view.line)] == ["s"]

    def test_more_than_a_statement_takes(self, path: Path) -> None:
        """However many resources are wanted, each is looked at."""
        with opened(path) as locks, opened(path) as other:
            names = [f"{n:04}" for n in range(1_201)]
            leases = take(locks, "r", *names)
            with pytest.raises(LockHeld) as caught:
                take(other, "s", names[-1], policy="fail")
            locks.release(leases)
            again = take(other, "s", *names, policy="fail")

        assert caught.value.holder is not None
        assert [lease.epoch for lease in again] == [2] * len(names)

    def test_damage_elsewhere(self, path: Path) -> None:
        """A lock that is damaged bars whoever wants it, and nobody else."""
        with opened(path) as locks:
            take(locks, "r", "a")
            with locks._database.writing() as cursor:
                cursor.execute("UPDATE locks SET since = 'x'")

            assert take(locks, "s", "b") == [Lease("b", "s", 1)]
            with pytest.raises(LockError, match="the lock 'a' cannot have held 'x'"):
                take(locks, "s", "a", "c")

    @pytest.mark.parametrize("what", ["7", "[7]", "[[]]", '{"a": 1}', '["\\ud800"]'])
    def test_damaged_place(self, path: Path, what: str) -> None:
        """A place in the line that is for nothing that could be asked for is damaged."""
        with opened(path) as locks:
            with locks._database.writing() as cursor:
                row = ("s", locks._owner.id, what)
                cursor.execute("INSERT INTO waiters VALUES (NULL, ?, ?, ?)", row)
            with pytest.raises(LockError, match="place 1 in the line for locks cannot have held"):
                take(locks, "r")

    def test_no_room_for_an_index(self, path: Path) -> None:
        """A journal of an earlier version that nobody can write to now is opened all the same."""
        with Database(path) as database, database.writing() as cursor:
            cursor.execute("DROP INDEX locks_taken")
        with (
            Database(path) as other,
            other.writing(),
            Owner(path, now=lambda: AT) as owner,
            Database(path, busy_timeout_s=0) as database,
        ):
            assert SQLiteLocks(database, owner, now=lambda: AT).left("r") == []

        assert rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'locks_taken'") == []


class TestRepr:
    def test_names_the_owner(self, path: Path) -> None:
        """A repr is short."""
        with opened(path) as locks:
            assert repr(locks) == f"<SQLiteLocks of {locks._owner!r}>"


class TestPolicy:
    def test_names_the_holder(self, path: Path) -> None:
        """With the policy `fail`, the error says who has the lock, where, and since when."""
        clock = Frozen()
        with opened(path, now=clock) as locks:
            take(locks, "r")
            clock.at += timedelta(minutes=5)
            with pytest.raises(LockHeld) as caught:
                take(locks, "s", "b", "a", policy="fail")
            holder, owner = locks.holder("a"), locks._owner

        assert caught.value.holder == holder
        assert str(caught.value) == (
            f"'a' is held by run r since 2026-01-02 03:04:05+00:00, 5 min ago, which is alive "
            f"(pid {owner.pid} on {owner.host}); wait for it, or cancel that run"
        )
        assert rows(path, "SELECT resource FROM locks WHERE run_id = 's'") == []

    def test_names_the_next(self, path: Path) -> None:
        """With the policy `fail`, nobody gets past those who wait."""

        async def main(locks: SQLiteLocks) -> LockHeld:
            leases = await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a", "b"]))
            await until_waiting(locks, "s")
            with pytest.raises(LockHeld) as caught:
                await locks.acquire("t", ["b"], policy="fail")
            locks.release(leases)
            locks.release(await waiting)
            return caught.value

        with opened(path) as locks:
            error = asyncio.run(main(locks))

        assert error.holder is None
        assert "'b' is free, but run s has asked for it earlier" in str(error)


class TestUnfinished:
    @pytest.fixture
    def locks(self, path: Path) -> Any:
        """Locks of a host on which the run `r` was killed while it held `a`."""
        with Process("hold", path, "r", "a") as other:
            assert other.hear() == "a@1"
            other.kill()
        with opened(path) as locks:
            yield locks

    def test_refused(self, locks: SQLiteLocks) -> None:
        """What a killed run held is not free for another one: waiting for it would not help."""
        holder = holder_of(locks, "a")
        with pytest.raises(LockError) as caught:
            take(locks, "s", "b", "a")

        told = str(caught.value)
        assert (holder.lease, holder.is_alive) == (Lease("a", "r", 1), False)
        assert told == str(locks.refusal(["b", "a"])) == str(locks.refusal(["a"], run_id="s"))
        assert "'a' is not free: run r has had it since " in told
        assert f"its process is dead (pid {holder.pid} on {holder.host}); " in told
        for advice in (
            "engine.resume('r', workflow)",
            "engine.rollback('r', workflow)",
            "engine.break_lock('a', by=..., reason=...)",
        ):
            assert advice in told

    def test_resumed(self, locks: SQLiteLocks) -> None:
        """The same run may take it again, at a new epoch, past those who came earlier."""
        assert locks.refusal(["a"], run_id="r") is None
        assert take(locks, "r", "a", "b", policy="fail") == [Lease("a", "r", 2), Lease("b", "r", 1)]
        locks.release([Lease("a", "r", 1)])
        assert holder_of(locks, "a").lease.epoch == 2

    def test_broken(self, locks: SQLiteLocks) -> None:
        """A broken lock is free for anybody, at a new epoch."""
        assert locks.break_lock("a") == 2
        assert (locks.refusal(["a"]), locks.holder("a")) == (None, None)
        assert take(locks, "s") == [Lease("a", "s", 3)]

    def test_dies_while_waited_for(self, path: Path) -> None:
        """Who waits for a run that is killed hears of it, and is in the line no more."""

        async def main(locks: SQLiteLocks, other: Process) -> str:
            waiting = spawn(locks.acquire("s", ["a"]))
            await until_waiting(locks, "s")
            other.kill()
            with pytest.raises(LockError, match="its process is dead") as caught:
                await waiting
            return str(caught.value)

        with opened(path) as locks, Process("hold", path, "r", "a") as other:
            other.hear()
            assert "run r" in asyncio.run(main(locks, other))
            assert waiters(path) == []

    def test_closed(self, path: Path) -> None:
        """A run whose engine was closed without an end is unfinished, in one process too."""
        with opened(path) as locks, opened(path) as other:
            take(other, "r")
            other._owner.close()

            assert not holder_of(locks, "a").is_alive
            assert take(locks, "r") == [Lease("a", "r", 2)]

    def test_not_behind_the_doomed(self, path: Path) -> None:
        """A resume need not wait until those whom it cannot suit have left the line."""
        with opened(path) as locks, Process("hold", path, "r", "a") as holder:
            holder.hear()
            with Process("hold", path, "s", "a") as other:
                assert other.hear() == "waits"
                other.stop()
                holder.kill()

                assert take(locks, "r", policy="fail") == [Lease("a", "r", 2)]

    def test_given_back_in_time(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that gives its lock back and ends while it is looked at has left nothing."""
        with opened(path) as locks, opened(path) as other:
            leases = take(other, "r")
            is_alive = locks._owner.is_alive

            def ends(owner_id: str) -> bool:
                if other._owner.is_open:
                    other.release(leases)
                    other._owner.close()
                return is_alive(owner_id)

            monkeypatch.setattr(locks._owner, "is_alive", ends)
            assert locks.refusal(["a"]) is None
            assert locks.holder("a") is None

    def test_passed_on_in_time(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where another run has taken it by then, that one is the holder, and alive."""
        with opened(path) as locks, opened(path) as other, opened(path) as third:
            leases = take(other, "r")
            is_alive = locks._owner.is_alive

            def ends(owner_id: str) -> bool:
                if other._owner.is_open:
                    other.release(leases)
                    other._owner.close()
                    take(third, "s")
                return is_alive(owner_id)

            monkeypatch.setattr(locks._owner, "is_alive", ends)
            holder = holder_of(locks, "a")

        assert (holder.lease, holder.is_alive) == (Lease("a", "s", 2), True)


class TestRunAlive:
    def test_elsewhere(self, path: Path) -> None:
        """A run that is alive elsewhere is refused its own lock, and told where it is."""
        with opened(path) as locks, Process("hold", path, "r", "a") as other:
            other.hear()
            with pytest.raises(RunAlive) as caught:
                take(locks, "r", "b", "a")
            refusal = locks.refusal(["a"], run_id="r")
            holder = locks.holder("a")

        assert caught.value.holder == holder
        told = str(caught.value)
        assert isinstance(refusal, RunAlive)
        assert told == str(refusal)
        assert told.startswith(f"run r is alive (pid {other.process.pid} on ")
        assert "let it go on there, or end that process first" in told

    def test_in_a_race(self, path: Path) -> None:
        """Of two who resume one run, one gets its lock, and the other hears that it is alive."""

        async def main(one: SQLiteLocks, two: SQLiteLocks) -> list[Any]:
            leases = await one.acquire("q", ["a"])
            both = [spawn(locks.acquire("r", ["a"])) for locks in (one, two)]
            await until_waiting(one, "r", "r")
            one.release(leases)
            return await asyncio.gather(*both, return_exceptions=True)

        with opened(path) as one, opened(path) as two:
            taken, refused = asyncio.run(main(one, two))

        assert taken == [Lease("a", "r", 2)]
        assert isinstance(refused, RunAlive)


class TestRelease:
    def test_residue(self, path: Path) -> None:
        """Residue outlasts the process that left it, and names the run and what to do."""
        with Process("hold", path, "r", "a", "b") as other:
            other.hear()
            assert other.ask("residue") == "done"
            assert other.finish() == 0
        with opened(path) as locks:
            told = str(locks.refusal(["c", "b"]))
            with pytest.raises(LockError, match="run r left residue there") as caught:
                take(locks, "s", "b", "c")

            assert str(caught.value) == told
            assert "engine.rollback('r', workflow)" in told
            assert "engine.break_lock('b', by=..., reason=...)" in told
            assert locks.holder("b") is None
            assert take(locks, "r", "b") == [Lease("b", "r", 2)]

    def test_keeps_epochs(self, path: Path) -> None:
        """An epoch never comes back, whatever becomes of those who had one."""
        epochs: list[int] = []
        for _ in range(3):
            with opened(path) as locks:
                leases = take(locks, "r")
                epochs += [leases[0].epoch, locks.break_lock("a")]

        assert epochs == [1, 2, 3, 4, 5, 6]
        assert rows(path, "SELECT resource, epoch, run_id FROM locks") == [("a", 6, None)]

    def test_somebody_elses(self, path: Path) -> None:
        """Leases that never were change nothing."""
        with opened(path) as locks:
            take(locks, "r")
            locks.release([Lease("a", "r", 2), Lease("a", "s", 1), Lease("b", "r", 1)])

            assert locks.holder("a") is not None
            assert locks.holder("b") is None


def write(path: Path, leases: Sequence[Lease]) -> None:
    """Write something as the holder of *leases*."""
    with Database(path) as database, database.writing() as cursor:
        check(cursor, leases)
        cursor.execute("INSERT INTO meta VALUES ('written', '')")


class TestCheck:
    def test_holder(self, path: Path) -> None:
        """Who holds its locks may write."""
        with opened(path) as locks:
            write(path, take(locks, "r", "a", "b"))

        assert rows(path, "SELECT 1 FROM meta WHERE key = 'written'") == [(1,)]

    @pytest.mark.parametrize("residue", [True, False])
    def test_given_back(self, path: Path, residue: bool) -> None:
        """Who has given a lock back writes nothing."""
        with opened(path) as locks:
            leases = take(locks, "r")
            locks.release(leases, residue=residue)
            with pytest.raises(LockLost, match="not held by any run at epoch 1 now"):
                write(path, leases)

        assert rows(path, "SELECT 1 FROM meta WHERE key = 'written'") == []

    def test_broken(self, path: Path) -> None:
        """Whose lock was broken writes nothing, although nobody has taken it since."""
        with opened(path) as locks:
            leases = take(locks, "r", "a", "b")
            locks.break_lock("b")
            with pytest.raises(LockLost) as caught:
                write(path, leases)

        assert str(caught.value) == (
            "the lock 'b' is not held by any run at epoch 2 now; this run had epoch 1, so nothing "
            "was written"
        )
        assert (caught.value.lease, caught.value.epoch) == (leases[1], 2)
        assert rows(path, "SELECT 1 FROM meta WHERE key = 'written'") == []

    def test_taken_again(self, path: Path) -> None:
        """Whose run was resumed elsewhere writes nothing, though it is the same run."""
        with opened(path) as locks, opened(path) as other:
            leases = take(other, "r")
            other._owner.close()
            take(locks, "r")
            with pytest.raises(LockLost, match="held by run r at epoch 2 now; this run had epoch"):
                write(path, leases)

    def test_never_taken(self, path: Path) -> None:
        """A lease on something that was never locked does not hold."""
        with opened(path), pytest.raises(LockLost, match="not held by any run at epoch 0"):
            write(path, [Lease("a", "r", 1)])


class TestProcesses:
    def test_stopped_holder(self, path: Path) -> None:
        """A holder that was stopped, and wakes after its lock was broken, writes nothing."""
        with opened(path) as locks, Process("hold", path, "r", "a") as other:
            assert other.hear() == "a@1"
            assert other.ask("one") == "written"
            other.stop()
            other.say("two")
            locks.break_lock("a")
            with SQLiteJournal(path) as journal:
                leases = take(locks, "s", policy="fail")
                journal.append("s", [STARTED], at=AT, fences=leases)
                other.go_on()
                told = other.hear()
                records = journal.read("r")
                journal.append("s", [STARTED], at=AT, fences=leases)

        assert told == (
            "LockLost: the lock 'a' is held by run s at epoch 3 now; this run had epoch 1, so "
            "nothing was written"
        )
        assert [record.kind for record in records] == ["run_started", "run_paused"]

    def test_stopped_run(self, path: Path) -> None:
        """A whole run that was stopped, and wakes after its lock was broken and taken, writes nothing more."""
        with Process("deploy", path) as other, pyflow.Engine(journal=path) as engine:
            run_id = other.hear()
            other.stop()
            other.say("go on")
            engine.break_lock("a", by="ann", reason="it does not answer")
            mine = pyflow.Workflow("mine", locks=["a"])
            mine.add_task("first", lambda ctx: ctx.fencing_token)
            result = engine.execute(mine)
            other.go_on()
            told, ended = other.hear(), other.finish()
            kinds = [record.kind for record in engine.trail(run_id)]
            again = pyflow.Workflow("deploy", locks=["a"])
            again.add_task("first", lambda: None)
            again.add_task("second", lambda: None, depends_on=["first"])
            with pytest.raises(LockMoved):
                engine.resume(run_id, again, accept_changes=True)

        assert (result.status, result.tasks["first"].output, ended) == ("succeeded", 3, 0)
        assert told == (
            "LockLost: the lock 'a' is not held by any run at epoch 3 now; this run had epoch 1, "
            "so nothing was written"
        )
        assert kinds == ["run_started", "lock_acquired", "task_started"]

    def test_runs_one_at_a_time(self, path: Path) -> None:
        """Whole runs of several processes have their resource in the order of its epochs."""
        with ExitStack() as stack:
            runs = [stack.enter_context(Process("deploy", path)) for _ in range(4)]
            for run in runs:
                run.say("go on")
            told = [[run.hear() for _ in range(3)][1:] for run in runs]
            ended = [run.finish() for run in runs]
            with SQLiteJournal(path) as journal:
                lines = journal.database.reading("SELECT run_id, line FROM records ORDER BY n")

        assert (told, ended) == ([["second", "succeeded"]] * 4, [0] * 4)
        had = [decode_line(line) for _, line in lines]
        had = [record for record in had if record.kind in ("lock_acquired", "lock_released")]
        assert [record.kind for record in had] == ["lock_acquired", "lock_released"] * 4
        assert [record.data["epoch"] for record in had] == [1, 1, 2, 2, 3, 3, 4, 4]

    def test_killed_among_many(self, path: Path) -> None:
        """Whoever is killed bars one resource, and nobody elsewhere."""
        with ExitStack() as stack:
            others = [
                stack.enter_context(Process("hold", path, f"r{n}", f"a{n}", f"b{n}"))
                for n in range(4)
            ]
            for other in others:
                other.hear()
            others[1].kill()
            with opened(path) as locks:
                seen = [holder_of(locks, f"b{n}").is_alive for n in range(4)]
                barred = [locks.refusal([f"a{n}"]) is not None for n in range(4)]

        assert seen == [True, False, True, True]
        assert barred == [False, True, False, False]

    @pytest.mark.parametrize(
        ("processes", "total"),
        [
            (2, 400),
            (8, 400),
            pytest.param(32, 400, marks=pytest.mark.integration),
        ],
    )
    def test_one_at_a_time(self, path: Path, processes: int, total: int) -> None:
        """Over all processes one holds the lock at a time, in the order of epochs, and all get it."""
        log = path.with_name("log")
        Database(path).close()
        with ExitStack() as stack:
            racers = [
                stack.enter_context(Process("race", path, log, total)) for _ in range(processes)
            ]
            for racer in racers:
                assert racer.hear() == "ready"
            for racer in racers:
                racer.say("go")
            ended = [racer.process.wait(300) for racer in racers]

        lines = [line.split() for line in log.read_text().splitlines()]
        entered, left = lines[::2], lines[1::2]
        assert ended == [0] * processes
        assert [line[0] for line in lines] == ["enter", "leave"] * len(entered)
        assert [line[1:] for line in entered] == [line[1:] for line in left]
        assert [int(line[1]) for line in entered] == [*range(1, len(entered) + 1)]
        assert len(entered) >= total
        shares = Counter(line[2] for line in entered)
        assert len(shares) == processes
        assert max(shares.values()) <= 10 * min(shares.values())
        assert waiters(path) == []
        assert list((path.parent / "deploys.db.owners").iterdir()) == []

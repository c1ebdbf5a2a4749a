"""Locks in memory, in virtual time."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import LockError, LockHeld, RunAlive
from pyflow.protocols import Holder, Lease
from pyflow.record.locks import MemoryLocks
from pyflow.testing.loop import run_virtual
from support.trails import AT

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence


def spawn(coroutine: Coroutine[Any, Any, list[Lease]]) -> asyncio.Task[list[Lease]]:
    return asyncio.get_running_loop().create_task(coroutine)


async def work(locks: MemoryLocks, diary: list[str], name: str, *resources: str) -> None:
    """Hold *resources* for a second, and note when that began."""
    leases = await locks.acquire(name, resources)
    diary.append(f"{name}@{asyncio.get_running_loop().time():g}")
    await asyncio.sleep(1)
    locks.release(leases)


def diary_of(*workers: tuple[str, ...]) -> list[str]:
    """Return when each of *workers* got its resources, in that order."""
    diary: list[str] = []

    async def main() -> None:
        locks = MemoryLocks()
        await asyncio.gather(*(work(locks, diary, *worker) for worker in workers))

    run_virtual(main())
    return diary


class TestAcquire:
    def test_sorted(self) -> None:
        """Resources are taken in sorted order, each once, however they are named."""
        leases = run_virtual(MemoryLocks().acquire("r", ["b", "a", "b"]))

        assert leases == [Lease("a", "r", 1), Lease("b", "r", 1)]

    def test_nothing(self) -> None:
        """Asking for nothing gives nothing, at once."""
        assert run_virtual(MemoryLocks().acquire("r", [])) == []

    def test_one_holder(self) -> None:
        """Who asks for a resource that is held waits until it is given back."""
        assert diary_of(("r", "a"), ("s", "a"), ("t", "b")) == ["r@0", "t@0", "s@1"]

    def test_first_come(self) -> None:
        """Those who wait are served in the order in which they came."""
        names = [f"r{n}" for n in range(50)]

        assert diary_of(*((name, "a") for name in names)) == [
            f"{name}@{n}" for n, name in enumerate(names)
        ]

    def test_wakes_few(self) -> None:
        """Whoever comes to a resource looks once, and once more when it is their turn."""
        looks: list[str] = []

        class Watched(MemoryLocks):
            def _in_the_way(self, resources: Sequence[str], place: object) -> bool:
                looks.extend(resources)
                return super()._in_the_way(resources, place)

        async def main() -> None:
            locks = Watched()
            await asyncio.gather(*(work(locks, [], f"r{n}", "a") for n in range(50)))

        run_virtual(main())

        assert len(looks) == 50 + 49

    def test_no_overtaking(self) -> None:
        """A free resource is kept for whoever asked for it earlier, along with a busy one."""
        assert diary_of(("r", "a"), ("s", "a", "b"), ("t", "b")) == ["r@0", "s@1", "t@2"]

    def test_bypass(self) -> None:
        """Whoever asks for nothing that others hold or wait for does not wait."""
        assert diary_of(("r", "a"), ("s", "a", "b"), ("t", "c")) == ["r@0", "t@0", "s@1"]

    def test_no_ring(self) -> None:
        """Runs that name the same resources in different orders do not lock each other out."""
        workers = [("r", "a", "b"), ("s", "b", "c"), ("t", "c", "a")]

        assert diary_of(*workers) == ["r@0", "s@1", "t@2"]

    def test_all_or_none(self) -> None:
        """Who waits for one resource holds none of the others."""

        async def main() -> list[Lease]:
            locks = MemoryLocks()
            await locks.acquire("r", ["b"])
            waiting = spawn(locks.acquire("s", ["a", "b"]))
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait([waiting])
            return await locks.acquire("t", ["a"])

        assert run_virtual(main()) == [Lease("a", "t", 1)]

    def test_cancelled(self) -> None:
        """A cancelled wait takes nothing, and lets those behind it pass."""

        async def main() -> tuple[bool, list[Lease]]:
            locks = MemoryLocks()
            leases = await locks.acquire("r", ["a"])
            waiting, later = spawn(locks.acquire("s", ["a"])), spawn(locks.acquire("t", ["a"]))
            await asyncio.sleep(1)
            waiting.cancel()
            locks.release(leases)
            found = await later
            return waiting.cancelled(), found

        assert run_virtual(main()) == (True, [Lease("a", "t", 2)])

    def test_cancelled_in_turn(self) -> None:
        """One that is cancelled at the very moment of its turn passes it on."""

        async def main() -> list[Lease]:
            locks = MemoryLocks()
            leases = await locks.acquire("r", ["a"])
            waiting, later = spawn(locks.acquire("s", ["a"])), spawn(locks.acquire("t", ["a"]))
            await asyncio.sleep(1)
            locks.release(leases)
            asyncio.get_running_loop().call_soon(waiting.cancel)
            return await later

        assert run_virtual(main()) == [Lease("a", "t", 2)]

    def test_from_other_loops(self) -> None:
        """Runs on several loops and threads hold a resource one at a time."""
        locks = MemoryLocks()
        inside: list[str] = []
        seen: list[int] = []

        async def hold(name: str) -> None:
            for _ in range(50):
                leases = await locks.acquire(name, ["a"])
                inside.append(name)
                await asyncio.sleep(0)
                seen.append(len(inside))
                inside.remove(name)
                locks.release(leases)

        threads = [threading.Thread(target=asyncio.run, args=[hold(f"r{n}")]) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert seen == [1] * 200

    def test_dead_loop(self) -> None:
        """One that waited on a loop that is closed stands in nobody's way."""
        locks, loop = MemoryLocks(), asyncio.new_event_loop()
        leases = loop.run_until_complete(locks.acquire("r", ["a"]))
        orphan = locks.acquire("s", ["a"])
        loop.run_until_complete(step(orphan))
        loop.close()

        locks.release(leases)

        assert run_virtual(locks.acquire("t", ["a"])) == [Lease("a", "t", 2)]
        orphan.close()


async def step(orphan: Coroutine[Any, Any, Any]) -> None:
    """Run *orphan* up to its wait, and leave it there."""
    orphan.send(None)


class TestRelease:
    def test_twice(self) -> None:
        """Giving a lease back again does not touch the next holder."""

        async def main() -> str:
            locks = MemoryLocks()
            old = await locks.acquire("r", ["a"])
            locks.release(old)
            await locks.acquire("s", ["a"])
            locks.release(old)
            return repr(locks)

        assert run_virtual(main()) == "<MemoryLocks held=1 waiting=0>"

    def test_residue(self) -> None:
        """A resource with residue is refused, to those who wait for it as well."""

        async def main() -> tuple[str, str]:
            locks = MemoryLocks()
            leases = await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a", "b"]))
            await asyncio.sleep(1)
            locks.release(leases, residue=True)
            with pytest.raises(LockError, match="run r left residue") as caught:
                await waiting
            return str(caught.value), str(locks.refusal(["b", "a"]))

        told, refusal = run_virtual(main())

        assert told == refusal
        assert "engine.break_lock" in told

    def test_residue_beside_a_holder(self) -> None:
        """A wait that became hopeless ends at once, also while another resource is still held."""

        async def main() -> float:
            locks = MemoryLocks()
            leases = await locks.acquire("r", ["a"])
            await locks.acquire("q", ["b"])
            waiting = spawn(locks.acquire("s", ["a", "b"]))
            await asyncio.sleep(1)
            locks.release(leases, residue=True)
            with pytest.raises(LockError, match="left residue"):
                await waiting
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == 1

    def test_residue_of_its_own(self) -> None:
        """The run that left residue may come back for it, and may leave none this time."""

        async def main() -> tuple[list[Lease], LockError | None]:
            locks = MemoryLocks()
            locks.release(await locks.acquire("r", ["a"]), residue=True)
            back = await locks.acquire("r", ["a"])
            locks.release(back)
            return back, locks.refusal(["a"])

        assert run_virtual(main()) == ([Lease("a", "r", 2)], None)


class TestBreakLock:
    def test_frees(self) -> None:
        """A broken lock is free, its old lease is void, and the epoch has moved."""

        async def main() -> tuple[int, list[Lease]]:
            locks = MemoryLocks()
            old = await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a"]))
            await asyncio.sleep(1)
            epoch = locks.break_lock("a")
            leases = await waiting
            locks.release(old, residue=True)
            assert locks.refusal(["a"]) is None
            return epoch, leases

        assert run_virtual(main()) == (2, [Lease("a", "s", 3)])

    def test_residue(self) -> None:
        """Breaking the lock lifts the refusal."""

        async def main() -> list[Lease]:
            locks = MemoryLocks()
            locks.release(await locks.acquire("r", ["a"]), residue=True)
            assert locks.refusal(["a"]) is not None
            locks.break_lock("a")
            return await locks.acquire("s", ["a"])

        assert run_virtual(main()) == [Lease("a", "s", 3)]

    def test_epochs_grow(self) -> None:
        """Epochs only grow, whoever takes, gives back or breaks."""

        async def main() -> list[int]:
            locks = MemoryLocks()
            epochs: list[int] = []
            for name in ("r", "s"):
                leases = await locks.acquire(name, ["a"])
                epochs += [leases[0].epoch, locks.break_lock("a")]
                locks.release(leases)
            return epochs

        assert run_virtual(main()) == [1, 2, 3, 4]

    def test_unknown(self) -> None:
        """Breaking a lock that nobody ever took is harmless."""
        assert MemoryLocks().break_lock("a") == 1


class TestPolicy:
    def test_names_the_holder(self) -> None:
        """With the policy `fail`, the error says who has the lock, and since when."""
        instants = [AT, AT + timedelta(hours=2)]
        locks = MemoryLocks(now=lambda: instants[0])
        run_virtual(locks.acquire("r", ["a"]))
        del instants[0]

        with pytest.raises(LockHeld, match=r"run r since 2026-.*, 2 h ago, which is") as caught:
            run_virtual(locks.acquire("s", ["b", "a"], policy="fail"))
        assert caught.value.holder == locks.holder("a")
        assert locks.holder("b") is None

    def test_names_the_next(self) -> None:
        """With the policy `fail`, nobody gets past those who wait."""

        async def main() -> LockHeld:
            locks = MemoryLocks()
            await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a", "b"]))
            await asyncio.sleep(1)
            with pytest.raises(LockHeld, match="'b' is free, but run s has asked") as caught:
                await locks.acquire("t", ["b"], policy="fail")
            waiting.cancel()
            await asyncio.wait([waiting])
            return caught.value

        assert run_virtual(main()).holder is None

    def test_own_residue(self) -> None:
        """A run is not kept from what it has left by those who cannot have it."""

        async def main() -> list[Lease]:
            locks = MemoryLocks()
            leases = await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a"]))
            await asyncio.sleep(1)
            locks.release(leases, residue=True)
            again = await locks.acquire("r", ["a"], policy="fail")
            locks.release(again)
            return [*again, *await waiting]

        assert run_virtual(main()) == [Lease("a", "r", 2), Lease("a", "s", 3)]


class TestHolder:
    def test_clock(self) -> None:
        """A holder has the instant at which it took the lock, where there is a clock."""
        locks, timeless = MemoryLocks(now=lambda: AT), MemoryLocks()
        lease = run_virtual(locks.acquire("r", ["a"]))[0]
        run_virtual(timeless.acquire("r", ["a"]))

        here = (os.uname().nodename, os.getpid())
        assert locks.holder("a") == Holder(lease, True, *here, AT)
        assert timeless.holder("a") == Holder(lease, True, *here)

    def test_second_self(self) -> None:
        """A run does not wait for itself."""
        locks = MemoryLocks()
        run_virtual(locks.acquire("r", ["a"]))

        with pytest.raises(RunAlive, match="run r is alive") as caught:
            run_virtual(locks.acquire("r", ["a"]))
        assert caught.value.holder == locks.holder("a")


class TestOrphan:
    def test_bars(self) -> None:
        """What the dead held is not free, except for their own run, or once it is broken."""
        locks = MemoryLocks()
        old = run_virtual(locks.acquire("r", ["a", "b"]))
        locks.orphan()
        locks.release(old[1:])
        holder = locks.holder("a")
        with pytest.raises(LockError, match="run r has had it and is unfinished"):
            run_virtual(locks.acquire("s", ["a"]))

        assert holder is not None
        assert (holder.lease, holder.is_alive) == (old[0], False)
        assert str(locks.copy().refusal(["a"])) == str(locks.refusal(["a"]))
        assert run_virtual(locks.acquire("r", ["a"])) == [Lease("a", "r", 2)]
        assert locks.break_lock("b") == 2
        assert run_virtual(locks.acquire("s", ["b"])) == [Lease("b", "s", 3)]

    def test_tells_those_who_wait(self) -> None:
        """Who waits for a run that dies hears of it at once."""

        async def main() -> float:
            locks = MemoryLocks()
            await locks.acquire("r", ["a"])
            waiting = spawn(locks.acquire("s", ["a"]))
            await asyncio.sleep(1)
            locks.orphan()
            with pytest.raises(LockError, match="unfinished"):
                await waiting
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == 1

"""The contract of a lock manager, over what keeps it and over what breaks it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import LockHeld, LockMoved, RunAlive
from pyflow.protocols import Holder, Lease, LockManager
from pyflow.record.locks import MemoryLocks
from pyflow.testing.contracts import check_lock_manager
from pyflow.testing.contracts.lock_manager import _RULES
from pyflow.testing.loop import run_virtual
from support.contracts import never_broken
from support.lock_process import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyflow.errors import LockError


class Shares(MemoryLocks):
    """Lets everybody in."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        return self._take(run_id, sorted(resources))


class Piecemeal(MemoryLocks):
    """Takes one resource after the other, and keeps what it has while it waits."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        leases: list[Lease] = []
        for resource in resources:
            leases += await super().acquire(run_id, [resource], **options)
            await asyncio.sleep(0)
        return leases


class Careless(MemoryLocks):
    """Frees a resource whoever gives it back."""

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        current = [self._held[lease.resource] for lease in leases if lease.resource in self._held]
        super().release(current, residue=residue)


class Stuck(MemoryLocks):
    """Keeps the place of those who have given up."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[object, frozenset[str]] = {}

    def _in_the_way(self, resources: Sequence[str], place: object) -> bool:
        self._asked.setdefault(place, frozenset(resources))
        earlier = [wanted for wanted in self._asked.values() if not wanted.isdisjoint(resources)]
        if super()._in_the_way(resources, place) or earlier[0] is not self._asked[place]:
            return True
        del self._asked[place]
        return False


class Unsorted(MemoryLocks):
    """Lists the leases in an order of its own."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        return (await super().acquire(run_id, resources, **options))[::-1]


class Flat(MemoryLocks):
    """Counts no epochs."""

    def _take(self, run_id: str, resources: Sequence[str]) -> list[Lease]:
        leases = [Lease(resource, run_id, 1) for resource in resources]
        self._held.update({lease.resource: lease for lease in leases})
        return leases


class Single(MemoryLocks):
    """Has one lock for everything."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        await super().acquire(run_id, ["everything"], **options)
        return [Lease(resource, run_id, 1) for resource in sorted(resources)]


class Stack(MemoryLocks):
    """Serves whoever came last."""

    def _wake(self) -> None:
        self._waiting = dict(reversed(self._waiting.items()))
        super()._wake()
        self._waiting = dict(reversed(self._waiting.items()))

    def _in_the_way(self, resources: Sequence[str], place: object) -> bool:
        return not self._held.keys().isdisjoint(resources)


class Overtakes(MemoryLocks):
    """Gives a free resource to whoever comes, past those who wait for it and another one."""

    def _in_the_way(self, resources: Sequence[str], place: object) -> bool:
        return not self._held.keys().isdisjoint(resources)


class Patient(MemoryLocks):
    """Waits, whatever the policy."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        return await super().acquire(run_id, resources, **_with(options, policy="wait"))


class Greedy(MemoryLocks):
    """Keeps what it could have when it fails."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        try:
            return await super().acquire(run_id, resources, **options)
        except LockHeld:
            self._take(run_id, [name for name in resources if name not in self._held])
            raise


class Blind(MemoryLocks):
    """Does not know who holds what."""

    def holder(self, resource: str, /) -> Holder | None:
        return None


class Selfish(MemoryLocks):
    """Lets a run wait for itself."""

    def _check(self, resources: Sequence[str], run_id: str | None, had: Sequence[Lease]) -> None:
        with contextlib.suppress(RunAlive):
            super()._check(resources, run_id, had)


class Tolerant(MemoryLocks):
    """Lets anybody have what was left with residue."""

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        super().release(leases)


class Bars(MemoryLocks):
    """Bars a run from its own residue as well."""

    def _check(self, resources: Sequence[str], run_id: str | None, had: Sequence[Lease]) -> None:
        super()._check(resources, None, had)


class Weak(MemoryLocks):
    """Does not break what is held."""

    def break_lock(self, resource: str, /) -> int:
        held = self._held.get(resource)
        epoch = super().break_lock(resource)
        if held is not None:
            self._held[resource] = held
        return epoch


class Forgetful(MemoryLocks):
    """Does not look at what a run has had."""

    def _check_still(self, had: Lease) -> None:
        pass


class Literal(MemoryLocks):
    """Takes every epoch that has grown for that of somebody else."""

    def _check_still(self, had: Lease) -> None:
        if self._epochs[had.resource] != had.epoch:
            raise LockMoved("it has moved", lease=had, epoch=self._epochs[had.resource])
        super()._check_still(had)


class Silent(MemoryLocks):
    """Tells nobody who has a resource."""

    async def acquire(
        self, run_id: str, resources: Sequence[str], /, **options: Any
    ) -> list[Lease]:
        return await super().acquire(run_id, resources, **_with(options, told=None))


class Aimless(MemoryLocks):
    """Knows that something is left, and not whose it is."""

    def left(self, run_id: str, /) -> list[str]:
        return sorted(self._left)


class Hopeful(MemoryLocks):
    """Foresees no wait."""

    def refusal(self, resources: Sequence[str], /, **options: Any) -> LockError | None:
        return super().refusal(resources, **_with(options, policy="wait"))


def _with(options: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**options, **changed}


BROKEN_LOCKS: list[tuple[type[MemoryLocks], str]] = [
    (Unsorted, "in sorted order"),
    (Shares, "A resource has one holder"),
    (Piecemeal, "holds none of the others"),
    (Piecemeal, "in opposite orders"),
    (Careless, "does not touch whoever holds"),
    (Stuck, "A cancelled wait takes nothing"),
    (Flat, "The epoch of a resource grows"),
    (Single, "are taken at once"),
    (Stack, "in the order in which they came"),
    (Overtakes, "is kept for whoever asked for it earlier"),
    (Patient, "With the policy `fail`"),
    (Greedy, "With the policy `fail`"),
    (Blind, "The holder of a resource"),
    (Selfish, "it would wait for itself"),
    (Tolerant, "What a run leaves with residue"),
    (Bars, "What a run leaves with residue"),
    (Weak, "A broken lock is free"),
    (Careless, "its old lease is void"),
    (Forgetful, "cannot take up again"),
    (Literal, "A run may take up what nobody else"),
    (Silent, "Who waits hears"),
    (Aimless, "What a run has left with residue is told"),
    (Hopeful, "is told without asking"),
]


class TestCheckLockManager:
    def test_memory(self) -> None:
        """The locks in memory keep the contract, in virtual time and in real time."""
        locks: LockManager = MemoryLocks()

        run_virtual(check_lock_manager(lambda: locks.__class__()))
        asyncio.run(check_lock_manager(MemoryLocks))

    def test_sqlite(self, tmp_path: Path) -> None:
        """The locks that processes share keep the contract, on a real loop."""
        numbers = itertools.count()
        with ExitStack() as stack:

            def make() -> LockManager:
                return stack.enter_context(opened(tmp_path / f"{next(numbers)}.db"))

            asyncio.run(check_lock_manager(make))

    def test_catches_every_break(self) -> None:
        """There is a manager here for every rule that can be broken."""
        assert never_broken(_RULES, [(broken, [rule]) for broken, rule in BROKEN_LOCKS]) == []

    @pytest.mark.parametrize(
        ("broken", "rule"), BROKEN_LOCKS, ids=lambda x: getattr(x, "__name__", "")
    )
    def test_catches(self, broken: Callable[[], LockManager], rule: str) -> None:
        """A manager that breaks a rule is caught, and the rule is named."""
        with pytest.raises(AssertionError, match="broken rule") as caught:
            run_virtual(check_lock_manager(broken))

        assert rule in str(caught.value)

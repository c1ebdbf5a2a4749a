"""The contract suites, over what keeps the contract and over what breaks it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.errors import JournalError
from pyflow.protocols import Journal, Lease, LockManager
from pyflow.record.codec import GENESIS, seal
from pyflow.record.locks import MemoryLocks
from pyflow.record.memory import MemoryJournal
from pyflow.testing.contracts import check_journal, check_lock_manager
from pyflow.testing.loop import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.record.codec import Record


class Drops(MemoryJournal):
    """Loses the last record of each commit."""

    def append(self, run_id: str, events: Sequence[Any], /, *, at: Any) -> list[Record]:
        return super().append(run_id, events[:-1], at=at)


class Forgets(MemoryJournal):
    """Says that it has written, and reads back one record less."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id, after=after)[:-1]


class Reorders(MemoryJournal):
    """Reads back to front."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id, after=after)[::-1]


class Unchains(MemoryJournal):
    """Begins a new chain with every commit."""

    def append(self, run_id: str, events: Sequence[Any], /, *, at: Any) -> list[Record]:
        chain = self._runs.setdefault(run_id, [])
        records = seal(run_id, events, at=at, seq=len(chain), prev=GENESIS)
        chain.extend(records)
        return records


class Mixes(MemoryJournal):
    """Keeps one chain for all runs."""

    def append(self, run_id: str, events: Sequence[Any], /, *, at: Any) -> list[Record]:
        return super().append("all", events, at=at)

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read("all", after=after)


class Halves(MemoryJournal):
    """Writes event by event, so that a commit may stop in the middle."""

    def append(self, run_id: str, events: Sequence[Any], /, *, at: Any) -> list[Record]:
        return [
            record
            for event in events
            for record in super(Halves, self).append(run_id, [event], at=at)
        ]


class Swallows(MemoryJournal):
    """Keeps quiet about what it could not write."""

    def append(self, run_id: str, events: Sequence[Any], /, *, at: Any) -> list[Record]:
        with contextlib.suppress(JournalError):
            return super().append(run_id, events, at=at)
        return []


class Sorts(MemoryJournal):
    """Lists runs by name."""

    def runs(self) -> list[str]:
        return sorted(super().runs())


class Invents(MemoryJournal):
    """Takes every run that is asked for as one that there is."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        self._runs.setdefault(run_id, [])
        return super().read(run_id, after=after)


class Ignores(MemoryJournal):
    """Reads everything, whatever is asked for."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id)


class Lends(MemoryJournal):
    """Hands out its own list."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Record]:
        return super().read(run_id, after=after) if after else self._runs.get(run_id, [])


class Thaws(MemoryJournal):
    """Hands out records that can be changed."""

    def read(self, run_id: str, /, *, after: int = 0) -> list[Any]:
        return [Soft(record) for record in super().read(run_id, after=after)]


class Soft:
    """Looks like a record."""

    def __init__(self, record: Record) -> None:
        self._record = record
        for name in ("seq", "run_id", "at", "event", "prev", "hash"):
            setattr(self, name, getattr(record, name))

    def __eq__(self, other: object) -> bool:
        return other in (self._record, self)

    __hash__ = None  # type: ignore[assignment]

    @property
    def kind(self) -> str:
        return self._record.kind


class Fails(MemoryJournal):
    """Never writes anything."""

    def append(self, run_id: str, events: Sequence[Any], /, *, at: Any) -> list[Record]:
        raise OSError("disk full")


class Closed(MemoryJournal):
    """Hands out tuples, which is as good."""

    def read(self, run_id: str, /, *, after: int = 0) -> Any:
        return tuple(super().read(run_id, after=after))


BROKEN_JOURNALS: list[tuple[type[MemoryJournal], str]] = [
    (Drops, "`append` returns the records of its events"),
    (Forgets, "`read` returns what `append` returned"),
    (Reorders, "`read` returns what `append` returned"),
    (Unchains, "chained by hash"),
    (Mixes, "Runs that write in turn"),
    (Halves, "cannot be written raises"),
    (Swallows, "cannot be written raises"),
    (Sorts, "`runs` names the runs in the order"),
    (Invents, "is no run"),
    (Ignores, "leaves out the records up to"),
    (Lends, "a way into the journal"),
    (Thaws, "a way into the journal"),
    (Fails, "disk full"),
]


class TestCheckJournal:
    def test_memory(self) -> None:
        """The journal in memory keeps the contract."""
        journal: Journal = MemoryJournal()

        check_journal(MemoryJournal)
        check_journal(Closed)

        assert journal.runs() == []

    @pytest.mark.parametrize(
        ("broken", "rule"), BROKEN_JOURNALS, ids=lambda x: getattr(x, "__name__", "")
    )
    def test_catches(self, broken: Callable[[], Journal], rule: str) -> None:
        """A journal that breaks a rule is caught, and the rule is named."""
        with pytest.raises(AssertionError, match="broken rules") as caught:
            check_journal(broken)

        assert rule in str(caught.value)


class Shares(MemoryLocks):
    """Lets everybody in."""

    async def acquire(self, run_id: str, resources: Sequence[str], /) -> list[Lease]:
        return self._take(run_id, sorted(resources))


class Piecemeal(MemoryLocks):
    """Takes one resource after the other, and keeps what it has while it waits."""

    async def acquire(self, run_id: str, resources: Sequence[str], /) -> list[Lease]:
        leases: list[Lease] = []
        for resource in resources:
            leases += await super().acquire(run_id, [resource])
            await asyncio.sleep(0)
        return leases


class Careless(MemoryLocks):
    """Frees a resource whoever gives it back."""

    def release(self, leases: Sequence[Lease], /, *, residue: bool = False) -> None:
        current = [self._held[lease.resource] for lease in leases if lease.resource in self._held]
        super().release(current)


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


class Flat(MemoryLocks):
    """Counts no epochs."""

    def _take(self, run_id: str, resources: Sequence[str]) -> list[Lease]:
        leases = [Lease(resource, run_id, 1) for resource in resources]
        self._held.update({lease.resource: lease for lease in leases})
        return leases


class Single(MemoryLocks):
    """Has one lock for everything."""

    async def acquire(self, run_id: str, resources: Sequence[str], /) -> list[Lease]:
        await super().acquire(run_id, ["everything"])
        return [Lease(resource, run_id, 1) for resource in sorted(resources)]


BROKEN_LOCKS: list[tuple[type[MemoryLocks], str]] = [
    (Shares, "A resource has one holder"),
    (Piecemeal, "holds none of the others"),
    (Piecemeal, "in opposite orders"),
    (Careless, "does not touch whoever holds"),
    (Stuck, "A cancelled wait takes nothing"),
    (Flat, "The epoch of a resource grows"),
    (Single, "are taken at once"),
]


class TestCheckLockManager:
    def test_memory(self) -> None:
        """The locks in memory keep the contract, in virtual time and in real time."""
        locks: LockManager = MemoryLocks()

        run_virtual(check_lock_manager(lambda: locks.__class__()))
        asyncio.run(check_lock_manager(MemoryLocks))

    @pytest.mark.parametrize(
        ("broken", "rule"), BROKEN_LOCKS, ids=lambda x: getattr(x, "__name__", "")
    )
    def test_catches(self, broken: Callable[[], LockManager], rule: str) -> None:
        """A manager that breaks a rule is caught, and the rule is named."""
        with pytest.raises(AssertionError, match="broken rules") as caught:
            run_virtual(check_lock_manager(broken))

        assert rule in str(caught.value)

"""Contract suites: what every implementation of a port has to keep.

Whoever writes a journal or a lock manager runs the suite on it, in one test::

    def test_contract():
        check_journal(lambda: MyJournal(new_directory()))

A suite checks every rule, each on a fresh object, and then fails once, with
all that was broken.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import JournalError, shown
from pyflow.record.codec import GENESIS, verify_chain
from pyflow.record.events import (
    AttemptFailed,
    ErrorInfo,
    Logged,
    RunFinished,
    RunStarted,
    TaskStarted,
    TaskSucceeded,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pyflow.protocols import Journal, Lease, LockManager
    from pyflow.record.codec import Record
    from pyflow.record.events import Event

__all__ = ["check_journal", "check_lock_manager"]

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
PATIENCE_S = 0.1
"""How long a wait is watched before it counts as one that goes on."""
GUARD_S = 30.0
"""How long something that has to happen may take."""

EVENTS: tuple[Event, ...] = (
    RunStarted(
        "shop", "f1", {"name": "é漢😀\n\x00"}, {"id": "ada"}, {"ci": {"n": 1.5}}, {"a": "1"}
    ),
    TaskStarted("a", 1, "it has no dependencies"),
    AttemptFailed("a", 1, ErrorInfo("OSError", "no route", "line 1\nline 2"), 0.25),
    Logged("a", "again", {"deep": [{"list": [1, 2.5, None, True, "x"]}]}),
    TaskSucceeded("a", 2, 1e-06, {"host": "eu-1", "ports": [80, 443]}),
    RunFinished("succeeded", 6),
)
"""A short run, with texts, numbers and nesting that storage likes to lose."""


class _Unwritable:
    """What no record can hold."""


# Journal ----------------------------------------------------------------------------------


def check_journal(make: Callable[[], Journal]) -> None:
    """Check that a journal keeps what `Journal` promises.

    Args:
        make: Returns a new, empty journal at each call.

    Raises:
        AssertionError: Names every rule that is broken, and how.
    """
    broken: list[str] = []
    for rule in _JOURNAL_RULES:
        try:
            rule(make())
        except Exception as error:  # noqa: BLE001 - whatever a journal raises breaks the rule
            broken.append(_complaint(rule, error))
    _report(broken)


def _appends(journal: Journal) -> None:
    """`append` returns the records of its events, numbered from 1, with their run and instant."""
    records = [*journal.append("r", EVENTS[:2], at=AT), *journal.append("r", EVENTS[2:], at=AT)]

    _same([record.event for record in records], list(EVENTS))
    _same([record.seq for record in records], list(range(1, len(EVENTS) + 1)))
    _same({(record.run_id, record.at) for record in records}, {("r", AT)})


def _reads(journal: Journal) -> None:
    """`read` returns what `append` returned, in order, in any number of readings."""
    written = _filled(journal)

    _same(list(journal.read("r")), written)
    _same(list(journal.read("r")), written)


def _reads_after(journal: Journal) -> None:
    """`read(after=n)` leaves out the records up to number n."""
    written = _filled(journal)

    for after in range(len(written) + 2):
        _same(list(journal.read("r", after=after)), written[after:])


def _does_not_know(journal: Journal) -> None:
    """A run that was never appended to has no records and is no run."""
    journal.append("r", EVENTS[:1], at=AT)

    _same(list(journal.read("other")), [])
    _same(list(journal.runs()), ["r"])


def _lists_runs(journal: Journal) -> None:
    """`runs` names the runs in the order in which they began, whatever they are called."""
    for run_id in ("b", "a", "c", "a", "b"):
        journal.append(run_id, EVENTS[1:2], at=AT)

    _same(list(journal.runs()), ["b", "a", "c"])


def _keeps_runs_apart(journal: Journal) -> None:
    """Runs that write in turn have a chain each."""
    for event in EVENTS:
        journal.append("r", [event], at=AT)
        journal.append("s", [event], at=AT + timedelta(seconds=1))

    for run_id in ("r", "s"):
        _same([record.event for record in journal.read(run_id)], list(EVENTS))
        verify_chain(journal.read(run_id), complete=True)


def _chains(journal: Journal) -> None:
    """The records of a run are chained by hash, from the opening one on."""
    _filled(journal)
    records = journal.read("r")

    _same([record.prev for record in records], [GENESIS, *(r.hash for r in records[:-1])])
    verify_chain(records, complete=True)


def _writes_all_or_nothing(journal: Journal) -> None:
    """A commit with an event that cannot be written raises `JournalError` and adds nothing."""
    written = list(journal.append("r", EVENTS[:2], at=AT))
    hopeless = Logged("a", "no", {"thing": _Unwritable()})

    for run_id in ("r", "new"):
        try:
            journal.append(run_id, [EVENTS[2], hopeless], at=AT)
        except JournalError:
            continue
        raise AssertionError("append() took an event that cannot be written")
    _same(list(journal.read("r")), written)
    _same(list(journal.runs()), ["r"])
    journal.append("r", EVENTS[2:], at=AT)
    verify_chain(journal.read("r"), complete=True)


def _gives_frozen_records(journal: Journal) -> None:
    """Neither records nor the lists of them are a way into the journal."""
    returned = journal.append("r", EVENTS, at=AT)
    for records in (returned, journal.read("r")):
        if isinstance(records, list):
            records.clear()

    _same([record.event for record in journal.read("r")], list(EVENTS))
    try:
        journal.read("r")[0].seq = 7  # pyright: ignore[reportAttributeAccessIssue]
    except AttributeError:
        return
    raise AssertionError("a record could be changed")


def _filled(journal: Journal) -> list[Record]:
    return [record for event in EVENTS for record in journal.append("r", [event], at=AT)]


_JOURNAL_RULES: tuple[Callable[[Journal], None], ...] = (
    _appends,
    _reads,
    _reads_after,
    _does_not_know,
    _lists_runs,
    _keeps_runs_apart,
    _chains,
    _writes_all_or_nothing,
    _gives_frozen_records,
)


# Locks ------------------------------------------------------------------------------------

_Held: TypeAlias = "asyncio.Task[Sequence[Lease]]"


async def check_lock_manager(make: Callable[[], LockManager]) -> None:
    """Check that a lock manager keeps what `LockManager` promises.

    Run it in virtual time where the manager lives in memory, else with
    `asyncio.run`; it then waits a tenth of a second wherever it has to see
    that somebody is kept waiting.

    Args:
        make: Returns a new manager at each call, with every resource free.

    Raises:
        AssertionError: Names every rule that is broken, and how.
    """
    broken: list[str] = []
    for rule in _LOCK_RULES:
        try:
            await _within(GUARD_S, rule(make()))
        except Exception as error:  # noqa: BLE001 - whatever a manager raises breaks the rule
            broken.append(_complaint(rule, error))
    _report(broken)


async def _takes(locks: LockManager) -> None:
    """A lease for each resource, in sorted order, names the resource and the run."""
    leases = await locks.acquire("r", ["b", "a"])

    _same([(lease.resource, lease.run_id) for lease in leases], [("a", "r"), ("b", "r")])


async def _excludes(locks: LockManager) -> None:
    """A resource has one holder; who asks for it waits until it is given back."""
    leases = await locks.acquire("r", ["a"])
    waiting = _asks(locks, "s", "a")

    await _stays(waiting)
    locks.release(leases)
    _same((await waiting)[0].run_id, "s")


async def _takes_others(locks: LockManager) -> None:
    """Resources that nobody holds or waits for are taken at once."""
    await locks.acquire("r", ["a"])

    _same((await locks.acquire("s", ["b"]))[0].resource, "b")


async def _takes_all_or_none(locks: LockManager) -> None:
    """Who waits for one resource holds none of the others."""
    first = await locks.acquire("r", ["b"])
    waiting = _asks(locks, "s", "a", "b")
    await _stays(waiting)
    await _give_up(waiting)

    _same((await locks.acquire("t", ["a"]))[0].run_id, "t")
    locks.release(first)


async def _cancels_cleanly(locks: LockManager) -> None:
    """A cancelled wait takes nothing, and who came later goes on."""
    leases = await locks.acquire("r", ["a"])
    waiting, later = _asks(locks, "s", "a"), _asks(locks, "t", "a")
    await _stays(waiting)
    await _give_up(waiting)
    locks.release(leases)

    _same((await later)[0].run_id, "t")


async def _releases_once(locks: LockManager) -> None:
    """Giving a lease back again does not touch whoever holds the resource by then."""
    old = await locks.acquire("r", ["a"])
    locks.release(old)
    await locks.acquire("s", ["a"])
    locks.release(old)
    waiting = _asks(locks, "t", "a")

    await _stays(waiting)
    await _give_up(waiting)


async def _counts_up(locks: LockManager) -> None:
    """The epoch of a resource grows with every holder."""
    epochs: list[int] = []
    for run_id in "rst":
        leases = await locks.acquire(run_id, ["a"])
        epochs.append(leases[0].epoch)
        locks.release(leases)

    _same(epochs, sorted(set(epochs)))


async def _forms_no_ring(locks: LockManager) -> None:
    """Two runs that name the same resources in opposite orders both get on."""

    async def work(run_id: str, *resources: str) -> None:
        for _ in range(5):
            leases = await locks.acquire(run_id, resources)
            await asyncio.sleep(0)
            locks.release(leases)

    await asyncio.gather(work("r", "a", "b"), work("s", "b", "a"))


async def _within(span_s: float, work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    done, _ = await asyncio.wait([task], timeout=span_s)
    if not done:
        await _give_up(task)
        raise AssertionError(f"somebody still waited after {span_s:g} s")
    task.result()


def _asks(locks: LockManager, run_id: str, *resources: str) -> _Held:
    async def ask() -> Sequence[Lease]:
        return await locks.acquire(run_id, resources)

    return asyncio.get_running_loop().create_task(ask())


async def _stays(waiting: _Held) -> None:
    done, _ = await asyncio.wait([waiting], timeout=PATIENCE_S)
    if done:
        raise AssertionError(f"it did not wait, and got {shown(waiting.result())}")


async def _give_up(waiting: asyncio.Task[Any]) -> None:
    waiting.cancel()
    await asyncio.wait([waiting])


_LOCK_RULES: tuple[Callable[[LockManager], Coroutine[Any, Any, None]], ...] = (
    _takes,
    _excludes,
    _takes_others,
    _takes_all_or_none,
    _cancels_cleanly,
    _releases_once,
    _counts_up,
    _forms_no_ring,
)


# Reports ----------------------------------------------------------------------------------


def _same(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"found {shown(found)}, expected {shown(expected)}")


def _complaint(rule: Callable[..., object], error: Exception) -> str:
    what = str(error) if isinstance(error, AssertionError) else shown(error)
    return f"{(rule.__doc__ or '').strip()}\n     {what}"


def _report(broken: list[str]) -> None:
    if broken:
        lines = "".join(f"\n  {number}. {text}" for number, text in enumerate(broken, start=1))
        raise AssertionError(f"{len(broken)} broken rules:{lines}")

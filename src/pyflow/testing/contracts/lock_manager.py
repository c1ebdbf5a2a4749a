"""What every `LockManager` has to keep."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.errors import LockError, LockHeld, LockMoved, RunAlive, shown
from pyflow.testing.contracts.rules import check_async_rules, give_up, same

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pyflow.protocols import Holder, Lease, LockManager

__all__ = ["check_lock_manager"]

PATIENCE_S = 0.1
"""How long a wait is watched before it counts as one that goes on."""

ASKED = "pyflow.check_lock_manager: one who asks"

_Held: TypeAlias = "asyncio.Task[Sequence[Lease]]"
_Rule: TypeAlias = "Callable[[LockManager], Coroutine[Any, Any, None]]"


async def check_lock_manager(make: Callable[[], LockManager]) -> None:
    """Check that a lock manager keeps what `LockManager` promises.

    Run it in virtual time where the manager lives in memory, else with
    `asyncio.run`; it then waits a tenth of a second wherever it has to see
    that somebody is kept waiting.

    Args:
        make: Returns a new manager at each call, with every resource free.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the manager.
    """
    await check_async_rules([_tidied(rule) for rule in _RULES], make)


def _tidied(rule: _Rule) -> _Rule:
    """Return *rule*, with whoever still waits at its end sent home, however it ended."""

    @functools.wraps(rule)
    async def check(locks: LockManager) -> None:
        try:
            await rule(locks)
        finally:
            for task in asyncio.all_tasks():
                if task.get_name() == ASKED:
                    await give_up(task)

    return check


async def _takes(locks: LockManager) -> None:
    """A lease for each resource, in sorted order, names the resource and the run."""
    leases = await locks.acquire("r", ["b", "a"])

    same([(lease.resource, lease.run_id) for lease in leases], [("a", "r"), ("b", "r")])


async def _excludes(locks: LockManager) -> None:
    """A resource has one holder; who asks for it waits until it is given back."""
    leases = await locks.acquire("r", ["a"])
    waiting = _asks(locks, "s", "a")

    await _stays(waiting)
    locks.release(leases)
    same((await waiting)[0].run_id, "s")


async def _takes_others(locks: LockManager) -> None:
    """Resources that nobody holds or waits for are taken at once."""
    await locks.acquire("r", ["a"])

    same((await locks.acquire("s", ["b"]))[0].resource, "b")


async def _takes_all_or_none(locks: LockManager) -> None:
    """Who waits for one resource holds none of the others."""
    first = await locks.acquire("r", ["b"])
    waiting = _asks(locks, "s", "a", "b")
    await _stays(waiting)
    await give_up(waiting)

    same((await locks.acquire("t", ["a"]))[0].run_id, "t")
    locks.release(first)


async def _cancels_cleanly(locks: LockManager) -> None:
    """A cancelled wait takes nothing, and who came later goes on."""
    leases = await locks.acquire("r", ["a"])
    waiting, later = _asks(locks, "s", "a"), _asks(locks, "t", "a")
    await _stays(waiting)
    await give_up(waiting)
    locks.release(leases)

    same((await later)[0].run_id, "t")


async def _releases_once(locks: LockManager) -> None:
    """Giving a lease back again does not touch whoever holds the resource by then."""
    old = await locks.acquire("r", ["a"])
    locks.release(old)
    await locks.acquire("s", ["a"])
    locks.release(old)
    waiting = _asks(locks, "t", "a")

    await _stays(waiting)
    await give_up(waiting)


async def _counts_up(locks: LockManager) -> None:
    """The epoch of a resource grows with every holder."""
    epochs: list[int] = []
    for run_id in "rst":
        leases = await locks.acquire(run_id, ["a"])
        epochs.append(leases[0].epoch)
        locks.release(leases)

    same(epochs, sorted(set(epochs)))


async def _keeps_the_line(locks: LockManager) -> None:
    """Those who wait are served in the order in which they came."""
    leases = await locks.acquire("r", ["a"])
    line = [_asks(locks, run_id, "a") for run_id in "stu"]
    await _stays(line[0])
    served: list[str] = []
    locks.release(leases)
    for waiting in line:
        leases = await waiting
        served.append(leases[0].run_id)
        locks.release(leases)

    same(served, ["s", "t", "u"])


async def _is_not_overtaken(locks: LockManager) -> None:
    """A free resource is kept for whoever asked for it earlier, along with a busy one."""
    leases = await locks.acquire("r", ["a"])
    waiting = _asks(locks, "s", "a", "b")
    await _stays(waiting)
    later = _asks(locks, "t", "b")

    await _stays(later)
    locks.release(leases)
    locks.release(await waiting)
    same((await later)[0].run_id, "t")


async def _forms_no_ring(locks: LockManager) -> None:
    """Two runs that name the same resources in opposite orders both get on."""

    async def work(run_id: str, *resources: str) -> None:
        for _ in range(5):
            leases = await locks.acquire(run_id, resources)
            await asyncio.sleep(0)
            locks.release(leases)

    loop = asyncio.get_running_loop()
    both = [loop.create_task(work("r", "a", "b")), loop.create_task(work("s", "b", "a"))]
    try:
        await asyncio.gather(*both)
    finally:
        for one in both:
            await give_up(one)


async def _fails_at_once(locks: LockManager) -> None:
    """With the policy `fail`, nobody waits and nothing is taken: who has the lock is told."""
    await locks.acquire("r", ["b"])
    try:
        async with asyncio.timeout(PATIENCE_S):
            await locks.acquire("s", ["a", "b"], policy="fail")
    except LockHeld as error:
        same(error.holder, locks.holder("b"))
    except TimeoutError:
        raise AssertionError("it waited") from None
    else:
        raise AssertionError("it took what another run has")

    same((await locks.acquire("s", ["a"], policy="fail"))[0].run_id, "s")


async def _knows_the_holder(locks: LockManager) -> None:
    """The holder of a resource is whoever has its lease, and nobody before and after."""
    before = locks.holder("a")
    leases = await locks.acquire("r", ["a"])
    during = locks.holder("a")
    locks.release(leases)

    same((before, locks.holder("a")), (None, None))
    if during is None:
        raise AssertionError("it knew of none while the resource was held")
    same((during.lease, during.is_alive), (leases[0], True))


async def _refuses_a_second_self(locks: LockManager) -> None:
    """A run that has a resource is refused it, for it would wait for itself."""
    await locks.acquire("r", ["a"])
    waiting = _asks(locks, "r", "a")
    try:
        await _stays(waiting)
    except RunAlive:
        return
    await give_up(waiting)
    raise AssertionError("it waited for itself")


async def _bars_residue(locks: LockManager) -> None:
    """What a run leaves with residue is refused to others, waiting or not, and to itself is not."""
    leases = await locks.acquire("r", ["a"])
    waiting = _asks(locks, "s", "a", "b")
    await _stays(waiting)
    locks.release(leases, residue=True)
    await _expect_lock_error(waiting)
    await _expect_lock_error(_asks(locks, "t", "a"))

    same([locks.refusal(["a"]) is None, locks.refusal(["a"], run_id="r")], [False, None])
    locks.release(await locks.acquire("r", ["a"]))
    same((locks.refusal(["a"]), (await locks.acquire("s", ["a"]))[0].run_id), (None, "s"))


async def _breaks(locks: LockManager) -> None:
    """A broken lock is free, held or barred, at a higher epoch, and its old lease is void."""
    old = await locks.acquire("r", ["a"])
    epochs = [old[0].epoch, locks.break_lock("a")]
    new = await locks.acquire("s", ["a"])
    locks.release(old, residue=True)
    same(getattr(locks.holder("a"), "lease", None), new[0])
    locks.release(new, residue=True)
    epochs += [new[0].epoch, locks.break_lock("a")]
    epochs += [(await locks.acquire("t", ["a"]))[0].epoch]

    same(epochs, sorted(set(epochs)))


async def _refuses_what_has_moved(locks: LockManager) -> None:
    """A run cannot take up again what was broken since, or what another run has had."""
    had = await locks.acquire("r", ["a", "b", "c"])
    locks.release(had, residue=True)
    locks.break_lock("a")
    locks.release(await locks.acquire("s", ["a"]), residue=True)
    locks.break_lock("b")
    for lease in had[:2]:
        refusal = locks.refusal([lease.resource], run_id="r", had=had)
        if not isinstance(refusal, LockMoved) or refusal.lease != lease:
            raise AssertionError(f"refusal() says {shown(refusal)}")
        try:
            await locks.acquire("r", [lease.resource], had=had)
        except LockMoved:
            continue
        raise AssertionError("it was taken up")

    same(len(await locks.acquire("r", ["c", "d"], had=had)), 2)


async def _takes_up_its_own(locks: LockManager) -> None:
    """A run may take up what nobody else has had since, also where it does not know its last epoch."""
    had = await locks.acquire("r", ["a"])
    locks.release(had)
    again = await locks.acquire("r", ["a"], had=had)
    locks.release(again, residue=True)
    locks.release(await locks.acquire("r", ["a"], had=had), residue=True)

    same(locks.refusal(["a"], run_id="r", had=had), None)


async def _tells_of_holders(locks: LockManager) -> None:
    """Who waits hears of everybody who has the resource meanwhile, once for each lease."""
    heard: list[Holder] = []
    first = await locks.acquire("r", ["a"])
    waiting = _asks(locks, "s", "a")
    await _stays(waiting)
    told = asyncio.get_running_loop().create_task(
        _acquired(locks, "t", "a", told=heard.append), name=ASKED
    )
    await _stays(told)
    locks.release(first)
    second = await waiting
    await _stays(told)
    locks.release(second)
    await told

    same([(one.lease, one.is_alive) for one in heard], [(first[0], True), (second[0], True)])


async def _knows_what_is_left(locks: LockManager) -> None:
    """What a run has left with residue is told to those who ask for that run, and nothing else."""
    locks.release(await locks.acquire("r", ["b", "a"]), residue=True)
    held = await locks.acquire("s", ["c"])
    before = [list(locks.left("r")), list(locks.left("s"))]
    locks.break_lock("a")
    locks.release(held)

    same([*before, list(locks.left("r"))], [["a", "b"], [], ["b"]])


async def _foretells(locks: LockManager) -> None:
    """With the policy `fail`, who has the lock is told without asking for it, and nobody else is in the way."""
    await locks.acquire("r", ["a"])
    refusal = locks.refusal(["b", "a"], run_id="s", policy="fail")

    same((type(refusal), getattr(refusal, "holder", None)), (LockHeld, locks.holder("a")))
    same([locks.refusal(["a"], run_id="s"), locks.refusal(["b"], policy="fail")], [None, None])


async def _expect_lock_error(waiting: _Held) -> None:
    try:
        await _stays(waiting)
    except LockError:
        return
    await give_up(waiting)
    raise AssertionError("it waited where it had to be refused")


def _asks(locks: LockManager, run_id: str, *resources: str) -> _Held:
    asking = _acquired(locks, run_id, *resources)
    return asyncio.get_running_loop().create_task(asking, name=ASKED)


async def _acquired(
    locks: LockManager, run_id: str, *resources: str, told: Callable[[Holder], None] | None = None
) -> Sequence[Lease]:
    return await locks.acquire(run_id, resources, told=told)


async def _stays(waiting: _Held) -> None:
    """See that *waiting* goes on; raise what it raised."""
    done, _ = await asyncio.wait([waiting], timeout=PATIENCE_S)
    if done:
        raise AssertionError(f"it did not wait, and got {shown(waiting.result())}")


_RULES: tuple[_Rule, ...] = (
    _takes,
    _excludes,
    _takes_others,
    _takes_all_or_none,
    _cancels_cleanly,
    _releases_once,
    _counts_up,
    _keeps_the_line,
    _is_not_overtaken,
    _forms_no_ring,
    _fails_at_once,
    _knows_the_holder,
    _refuses_a_second_self,
    _bars_residue,
    _breaks,
    _refuses_what_has_moved,
    _takes_up_its_own,
    _tells_of_holders,
    _knows_what_is_left,
    _foretells,
)

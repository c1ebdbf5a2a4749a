"""Run asyncio code in virtual time: a day of waiting takes milliseconds.

`VirtualLoop` is an ordinary asyncio loop except for two things. Its clock
stands still while anything can run and then jumps, exactly, to the next timer.
And it has no outside world: sockets, processes and signals are refused, since
what they answer, and when, would differ from run to run. Real work that has to
be done goes to a thread, where the loop can count it; the clock waits for it.

Equal programs give equal runs. Tasks are numbered and hash by their number, so
a set of tasks has the same order every time; asyncio itself cancels a
`TaskGroup` in the order of such a set.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from pyflow.errors import shown
from pyflow.testing.clock import VirtualClock, running_loop
from pyflow.testing.errors import (
    SimulationDeadlock,
    SimulationError,
    SimulationStalled,
    Waiting,
    counted,
    listed,
)
from pyflow.testing.outside import refuse_outside
from pyflow.testing.threads import WorkingLoop
from pyflow.testing.turns import drop_cancelled, run_ready, take_due
from pyflow.testing.where import where_task

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VirtualClock", "VirtualLoop", "run_virtual"]

T = TypeVar("T")

STALL_S = 5.0
TURNS_MAX = 1_000_000
GRACE_S = 3_600.0
"""How much virtual time the clean-up of a cancelled task may take, when a loop is rewound."""


class _Task(asyncio.Task[Any]):
    """A task that hashes by its number, and that is named after it unless it has a name."""

    __slots__ = ("number",)

    def __init__(self, number: int, coro: Any, name: Any, options: dict[str, Any]) -> None:
        self.number = number  # first: asyncio puts the task into a set while it is being made
        super().__init__(coro, name=name or f"Task-{number}", **options)

    def __hash__(self) -> int:
        return self.number

    def set_name(self, value: object, /) -> None:
        if value is not None:  # Python 3.13 sets None for every task that was given no name
            super().set_name(value)


@refuse_outside
class VirtualLoop(WorkingLoop):
    """An event loop whose clock jumps to the next timer whenever nothing can run.

    Hand it to asyncio with ``asyncio.Runner(loop_factory=VirtualLoop)``, or
    use `run_virtual`. Timers fire at exactly the time they were set for.
    Timers of one instant fire in an order that is the same in every run,
    though it need not be the order in which they were set.

    Work on a thread (`run_in_executor`, `asyncio.to_thread`) is real: virtual
    time stands still until it returns, so no timeout strikes meanwhile.
    """

    # asyncio's own state, under the names that it has in every version.
    _stopping: bool
    _task_factory: Any
    _timer_cancelled_count: int

    def __init__(
        self, *, start_s: float = 0.0, stall_s: float = STALL_S, turns_max: int = TURNS_MAX
    ) -> None:
        """Make a loop whose clock stands at *start_s*.

        Args:
            start_s: What `time()` says at first, in seconds.
            stall_s: How many real seconds the loop waits for work in flight
                without hearing from any, before it raises `SimulationStalled`.
            turns_max: How many turns the loop may take at one instant before
                it calls that spinning, and raises `SimulationStalled`.
        """
        self.stall_s = stall_s
        self.turns_max = turns_max
        self._turns = 0
        self._tasks_made = 0
        self._idle_waiters: list[asyncio.Future[None]] = []
        self.on_jump: Callable[[float], None] | None = None
        """Called before each jump with the time that the next timer is set for; it may set others,
        or have something run before time moves on."""
        super().__init__(start_s=start_s)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed() else f"{len(self._works)} in flight"
        return f"<VirtualLoop at {round(self._now, 6)} s, {state}>"

    async def wait_idle(self) -> None:
        """Wait until nothing else can run before time moves on.

        By then every task waits for time or for another task, and no work is
        in flight but what is `parked`.
        """
        if not self._ready and not self._works.all:
            return
        waiter = self.create_future()
        self._idle_waiters.append(waiter)
        await waiter

    async def cancel_leftovers(self) -> list[str]:
        """Cancel every other task and every timer, and return a line for each.

        What can still run at this instant runs first, and does not count as
        left over if that ends it. The cancelled tasks get an hour for their
        clean-up; those that go on all the same are given up, which their
        lines say.
        """
        await self.wait_idle()
        tasks = sorted(asyncio.all_tasks(self) - {asyncio.current_task()}, key=hash)
        left = [f"task {Waiting(task.get_name(), where_task(task))}" for task in tasks]
        for task in tasks:
            task.cancel()
        going_on: set[asyncio.Task[Any]] = set()
        if tasks:
            going_on = (await asyncio.wait(tasks, timeout=GRACE_S))[1]
            await self.wait_idle()
        timers = sorted(t for t in self._scheduled if not t.cancelled())
        left += [f"timer {timer!r}" for timer in timers]
        for timer in timers:
            timer.cancel()
        return left + [
            f"task {_given_up(task)} goes on though it was cancelled"
            for task in sorted(going_on, key=hash)
        ]

    async def rewind(self, start_s: float = 0.0) -> bool:
        """Cancel whatever is left, and begin again at *start_s*, as a new loop would.

        Returns:
            Whether everything ended, given an hour for it; otherwise the loop
            is of no further use, and can be abandoned.
        """
        tasks = sorted(asyncio.all_tasks(self) - {asyncio.current_task()}, key=hash)
        for task in tasks:
            task.cancel()
        if tasks and (await asyncio.wait(tasks, timeout=GRACE_S))[1]:
            return False
        for timer in self._scheduled:
            timer.cancel()
        await self.wait_idle()
        self._scheduled.clear()
        self._tasks_made = self._turns = 0
        self._move_to(start_s)
        return True

    def abandon(self) -> None:
        """Close the loop over tasks that do not end when they are cancelled."""
        for task in sorted(asyncio.all_tasks(self), key=hash):
            _given_up(task)
        for timer in self._scheduled:
            timer.cancel()
        self.close()

    def create_task(self, coro: Any, *, name: object = None, **options: Any) -> asyncio.Task[Any]:
        """Make a task that hashes by its number, unless another factory is set."""
        if self._task_factory is not None or self.is_closed():
            return super().create_task(coro, name=name, **options)
        self._tasks_made += 1
        options["loop"] = self
        return _Task(self._tasks_made, coro, name, options)

    def _run_once(self) -> None:
        """Take one turn: run what can run, and where nothing can, wait for work or move time on.

        It calls in the order in which asyncio's own would. There is no outside
        world to look at, which would be most of the cost of a turn.
        """
        ready = self._ready
        if self._timer_cancelled_count:
            left = drop_cancelled(self._scheduled, self._timer_cancelled_count)
            self._timer_cancelled_count = left
        if self._works.all:
            self._turns = 0
            if not ready and not self._stopping:
                self._attend()
        elif ready or self._stopping:
            self._turns += 1
            if self._turns > self.turns_max:
                self._spinning()
        else:
            self._move_on()
        if self._scheduled:
            take_due(self._scheduled, self._now + self._clock_resolution, ready)
        run_ready(ready)

    def _attend(self) -> None:
        """Wait for work in flight, for real; where all of it waits for the loop, move time on."""
        if not self._works.holding():
            self._move_on()
        elif not self._listen(self.stall_s):
            raise self._works.give_up(self.stall_s)

    def _wake_idle(self) -> None:
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _move_on(self) -> None:
        """Wake those who wait until nothing can run; where nobody does, let time jump."""
        if self._idle_waiters:
            self._wake_idle()
            return
        # To the timer itself, never by a difference: `now + (when - now)` can
        # fall short of `when`, and then the loop would turn for ever.
        when = self._scheduled[0].when() if self._scheduled else math.inf
        if when == math.inf:
            raise SimulationDeadlock(self.waiting(), at_s=self._now)
        if self.on_jump is not None:
            self.on_jump(when)
            if self._ready:
                return
            when = self._scheduled[0].when()
        self._turns = 0
        self._move_to(when)

    def _spinning(self) -> NoReturn:
        turns, self._turns = self._turns - 1, 0
        raise SimulationStalled(
            f"the loop took {turns:,} turns at {self._now:.6f} s and could still run, so time "
            f"never moves; a task spins, one of{listed(self.waiting())}\n"
            "Let it wait for something, or sleep for longer than 0 s."
        )

    def waiting(self) -> list[Waiting]:
        """Return every task and every parked thread, and where it is."""
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        waiting = [Waiting(task.get_name(), where_task(task)) for task in tasks]
        return waiting + self._works.waiting()


def _given_up(task: asyncio.Task[Any]) -> str:
    """Have a task that does not end when it is cancelled count as over, and return its name."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - as asyncio.gather does
    coro = cast("Coroutine[Any, Any, Any]", task.get_coro())
    with suppress(RuntimeError):  # it would not be closed either
        coro.close()
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, for loops that have tasks of their own
    return task.get_name()


def run_virtual(
    coro: Coroutine[Any, Any, T],
    *,
    debug: bool = False,
    start_s: float = 0.0,
    stall_s: float = STALL_S,
) -> T:
    """Run *coro* in virtual time and return its result.

    Everything that can still run when *coro* returns may do so, at that
    instant. Tasks that then still wait are cancelled, and reported.

    Args:
        coro: What to run.
        debug: Turns on asyncio's debug mode.
        start_s: What the loop's clock says at first, in seconds.
        stall_s: How many real seconds to wait for work in flight.

    Raises:
        SimulationDeadlock: Every task waits, for ever.
        SimulationStalled: Real work did not come back.
        SimulationError: *coro* returned and left tasks or timers behind, or
            an argument makes no sense; *coro* is closed then.
    """
    if not isinstance(cast("object", coro), Coroutine):
        raise SimulationError(
            f"run_virtual({shown(coro)}): give a coroutine, which is what an async function "
            "returns: run_virtual(main())"
        )
    problem = _problem(start_s, stall_s)
    if problem is not None:
        coro.close()
        raise SimulationError(f"run_virtual(): {problem}")
    loop = VirtualLoop(start_s=start_s, stall_s=stall_s)
    with asyncio.Runner(debug=debug, loop_factory=lambda: loop) as runner:
        result = runner.run(coro)
        left = runner.run(loop.cancel_leftovers())
    if left:
        raise SimulationError(
            f"the run returned and left {counted(left, 'thing', 'things')} unfinished{listed(left)}\n"
            "Await or cancel every task, and cancel every timer, before returning."
        )
    return result


def _problem(start_s: float, stall_s: float) -> str | None:
    """Return why nothing can be run at once, on a loop of its own that is made so, or None."""
    if running_loop() is not None:
        return (
            "it was called inside a running loop; call it from plain code, or from a thread of "
            "its own with asyncio.to_thread(run_virtual, ...)"
        )
    if not _is_number(start_s) or not math.isfinite(start_s):
        return f"start_s={shown(start_s)}: give a finite number of seconds, such as 3600"
    if not _is_number(stall_s) or not stall_s > 0:
        return f"stall_s={shown(stall_s)}: give a number of seconds, more than 0"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

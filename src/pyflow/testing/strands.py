"""Run plain functions in virtual time: one at a time, each until it waits.

A plain function that waits has to block where it runs, so it needs a thread of
its own. Here a thread is used as a coroutine is: the loop hands over to it and
stands still until the function returns or asks for a wait; then the loop goes
on, carries the wait out, and hands over again. Nothing ever runs beside
anything else, so equal seeds give equal runs, threads or not.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from pyflow.errors import OutsideExecutor
from pyflow.testing.clock import running_loop
from pyflow.testing.errors import SimulationError, SimulationStalled
from pyflow.testing.where import name_of, where_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SimulatedExecutor"]

T = TypeVar("T")
Make: TypeAlias = "Callable[[], Coroutine[Any, Any, Any]]"
Step: TypeAlias = "tuple[Make, contextvars.Context]"


class SimulatedExecutor:
    """An `Executor` for virtual time: no two functions ever run at once.

    A function that cannot wait runs on the loop itself. One that may wait gets
    a thread, and the loop stands still while the thread runs.
    """

    def __init__(self, *, stall_s: float = 5.0) -> None:
        """Make an executor.

        Args:
            stall_s: How many real seconds a function may run before it has to
                return or wait; then `SimulationStalled` is raised.
        """
        self._stall_s = stall_s
        self._idle: list[_Strand] = []

    def __repr__(self) -> str:
        return f"<SimulatedExecutor idle={len(self._idle)}>"

    async def run(self, fn: Callable[[], Any], /, *, waits: bool = False) -> Any:
        """Run *fn*; with *waits* on a thread, while the loop stands still."""
        rest = fn
        if not waits:
            value = fn()
            if not isinstance(value, _Later):
                return value
            rest = value.fn
        strand = self._idle.pop() if self._idle else _Strand(self._stall_s)
        outcome = await strand.carry_out(rest, fn)
        self._idle.append(strand)
        return outcome.get()

    def later(self, fn: Callable[[], T]) -> T:
        """Have *fn* run where it may wait; for a function that `run` carries out to return."""
        if _STRAND.get(None) is not None:
            return fn()
        return cast("T", _Later(fn))

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Hand over to the loop until it has carried the coroutine out.

        Raises:
            OutsideStrand: Whoever calls does not run on a thread of this executor.
        """
        strand = _STRAND.get(None)
        if strand is None:
            raise OutsideStrand(
                "wait() was called outside of a function that run(fn, waits=True) carries out"
            )
        return cast("T", strand.ask(make))

    def close(self) -> None:
        """Let idle threads end, and wait until they have."""
        idle, self._idle = self._idle, []
        for strand in idle:
            strand.end()


class OutsideStrand(SimulationError, OutsideExecutor):
    """A wait was asked for on a thread that is no part of the simulation's order."""


class _Later:
    """What a function returns that began where it cannot wait, and now has to."""

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[[], Any]) -> None:
        self.fn = fn


class _Outcome:
    """What a function came to: a value, or an error to raise."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error

    def get(self) -> Any:
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            self.error = None  # no ring of traceback and frame


async def _await(make: Make) -> _Outcome:
    """Carry out a wait, and return what came of it, whatever that is."""
    try:
        return _Outcome(await make())
    except BaseException as error:  # noqa: BLE001 - it belongs to who waits
        return _Outcome(error=error)


class _Strand:
    """A thread that runs exactly while the loop stands still."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._in: queue.SimpleQueue[tuple[Callable[[], Any], contextvars.Context] | _Outcome | None]
        self._in = queue.SimpleQueue()
        self._out: queue.SimpleQueue[_Outcome | Step] = queue.SimpleQueue()
        self._given_up = False
        self._thread = threading.Thread(target=self._work, name="pyflow-simulated", daemon=True)
        self._thread.start()

    # On the loop --------------------------------------------------------------------------

    async def carry_out(self, fn: Callable[[], Any], named: object) -> _Outcome:
        """Run *fn* from its beginning to its end, and serve its waits."""
        context = contextvars.copy_context()
        context.run(_STRAND.set, self)
        step = self._hand_over((fn, context), named)
        while not isinstance(step, _Outcome):
            make, variables = step
            try:
                answer = await asyncio.create_task(_await(make), context=variables)
            except GeneratorExit as error:  # the loop is gone, and nothing can be awaited
                self._unwind(error, named)
                raise
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits
                answer = _Outcome(error=error)
            step = self._hand_over(answer, named)
        return step

    def end(self) -> None:
        """Let the thread end."""
        self._in.put(None)
        self._thread.join()

    def _unwind(self, error: BaseException, named: object) -> None:
        self._given_up = True
        self._hand_over(_Outcome(error=error), named)
        self.end()

    def _hand_over(self, message: Any, named: object) -> _Outcome | Step:
        external = getattr(running_loop(), "external", nullcontext)
        with external():
            self._in.put(message)
            try:
                return self._out.get(timeout=self._stall_s)
            except queue.Empty:
                self._given_up = True
                self._in.put(None)  # the thread ends once the function has come back
                raise SimulationStalled(
                    f"{name_of(named)} neither returned nor waited for {self._stall_s:g} real "
                    f"seconds: {where_thread(self._thread.ident)}\n"
                    "Let it wait with ctx.sleep() or ctx.poll(), or put a fake in its place.",
                    work=[name_of(named)],
                ) from None

    # On the thread ------------------------------------------------------------------------

    def ask(self, make: Make) -> Any:
        """Have the loop carry out what *make* makes, and return what came of it."""
        if not self._given_up:
            variables = contextvars.copy_context()
            variables.run(_STRAND.set, None)  # what is awaited runs on the loop
            self._out.put((make, variables))
            answer = self._in.get()
            if isinstance(answer, _Outcome):
                return answer.get()
        raise SimulationError("the simulation has ended, so nothing waits any more")

    def _work(self) -> None:
        while not self._given_up:
            job = self._in.get()
            if job is None:
                return
            assert isinstance(job, tuple)
            fn, context = job
            try:
                outcome = _Outcome(context.run(fn))
            except BaseException as error:  # noqa: BLE001 - it belongs to who called
                outcome = _Outcome(error=error)
            self._out.put(outcome)
            del job, fn, context, outcome


_STRAND: contextvars.ContextVar[_Strand | None] = contextvars.ContextVar("strand")
"""The strand that runs the present function."""

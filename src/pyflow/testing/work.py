"""Real work in flight: which threads virtual time has to wait for.

A thread that works takes real time, and no timeout may strike meanwhile. A
thread that waits for the loop is `parked`: were time to stand still for it,
both would wait for ever. So every piece of work is counted from before it
begins until after its result is queued, and knows whether it waits.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

from pyflow.testing.errors import SimulationError, SimulationStalled, Waiting, counted, listed
from pyflow.testing.where import where_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Work", "WorkInFlight", "stays_here"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(eq=False, slots=True)
class Work:
    """Real work in flight, and whether it now waits for the loop."""

    among: WorkInFlight
    """Where it is counted."""

    name: str
    """What to call it in an error."""

    executor: object = None
    """Where it was queued; None for work that began at once."""

    thread: int | None = None
    """The thread that runs it, once one does."""

    parked: int = 0
    """How many waits of the loop it is in; the clock may jump while it is in any."""


_SERVED: contextvars.ContextVar[Work | None] = contextvars.ContextVar("served", default=None)
"""The work on whose behalf the present coroutine runs."""


class WorkInFlight:
    """The real work of one loop, oldest first; true while there is any."""

    def __init__(self) -> None:
        self.lost = False
        """Whether work was given up; it may still call in."""

        self.all: dict[Work, None] = {}
        """Everything that is in flight, oldest first."""
        self._on_thread = threading.local()

    def __len__(self) -> int:
        return len(self.all)

    def __contains__(self, work: Work) -> bool:
        return work in self.all

    def begin(self, name: str, *, executor: object = None) -> Work:
        """Count work from now on."""
        work = Work(self, name, executor)
        self.all[work] = None
        return work

    def end(self, work: Work) -> None:
        """Count *work* no longer."""
        self.all.pop(work, None)

    def run(self, work: Work, func: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run *func* on the thread that this is called on, as what *work* is."""
        work.thread = threading.get_ident()
        self._on_thread.work = work
        try:
            return func(*args)
        finally:
            self._on_thread.work = None

    @contextmanager
    def external(self, name: str) -> Generator[None, None, None]:
        """Count work that nothing else would count, while the block lasts."""
        work = self.begin(name)
        try:
            yield
        finally:
            self.end(work)

    @contextmanager
    def parked(self) -> Generator[None, None, None]:
        """Let time move although the work that this coroutine serves is in flight.

        Raises:
            SimulationError: No work is in flight that could be waiting.
        """
        work = self._served()
        before = _SERVED.get()
        work.parked += 1
        _SERVED.set(work)
        try:
            yield
        finally:
            work.parked -= 1
            _SERVED.set(before)

    def context_of_caller(self) -> contextvars.Context | None:
        """Return the context for what another thread, this one, queues on the loop.

        In it, `parked` knows whom a coroutine serves. None for a thread of
        which no more is known than that it may call.

        Raises:
            SimulationError: No work is in flight, so the loop could not have
                waited for this thread.
        """
        if not self.all and not self.lost:
            raise SimulationError(
                f"thread {threading.current_thread().name!r} called call_soon_threadsafe() "
                "while no work was in flight, so virtual time could not wait for it; start "
                "it with loop.run_in_executor(), or wrap it in `with loop.external():`"
            )
        work: Work | None = getattr(self._on_thread, "work", None)
        if work is None:
            return None
        context = contextvars.copy_context()
        context.run(_SERVED.set, work)
        return context

    def holding(self) -> list[Work]:
        """Return the work that time has to wait for.

        Parked work is not, and neither is what cannot begin before other work
        of its pool has ended: it waits for whatever that work waits for.
        """
        running = Counter(w.executor for w in self.all if w.thread is not None)
        return [
            w
            for w in self.all
            if not w.parked and (w.thread is not None or running[w.executor] < _size(w.executor))
        ]

    def waiting(self) -> list[Waiting]:
        """Return the threads of parked work."""
        return [Waiting(f"thread of {w.name}", "parked") for w in self.all if w.parked]

    def give_up(self, stall_s: float) -> SimulationStalled:
        """Count what did not come back in *stall_s* no longer, and return the error to raise."""
        holding = self.holding()
        for work in holding:
            del self.all[work]
        self.lost = True
        return SimulationStalled(
            f"virtual time stood still for {stall_s:g} real seconds, waiting for "
            f"{counted(holding, 'call', 'calls')} that did not come back"
            f"{listed([f'{w.name}: {where_thread(w.thread)}' for w in holding])}\n"
            "Let the work end, give the loop a larger stall_s, or, if it waits for the loop, "
            "serve its wait inside `with loop.parked():`.",
            work=[w.name for w in holding],
        )

    def _served(self) -> Work:
        work = _SERVED.get()
        if work is not None and work.among is self:
            return work  # or has ended meanwhile; then nobody waits, and nobody is to be parked
        for candidate in self.all:  # asked in a way that does not show who asked
            if not candidate.parked:
                return candidate
        raise SimulationError(
            "parked() was entered while no work was in flight that could wait; start the "
            "thread with loop.run_in_executor(), or leave parked() out"
        )


def _size(executor: object) -> float:
    """Return how many calls *executor* runs at once, as far as can be told."""
    threads: int | None = getattr(executor, "_max_workers", None)
    return math.inf if threads is None or not stays_here(executor) else threads


def stays_here(executor: object) -> bool:
    """Whether *executor* runs a function in this interpreter, unpickled."""
    names = {cls.__name__ for cls in type(executor).__mro__}
    return names.isdisjoint({"ProcessPoolExecutor", "InterpreterPoolExecutor"})

"""The journal of an explored run: it keeps drafts, and every commit is a point for faults."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pyflow.record import events as ev
from pyflow.testing.drafts import DraftChain, Drafts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pyflow.protocols import Lease
    from pyflow.testing.faults import FaultKind, Faults

__all__ = ["ASKED", "EngineDied", "Recorder"]

CRASH: tuple[FaultKind, ...] = ("crash",)
ASKED: tuple[FaultKind, ...] = ("cancel", "pause", "roll_back")
OVER = ("outcome_decided", "run_finished")


class EngineDied(BaseException):
    """The engine was killed at this point; whoever sees it is dead."""


class Recorder:
    """A `Journal` for one run at a time. Records are sealed only when somebody reads them."""

    def __init__(
        self,
        faults: Faults,
        *,
        die: Callable[[], None],
        ask: Callable[[FaultKind], None],
        askable: Callable[[], tuple[FaultKind, ...]] = lambda: ASKED,
    ) -> None:
        """Make a journal.

        Args:
            faults: Decides what happens around each commit.
            die: Called when the engine is killed.
            ask: Called when an operator asks for something.
            askable: Returns what an operator may ask for now.
        """
        self.started: Counter[tuple[str, str, int]] = Counter()
        self.outputs: dict[str, str] = {}
        self.saved: dict[tuple[str, str], str] = {}  # what later attempts and undos find
        self.ended: Counter[tuple[str, str]] = Counter()  # what no state of a task shows
        self.finalizer: str | None = None  # the last that has begun
        self.commands = 0  # of people, that were taken in
        self.resumed = 0
        self.called: set[tuple[str, str]] = set()  # what and of which task, since then
        self.is_fresh = False  # it was taken up, and nothing has followed from that yet
        self.is_over = False
        self._chain = DraftChain("")
        self._faults = faults
        self._die = die
        self._ask = ask
        self._askable = askable

    @property
    def run_id(self) -> str:
        """Id of the run, once it has begun."""
        return self._chain.run_id

    @property
    def events(self) -> list[ev.Event]:
        """What was recorded, in order."""
        return self._chain.events

    def append(
        self,
        run_id: str,
        events: Sequence[ev.Event],
        /,
        *,
        at: datetime,
        fences: Sequence[Lease] = (),
    ) -> Drafts:
        """Keep *events*, unless the engine is killed before; it may be killed after."""
        del fences  # nobody else writes here
        point = f"record {len(self.events) + 1} ({_said(events[0])})"
        self._crash(f"before {point}")
        before = len(self.events)
        self._chain.run_id = run_id
        self._chain.add(events, at)
        for event in events:
            self._note(event)
        self._crash(f"after {point}", self._askable())
        return Drafts(self._chain, before)

    def _note(self, event: ev.Event) -> None:
        self.is_fresh = self.is_fresh and isinstance(event, ev.LockAcquired)
        if isinstance(event, ev.TaskStarted | ev.UndoStarted):
            self.started[event.kind, event.task, event.attempt] += 1
            self.called.add((event.kind, event.task))
        elif isinstance(event, ev.TaskSucceeded | ev.InterruptResolved):
            self.outputs[event.task] = repr(event.output)
        elif isinstance(event, ev.CheckpointSaved):
            self.saved[event.task, event.key] = repr(event.value)
        elif isinstance(event, ev.RepairStarted):
            self.started[event.kind, event.task, 0] += 1
        elif isinstance(event, ev.FinalizerStarted):
            self.started[event.kind, event.name, 1] += 1
            self.finalizer = event.name
        elif isinstance(event, ev.FinalizerSucceeded | ev.FinalizerFailed):
            self.ended["finalizer", event.name] += 1
        elif isinstance(event, ev.UndoAttemptFailed):
            self.ended["undo", event.task] += 1
        elif isinstance(event, ev.CommandReceived):
            self.commands += 1
        elif isinstance(event, ev.RunResumed):
            self.resumed += 1
            self.called.clear()
            self.is_fresh = True
        elif event.kind in OVER:
            self.is_over = True

    def _crash(self, point: str, more: tuple[FaultKind, ...] = ()) -> None:
        if self.is_over:
            more = ()
        kind = self._faults.choose(point, (*CRASH, *more))
        if kind == "crash":
            self._die()
            raise EngineDied(point)
        if kind is not None:
            self._ask(kind)

    def read(self, run_id: str, /, *, after: int = 0) -> Drafts:
        """Return the records, sealed when they are looked at."""
        return Drafts(self._chain if run_id == self.run_id else DraftChain(run_id), after)

    def runs(self) -> list[str]:
        """Return the id of the run, once it has begun."""
        return [self.run_id] if self.events else []


def _said(event: ev.Event) -> str:
    task = getattr(event, "task", None)
    return f"{event.kind} {task}" if task else event.kind

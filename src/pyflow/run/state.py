"""The state of a run: a fold over its events, and nothing else.

`RunState.apply` is the only way in which it changes, so the state of a run
that is going on and the state read back from its journal are the same. It
decides nothing: what should happen next is `pyflow.run.machine`'s work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.errors import nearest
from pyflow.record import events as ev
from pyflow.run.states import (
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    Intent,
    RunStatus,
    TaskStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyflow.define.plan import Node, Plan
    from pyflow.record.events import ErrorInfo, Event

__all__ = ["RunState", "TaskState", "no_task"]


class TaskState:
    """What is known of one task, or of one item of a map."""

    __slots__ = (
        "allowed",
        "approved_by",
        "asks",
        "attempt",
        "bad",
        "dependents",
        "duration_s",
        "error",
        "expired",
        "item",
        "items",
        "items_open",
        "leftover",
        "measured",
        "name",
        "node",
        "ok",
        "output",
        "parent",
        "passed",
        "passed_over",
        "reason",
        "repaired",
        "repairs",
        "settled",
        "status",
        "undo_attempt",
        "undo_error",
        "unmet",
    )

    def __init__(self, name: str, node: Node, unmet: int, parent: TaskState | None = None) -> None:
        self.name = name
        self.node = node
        self.parent = parent
        self.status: TaskStatus = "pending"
        self.dependents: tuple[TaskState, ...] = ()
        self.unmet = unmet  # dependencies that have not settled
        self.ok = 0  # dependencies that succeeded
        self.bad = 0  # dependencies that count as failed
        self.passed_over = 0  # of those that succeeded, how many people have passed over
        self.attempt = 0
        self.undo_attempt = 0
        self.duration_s = 0.0
        self.output: Any = None
        self.error: ErrorInfo | None = None
        self.undo_error: ErrorInfo | None = None
        self.reason: str | None = None
        self.allowed = False  # it failed, and dependents take that for a skip
        self.approved_by: tuple[str, ...] = ()
        self.asks = False  # its failure is a question to a person
        self.expired = False  # nobody has answered it in time
        self.passed = False  # people have passed it over, and dependents take that for a success
        self.repaired = False
        self.settled = False  # those who wait for it have been told
        self.leftover = False  # a thread still runs what has timed out
        self.repairs: tuple[int, ...] = ()  # how often each repair has run
        self.measured: tuple[ev.MeasurementTaken, ...] = ()  # by this attempt and interrupted ones
        self.item: Any = None
        self.items: tuple[TaskState, ...] | None = None
        self.items_open = 0

    def move(self, status: TaskStatus) -> None:
        """Change to *status*, which the table has to allow."""
        assert status in TASK_TRANSITIONS[self.status], f"{self.name}: {self.status} -> {status}"
        self.status = status

    @property
    def counts_as(self) -> str:
        """What dependents take it for: `ok`, `bad` or `neutral`."""
        if self.status == "succeeded" or self.passed:
            return "ok"
        if self.status in ("failed", "blocked", "interrupted") and not self.allowed:
            return "bad"
        return "neutral"

    @property
    def needs_decision(self) -> bool:
        """Whether its failure, or that of an item, is a question to a person."""
        return self.asks or any(item.asks for item in self.items or ())

    @property
    def is_asking(self) -> bool:
        """Whether it is a question that waits for its answer."""
        return self.node.task.approval is not None and self.status == "running"

    def __repr__(self) -> str:
        return f"<TaskState {self.name} {self.status}>"


class RunState:
    """What is known of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.status: RunStatus = "pending"
        self.intent: Intent = "proceed"
        self.cause: str | None = None
        self.paused = False
        self.paused_by: str | None = None  # the reason, of which the machine knows `signal`
        self.outcome: ev.OutcomeDecided | None = None
        self.locks: dict[str, int] = {}  # the epochs of those that it has
        self.epochs: dict[str, int] = {}  # the last of each that it has ever had
        self.began: ev.RunStarted | None = None
        self.count = 0
        self.failures: dict[str, None] = {}
        self.deferred: dict[str, tuple[str, ...]] = {}
        self.held: dict[str, None] = {}
        self.passing: dict[str, ev.PassedOver] = {}  # what is left out when its turn comes, and why
        self.finalizer_errors: dict[str, ErrorInfo] = {}
        self.open = len(plan.nodes)  # tasks and items that have not settled
        self.tasks = {
            name: TaskState(name, node, len(node.depends_on)) for name, node in plan.nodes.items()
        }
        for state in self.tasks.values():
            state.dependents = tuple(self.tasks[name] for name in state.node.dependents)
        self.decidable: list[TaskState] = [s for s in self.tasks.values() if s.unmet == 0]

    @classmethod
    def replay(cls, plan: Plan, events: Iterable[Event]) -> RunState:
        """Return the state after *events*."""
        state = cls(plan)
        for event in events:
            state.apply(event)
        return state

    @property
    def waits_for_resume(self) -> bool:
        """Whether it is paused until it is taken up: a signal came, or somebody could not be told."""
        if self.paused_by is None:
            return False
        return self.paused_by.partition(":")[0] in ("signal", "notification")

    def apply(self, event: Event) -> None:
        """Take in what happened."""
        self.count += 1
        change = _CHANGES.get(type(event))
        if change is not None:
            change(self, event)

    def move(self, status: RunStatus) -> None:
        """Change to *status*, which the table has to allow."""
        if status != self.status:
            assert status in RUN_TRANSITIONS[self.status], f"run: {self.status} -> {status}"
            self.status = status

    def snapshot(self) -> dict[str, Any]:
        """Return everything that the events have determined, to compare two states."""
        tasks = {
            name: [getattr(s, field) for field in _COMPARED] + [[i.name for i in s.items or ()]]
            for name, s in self.tasks.items()
        }
        return {
            "run": (self.status, self.intent, self.cause, self.paused, self.count, self.open),
            "locks": [self.locks, self.epochs],
            "failures": [list(self.failures), self.deferred, list(self.held)],
            "passing": list(self.passing),
            "tasks": tasks,
        }

    # Changes to the run -------------------------------------------------------------------

    def _run_started(self, event: ev.RunStarted) -> None:
        self.began = event
        self.move("running")

    def _run_paused(self, event: ev.RunPaused) -> None:
        self.paused = True
        self.paused_by = event.reason
        self.move("paused")

    def _run_unpaused(self, _: ev.RunUnpaused) -> None:
        self.paused = False
        self.paused_by = None
        if self.status == "paused":
            self.move("running")

    def _intent_raised(self, event: ev.IntentRaised) -> None:
        self.intent = event.intent
        if event.task is not None:
            self.deferred.pop(event.task, None)
        if event.intent == "hold":
            assert event.task is not None, "a run is held for a task that a person decides on"
            self.move("held")
            self.held[event.task] = None
        else:
            self.cause = event.task or self.cause
            if event.intent == "rollback":
                self.move("rolling_back")
                self.outcome = None  # which a run had that is taken up again to be rolled back
                self.finalizer_errors = {}

    def _hold_released(self, event: ev.HoldReleased) -> None:
        self.failures.pop(event.task, None)
        state = self.tasks[event.task]
        self._reopen(state)
        if event.decision == "retry":
            state.move("waiting")
        else:
            state.move("skipped")
            state.passed = event.passed is True
            self._settle(state)
        self._let_go(event.task)

    def _passed_over(self, event: ev.PassedOver) -> None:
        self.passing.update(dict.fromkeys(event.tasks, event))

    def _outcome_decided(self, event: ev.OutcomeDecided) -> None:
        self.outcome = event

    def _run_finished(self, event: ev.RunFinished) -> None:
        self.move(event.status)  # pyright: ignore[reportArgumentType]

    def _lock_acquired(self, event: ev.LockAcquired) -> None:
        self.locks[event.resource] = self.epochs[event.resource] = event.epoch

    def _lock_released(self, event: ev.LockReleased) -> None:
        self.locks.pop(event.resource, None)

    # Changes to a task --------------------------------------------------------------------

    def _task_started(self, event: ev.TaskStarted) -> None:
        state = self.tasks[event.task]
        state.move("running")
        state.attempt = event.attempt
        state.asks = False
        state.reason = event.reason

    def _task_succeeded(self, event: ev.TaskSucceeded) -> None:
        state = self.tasks[event.task]
        state.move("succeeded")
        state.output = event.output
        state.duration_s += event.duration_s
        state.repaired = event.repaired is True
        self._settle(state)
        self._let_go(event.task)

    def _attempt_failed(self, event: ev.AttemptFailed) -> None:
        state = self.tasks[event.task]
        state.move("waiting")
        state.error = event.error
        state.duration_s += event.duration_s
        state.leftover = event.leftover is True
        state.asks = event.asks is True
        state.measured = ()  # another attempt measures anew

    def _leftover_ended(self, event: ev.LeftoverEnded) -> None:
        self.tasks[event.task].leftover = False

    def _task_failed(self, event: ev.TaskFailed) -> None:
        state = self.tasks[event.task]
        state.move("failed")
        state.reason = event.reason
        state.allowed = event.allowed is True
        if event.error is not None:
            state.error = event.error
        if not state.allowed and state.parent is None:
            self.failures[state.name] = None
        self._settle(state)
        self._let_go(event.task)

    def _failure_deferred(self, event: ev.FailureDeferred) -> None:
        self.deferred[event.task] = tuple(event.handlers)

    def _failure_handled(self, event: ev.FailureHandled) -> None:
        self.deferred.pop(event.task, None)
        self.failures.pop(event.task, None)

    def _task_skipped(self, event: ev.TaskSkipped) -> None:
        self.tasks[event.task].passed = event.passed is True
        self._settle_as(event.task, "skipped", event.reason)
        self._let_go(event.task)

    def _task_blocked(self, event: ev.TaskBlocked) -> None:
        self._settle_as(event.task, "blocked", event.reason)

    def _task_cancelled(self, event: ev.TaskCancelled) -> None:
        self._settle_as(event.task, "cancelled", event.reason)

    def _task_interrupted(self, event: ev.TaskInterrupted) -> None:
        state = self.tasks[event.task]
        state.leftover = event.leftover is True
        if state.leftover or self.intent in ("cancel", "rollback"):
            self._settle_as(event.task, "interrupted", event.reason)
        else:  # what follows from it is still to be found out
            state.move("interrupted")
            state.reason = event.reason

    def _interrupt_resolved(self, event: ev.InterruptResolved) -> None:
        state = self.tasks[event.task]
        if event.answer == "unknown":
            return
        if event.answer == "applied":
            state.move("succeeded")
            state.output = event.output
            self._settle(state)
        else:
            state.move("waiting")
        self._let_go(event.task)

    def _approval_requested(self, event: ev.ApprovalRequested) -> None:
        state = self.tasks[event.task]
        state.approved_by, state.expired = (), False

    def _approval_answered(self, event: ev.ApprovalAnswered) -> None:
        state = self.tasks[event.task]
        if event.answer == "approve" and event.by is not None:
            state.approved_by = (*state.approved_by, event.by)
        elif event.answer == "expire":
            state.expired = True

    def _let_go(self, task: str) -> None:
        """End the hold for *task*, on which people have decided.

        Where only open questions are left, the run goes on with what does not
        wait for them, and is held anew when that is done.
        """
        if self.intent != "hold" or self.held.pop(task, self) is not None:
            return
        if all(self.tasks[name].is_asking for name in self.held):
            self.held.clear()
            self.intent = "proceed"
            self.move("paused" if self.paused else "running")

    def _settle_as(self, name: str, status: TaskStatus, reason: str) -> None:
        state = self.tasks[name]
        state.move(status)
        state.reason = reason
        self._settle(state)

    def _map_expanded(self, event: ev.MapExpanded) -> None:
        parent = self.tasks[event.task]
        parent.move("running")
        parent.attempt = 1
        pairs = zip(event.names, event.items, strict=True)
        items: list[TaskState] = []
        for name, item in pairs:
            state = TaskState(name, parent.node, 0, parent)
            state.item = item
            items.append(state)
            self.tasks[name] = state
        parent.items = tuple(items)
        parent.items_open = len(items)
        self.open += len(items)

    def _repair_started(self, event: ev.RepairStarted) -> None:
        state = self.tasks[event.task]
        used = list(state.repairs or (0,) * len(state.node.task.repairs))
        used[event.repair] += 1
        state.repairs = tuple(used)

    def _undo_started(self, event: ev.UndoStarted) -> None:
        state = self.tasks[event.task]
        if state.status != "undoing":
            state.move("undoing")
        state.undo_attempt = event.attempt

    def _undo_succeeded(self, event: ev.UndoSucceeded) -> None:
        self.tasks[event.task].move("undone")

    def _undo_attempt_failed(self, event: ev.UndoAttemptFailed) -> None:
        self.tasks[event.task].undo_error = event.error

    def _undo_failed(self, event: ev.UndoFailed) -> None:
        self.tasks[event.task].move("undo_failed")

    def _finalizer_failed(self, event: ev.FinalizerFailed) -> None:
        self.finalizer_errors[event.name] = event.error

    # What tasks tell -----------------------------------------------------------------------

    def _measurement_taken(self, event: ev.MeasurementTaken) -> None:
        state = self.tasks.get(event.task)
        if state is not None:  # a finalizer may measure too
            state.measured = (*state.measured, event)

    # What follows from them ---------------------------------------------------------------

    def _settle(self, state: TaskState) -> None:
        """Tell those who wait for *state* what has become of it."""
        state.settled = True
        self.open -= 1
        if state.parent is not None:
            state.parent.items_open -= 1
            return
        counts = state.counts_as
        for dependent in state.dependents:
            dependent.unmet -= 1
            early = None  # the join that is decided before all have settled
            if counts == "ok":
                dependent.ok += 1
                dependent.passed_over += state.passed
                early = "any"
            elif counts == "bad":
                dependent.bad += 1
                early = "success"
            if dependent.unmet == 0 or dependent.node.task.join == early:
                self.decidable.append(dependent)

    def _reopen(self, state: TaskState) -> None:
        """Take back what `_settle` told, and free what is blocked because of it."""
        stack = [state]
        while stack:
            one = stack.pop()
            one.settled = False
            self.open += 1
            for dependent in one.dependents:
                dependent.unmet += 1
                dependent.bad -= 1
                if dependent.status == "blocked":
                    stack.append(dependent)
                    dependent.move("pending")
                    self.decidable.append(dependent)


def no_task(name: str, known: Iterable[str]) -> str:
    """Return what to say when there is no task called *name*."""
    close = nearest(str(name), known)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"this workflow has no task {name!r}{hint}"


_COMPARED = (
    "status",
    "attempt",
    "undo_attempt",
    "unmet",
    "ok",
    "bad",
    "output",
    "error",
    "undo_error",
    "reason",
    "allowed",
    "approved_by",
    "asks",
    "expired",
    "passed",
    "passed_over",
    "repaired",
    "leftover",
    "measured",
    "repairs",
    "item",
    "items_open",
    "duration_s",
)

_CHANGES: dict[type[Event], Callable[[RunState, Any], None]] = {
    ev.RunStarted: RunState._run_started,
    ev.RunPaused: RunState._run_paused,
    ev.RunUnpaused: RunState._run_unpaused,
    ev.IntentRaised: RunState._intent_raised,
    ev.HoldReleased: RunState._hold_released,
    ev.PassedOver: RunState._passed_over,
    ev.OutcomeDecided: RunState._outcome_decided,
    ev.RunFinished: RunState._run_finished,
    ev.LockAcquired: RunState._lock_acquired,
    ev.LockReleased: RunState._lock_released,
    ev.TaskStarted: RunState._task_started,
    ev.TaskSucceeded: RunState._task_succeeded,
    ev.AttemptFailed: RunState._attempt_failed,
    ev.LeftoverEnded: RunState._leftover_ended,
    ev.TaskFailed: RunState._task_failed,
    ev.FailureDeferred: RunState._failure_deferred,
    ev.FailureHandled: RunState._failure_handled,
    ev.TaskSkipped: RunState._task_skipped,
    ev.TaskBlocked: RunState._task_blocked,
    ev.TaskCancelled: RunState._task_cancelled,
    ev.TaskInterrupted: RunState._task_interrupted,
    ev.InterruptResolved: RunState._interrupt_resolved,
    ev.ApprovalRequested: RunState._approval_requested,
    ev.ApprovalAnswered: RunState._approval_answered,
    ev.MapExpanded: RunState._map_expanded,
    ev.RepairStarted: RunState._repair_started,
    ev.UndoStarted: RunState._undo_started,
    ev.UndoSucceeded: RunState._undo_succeeded,
    ev.UndoAttemptFailed: RunState._undo_attempt_failed,
    ev.UndoFailed: RunState._undo_failed,
    ev.FinalizerFailed: RunState._finalizer_failed,
    ev.MeasurementTaken: RunState._measurement_taken,
}

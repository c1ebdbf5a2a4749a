"""The pure heart: it is told what happened, and decides what that means.

`Machine` has no clock, no randomness, no I/O and no asyncio. Given an equal
plan and equal happenings it gives equal events and equal commands. The
engine records the events in one commit, and only then carries the commands
out; so whatever is under way has its record, and the decision to roll back
is in the same commit as the failure that caused it.

How a rollback is worked off is next door, in `pyflow.run.recovery`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run.maps import MapProgress
from pyflow.run.recovery import Rollback, matches, still_applied
from pyflow.run.state import RunState, TaskState
from pyflow.run.states import INTENTS, RUN_ENDS, Intent, RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.define.plan import Plan
    from pyflow.protocols import Lease
    from pyflow.record.events import ErrorInfo, Event
    from pyflow.run.inputs import Command, Happening

__all__ = ["Machine"]

Work: TypeAlias = tuple[Literal["attempt", "repair", "undo"], TaskState, int]
"""Something that may start as soon as there is a slot: what, for whom, and which."""

STOPPING = "the run is stopping"


class Machine:
    """Decides everything about one run.

    The order of use is: `start`, then for each happening `handle`, then
    `dispatch` with the number of free slots, then `take` what is to be
    recorded and what is to be done.
    """

    def __init__(self, plan: Plan, *, max_parallel: int | None, drain_s: float) -> None:
        self.plan = plan
        self.state = RunState(plan)
        self.flying = 0  # attempts, repairs and undos under way
        self._limit = max_parallel
        self._drain_s = drain_s
        self._events: list[Event] = []
        self._commands: list[Command] = []
        self._queue: deque[Work] = deque()
        self._reasons: dict[str, str] = {}  # why those that are asked or queued may run
        self._failures: dict[str, on.Failure] = {}  # of tasks whose fate is open
        self._repairing: dict[str, int] = {}
        self._maps: dict[str, MapProgress] = {}
        self._rollback: Rollback | None = None
        self._undo_waits = 0
        self._drained = False
        self._finalizers = deque(plan.finalizers)
        self._leases: tuple[Lease, ...] = ()

    # Use ----------------------------------------------------------------------------------

    def start(self, event: ev.RunStarted) -> None:
        """Begin the run."""
        self._emit(event)
        if self.plan.locks:
            self._commands.append(on.TakeLocks())
        else:
            self._settle_all()

    def handle(self, happening: Happening) -> None:
        """Take in what happened, and decide what follows."""
        _HANDLERS[type(happening)](self, happening)

    @property
    def wanted(self) -> int:
        """How many slots the run could use now."""
        if not self._queue or self._gated:
            return 0
        waiting = len(self._queue)
        return waiting if self._limit is None else min(waiting, self._limit - self.flying)

    def dispatch(self, slots: int) -> None:
        """Start what *slots* slots, at most `wanted`, allow; then see whether the run is over."""
        for _ in range(slots):
            kind, state, number = self._queue.popleft()
            self.flying += 1
            _STARTERS[kind](self, state, number)
        if self.flying == 0 and not self._queue:
            self._conclude()

    def take(self) -> tuple[list[Event], list[Command]]:
        """Return what is to be recorded, and what is to be done once it is."""
        taken = self._events, self._commands
        self._events, self._commands = [], []
        return taken

    @property
    def resting(self) -> bool:
        """Whether the run waits for a person and nothing is under way."""
        return self.state.status == "held" and self.flying == 0

    # Forward ------------------------------------------------------------------------------

    @property
    def _gated(self) -> bool:
        return self.state.status not in ("running", "rolling_back")

    def _settle_all(self) -> None:
        """Decide every task whose dependencies now allow it, and those that follow from it."""
        decidable = self.state.decidable
        number = 0
        while number < len(decidable):  # deciding one may add others, or clear them all
            if decidable[number].status == "pending":
                self._decide(decidable[number])
            number += 1
        decidable.clear()

    def _decide(self, state: TaskState) -> None:
        join, total = state.node.task.join, len(state.node.depends_on)
        reason = "no dependencies"
        if total:
            verdict, reason = judge(join, total, state)
            if verdict == "block":
                return self._emit_settled(ev.TaskBlocked(state.name, reason))
            if verdict == "skip":
                return self._emit_settled(ev.TaskSkipped(state.name, reason))
            if verdict == "wait":
                return None
        if state.name in self._reasons:  # it is asked or queued already
            return None
        if state.node.when is None:
            self._admit(state, reason)
        else:
            self._reasons[state.name] = reason
            self._commands.append(on.AskCondition(state.name))
        return None

    def _admit(self, state: TaskState, reason: str) -> None:
        self._reasons[state.name] = reason
        if state.node.task.map is None or state.parent is not None:
            self._queue.append(("attempt", state, state.attempt + 1))
        else:
            self._commands.append(on.ListItems(state.name))

    def _emit_settled(self, event: ev.TaskEvent) -> None:
        self._emit(event)
        if self.state.deferred:
            self._review(event.task)

    def _condition_answered(self, happening: on.ConditionAnswered) -> None:
        state = self.state.tasks[happening.task]
        if state.status != "pending":
            return
        if happening.error is not None:
            self._fail(state, "when= raised", happening.error)
        elif happening.answer:
            self._admit(state, f"{self._reasons[state.name]}; when= answered True")
        else:
            self._emit_settled(ev.TaskSkipped(state.name, "when= answered False"))
            self._settle_all()

    def _start_attempt(self, state: TaskState, attempt: int) -> None:
        self._emit(ev.TaskStarted(state.name, attempt, self._reasons.pop(state.name)))
        self._commands.append(on.StartAttempt(state.name, attempt))

    def _attempt_returned(self, happening: on.AttemptReturned) -> None:
        state = self.state.tasks[happening.task]
        if state.status != "running":  # it outlived the drain
            return
        self.flying -= 1
        self._emit(
            ev.TaskSucceeded(state.name, state.attempt, happening.duration_s, happening.output)
        )
        self._succeeded(state)

    def _succeeded(self, state: TaskState) -> None:
        if state.parent is not None:
            self._item_settled(state)
        if self.state.deferred:
            self._review(state.name)
        self._settle_all()

    # Failure ------------------------------------------------------------------------------

    def _attempt_raised(self, happening: on.AttemptRaised) -> None:
        state, failure = self.state.tasks[happening.task], happening.failure
        if state.status != "running":  # it outlived the drain
            return
        self.flying -= 1
        if failure.stopped and self._stopping:
            self._emit(ev.TaskCancelled(state.name, f"its wait was cut short: {STOPPING}"))
            self._after_settled(state)
            return
        leftover = failure.leftover or None
        self._emit(
            ev.AttemptFailed(
                state.name, state.attempt, failure.error, happening.duration_s, leftover
            )
        )
        self._failures[state.name] = failure
        if leftover and not self._stopping and self._may_go_on(state, failure):
            self._commands.append(on.SetTimer(("leftover", state.name), self._drain_s))
        else:
            self._after_failure(state)

    def _after_failure(self, state: TaskState) -> None:
        """Try again, repair, or let the failure count."""
        failure = self._failures[state.name]
        retry = state.node.task.retry
        if self._stopping:
            self._fail(state, f"not tried again: {STOPPING}")
        elif state.leftover:
            self._fail(state, "not tried again: its last attempt is still running")
        elif self._may_retry(state, failure):
            assert retry is not None
            delay_s = round(retry.delay_s(state.attempt, failure.chance), 6)
            self._emit(ev.RetryScheduled(state.name, state.attempt + 1, delay_s))
            self._commands.append(on.SetTimer(("retry", state.name), delay_s))
        else:
            number = self._next_repair(state, failure)
            if number is None:
                self._fail(state, why_final(state, failure))
            else:
                self._queue.append(("repair", state, number))

    def _may_go_on(self, state: TaskState, failure: on.Failure) -> bool:
        return self._may_retry(state, failure) or self._next_repair(state, failure) is not None

    def _may_retry(self, state: TaskState, failure: on.Failure) -> bool:
        retry = state.node.task.retry
        return (
            retry is not None
            and not failure.final
            and state.attempt < retry.attempts
            and matches(retry.on, failure.kinds)
        )

    def _next_repair(self, state: TaskState, failure: on.Failure) -> int | None:
        for number, repair in enumerate(state.node.task.repairs):
            used = state.repairs[number] if state.repairs else 0
            if used < repair.times and matches(repair.on, failure.kinds):
                return number
        return None

    def _fail(self, state: TaskState, reason: str, error: ErrorInfo | None = None) -> None:
        self._failures.pop(state.name, None)
        allowed = (state.parent is None and state.node.task.allow_failure) or None
        self._emit(ev.TaskFailed(state.name, reason, error, allowed))
        self._after_settled(state)
        if state.parent is None and not allowed:
            self._judge(state)

    def _after_settled(self, state: TaskState) -> None:
        if state.parent is not None:
            self._item_settled(state)
        self._settle_all()
        if self.state.deferred:
            self._review(state.name)

    def _judge(self, state: TaskState) -> None:
        """Leave a failure to the tasks that may handle it, or let it decide the run."""
        if self.state.intent in ("cancel", "rollback"):
            return
        handlers = self._handlers(state)
        if handlers:
            self._emit(ev.FailureDeferred(state.name, handlers))
        else:
            self._unhandled(state.name)

    def _handlers(self, state: TaskState) -> list[str]:
        """Return the failure joins that can still run, past what the failure has blocked."""
        found: dict[str, None] = {}
        stack, seen = [state], {state.name}
        while stack:
            for dependent in stack.pop().dependents:
                if dependent.name in seen:
                    continue
                seen.add(dependent.name)
                if dependent.status == "blocked":
                    stack.append(dependent)
                elif dependent.node.task.join == "failure" and self._is_open(dependent):
                    found[dependent.name] = None
        return list(found)

    def _is_open(self, state: TaskState) -> bool:
        return state.status in ("pending", "waiting", "running")

    def _review(self, settled: str) -> None:
        """See what the settling of a handler means for the failures that were left to it."""
        for name, handlers in list(self.state.deferred.items()):
            if settled not in handlers:
                continue
            if self.state.tasks[settled].status == "succeeded":
                self._emit(ev.FailureHandled(name, settled))
            elif not any(self._is_open(self.state.tasks[h]) for h in handlers):
                self._unhandled(name)

    def _unhandled(self, name: str) -> None:
        policy = self.plan.on_failure
        if policy == "rollback":
            self._raise_intent("rollback", f"{name} failed", task=name)
        elif policy == "hold":
            self._raise_intent("hold", f"needs_decision: {name} failed", task=name)
        elif policy == "stop":
            self._raise_intent("cancel", f"{name} failed and on_failure is stop", task=name)

    # Intent -------------------------------------------------------------------------------

    @property
    def _stopping(self) -> bool:
        return self.state.intent in ("cancel", "rollback")

    def _raise_intent(
        self, intent: Intent, reason: str, *, task: str | None = None, by: str | None = None
    ) -> str | None:
        """Aim higher, and return why not if that is refused."""
        present = self.state.intent
        passed = self._point_of_no_return() if intent == "rollback" else None
        if passed is not None and present != "rollback":
            reason = f"point_of_no_return: {passed} has started, and {reason}"
            if task is None:
                return reason
            intent = "hold"
        if INTENTS.index(intent) < INTENTS.index(present) or intent == present != "hold":
            return f"the run already aims at {present}"
        assert intent != "proceed"
        self._emit(ev.IntentRaised(intent, reason, task, by))
        if intent != "hold":
            self._stop_pending(reason)
            self._commands.append(on.CutWaits())
            self._commands.append(on.SetTimer(("drain", ""), self._drain_s))
        return None

    def _point_of_no_return(self) -> str | None:
        for state in self.state.tasks.values():
            if state.attempt and state.node.task.point_of_no_return:
                return state.name
        return None

    def _stop_pending(self, reason: str) -> None:
        self._queue.clear()
        self._reasons.clear()
        for state in list(self.state.tasks.values()):
            if state.status == "pending":
                self._emit(ev.TaskCancelled(state.name, reason))
            elif state.status == "waiting" and state.name not in self._repairing:
                self._failures.pop(state.name, None)
                self._emit(ev.TaskFailed(state.name, f"not tried again: {STOPPING}"))
            else:
                continue
            if state.parent is not None:
                self._maps[state.parent.name].settled(state)
        for progress in self._maps.values():
            self._finish_map(progress)
        self.state.decidable.clear()

    # Maps ---------------------------------------------------------------------------------

    def _items_listed(self, happening: on.ItemsListed) -> None:
        state = self.state.tasks[happening.task]
        if state.status != "pending":
            return
        if happening.error is not None:
            self._fail(state, "its items could not be listed", happening.error)
            return
        self._emit(ev.MapExpanded(state.name, list(happening.names), list(happening.items)))
        self._maps[state.name] = MapProgress(state)
        self._advance_map(self._maps[state.name])

    def _item_settled(self, item: TaskState) -> None:
        assert item.parent is not None
        progress = self._maps[item.parent.name]
        progress.settled(item)
        self._advance_map(progress)

    def _advance_map(self, progress: MapProgress) -> None:
        """Queue the next items, or give up on them; settle the map after its last one."""
        if progress.has_failed and not self._stopping:
            self._give_up_items(progress)
        elif not self._stopping:
            for item in progress.admit():
                self._admit(item, f"item of {progress.parent.name}")
        self._finish_map(progress)

    def _give_up_items(self, progress: MapProgress) -> None:
        given_up = {item.name: item for item in progress.items if item.status == "pending"}
        self._queue = deque(work for work in self._queue if work[1].name not in given_up)
        for item in given_up.values():
            self._reasons.pop(item.name, None)
            self._emit(ev.TaskCancelled(item.name, progress.reason()))

    def _finish_map(self, progress: MapProgress) -> None:
        parent = progress.parent
        if parent.items_open or parent.status != "running":
            return
        if not progress.has_failed:
            duration_s = max((item.duration_s for item in progress.items), default=0.0)
            self._emit(ev.TaskSucceeded(parent.name, 1, duration_s, progress.outputs()))
            self._succeeded(parent)
        elif self._stopping:
            self._emit_settled(ev.TaskCancelled(parent.name, STOPPING))
        else:
            error = next((item.error for item in progress.items if item.error is not None), None)
            self._fail(parent, progress.reason(), error)

    # Repairs and leftovers ----------------------------------------------------------------

    def _start_repair(self, state: TaskState, number: int) -> None:
        fn = state.node.repairs[number].fn
        name = getattr(fn, "__qualname__", type(fn).__qualname__)
        self._repairing[state.name] = number
        self._emit(ev.RepairStarted(state.name, number, name))
        self._commands.append(on.StartRepair(state.name, number))

    def _repair_returned(self, happening: on.RepairReturned) -> None:
        state = self.state.tasks[happening.task]
        if state.status != "waiting":  # it outlived the drain
            return
        self.flying -= 1
        number = self._repairing.pop(state.name)
        then = state.node.task.repairs[number].then
        assert then != "undo"
        self._emit(ev.RepairSucceeded(state.name, number, happening.duration_s, then))
        if then == "continue":
            self._failures.pop(state.name, None)
            self._emit(
                ev.TaskSucceeded(
                    state.name, state.attempt, happening.duration_s, happening.output, True
                )
            )
            self._succeeded(state)
        elif self._stopping:
            self._fail(state, f"repaired, but not tried again: {STOPPING}")
        else:
            self._reasons[state.name] = "repaired"
            self._queue.append(("attempt", state, state.attempt + 1))

    def _repair_raised(self, happening: on.RepairRaised) -> None:
        state, failure = self.state.tasks[happening.task], happening.failure
        if state.status != "waiting":  # it outlived the drain
            return
        self.flying -= 1
        number = self._repairing.pop(state.name)
        self._emit(ev.RepairFailed(state.name, number, failure.error, happening.duration_s))
        later = self._next_repair(state, self._failures[state.name])
        if later is None or self._stopping:
            self._fail(state, "its repair failed")
        else:
            self._queue.append(("repair", state, later))

    def _leftover_returned(self, happening: on.LeftoverReturned) -> None:
        state = self.state.tasks[happening.task]
        self._emit(ev.LeftoverEnded(state.name))
        if state.status == "waiting" and state.name in self._failures:
            self._after_failure(state)

    # Time and people ----------------------------------------------------------------------

    def _timer_fired(self, happening: on.TimerFired) -> None:
        kind, name = happening.key
        if kind == "drain":
            self._drain_over()
            return
        state = self.state.tasks[name]
        if kind == "retry" and state.status == "waiting" and not self._stopping:
            self._reasons[state.name] = "tried again"
            self._queue.append(("attempt", state, state.attempt + 1))
        elif kind == "leftover" and state.leftover and state.status == "waiting":
            self._after_failure(state)
        elif kind == "undo":
            self._undo_waits -= 1
            self._queue.append(("undo", state, state.undo_attempt + 1))

    def _drain_over(self) -> None:
        """What still runs is in doubt from now on."""
        if not self._stopping or self._rollback is not None or self.state.outcome is not None:
            return
        self._drained = True
        reason = "still running when the time to drain was over"
        for state in list(self.state.tasks.values()):
            running = state.status == "running" and state.items is None
            if running or state.name in self._repairing:
                self.flying -= 1
                self._emit(ev.TaskInterrupted(state.name, state.attempt, reason, True))
                self._commands.append(on.Abandon(state.name))
                if state.parent is not None:
                    self._item_settled(state)
        self._repairing.clear()
        self.state.decidable.clear()
        self._conclude()

    def _asked(self, happening: on.Asked) -> None:
        note = _ANSWERS[happening.command](self, happening)
        self._emit(
            ev.CommandReceived(
                happening.command,
                note is None,
                happening.by,
                happening.reason,
                happening.task,
                note,
            )
        )

    def _ask_pause(self, happening: on.Asked) -> str | None:
        if self.state.status != "running":
            return f"the run is {self.state.status}"
        self._emit(ev.RunPaused(happening.reason or "asked for", happening.by))
        return None

    def _ask_unpause(self, happening: on.Asked) -> str | None:
        if not self.state.paused:
            return f"the run is {self.state.status}, not paused"
        self._emit(ev.RunUnpaused(happening.reason, happening.by))
        return None

    def _ask_stop(self, happening: on.Asked) -> str | None:
        if self.state.outcome is not None:
            return f"the run has ended as {self.state.outcome.status}"
        intent: Intent = "cancel" if happening.command == "cancel" else "rollback"
        return self._raise_intent(
            intent, happening.reason or f"{happening.command} was asked for", by=happening.by
        )

    def _ask_decision(self, happening: on.Asked) -> str | None:
        task = happening.task or ""
        if self.state.intent != "hold" or task not in self.state.held:
            held = ", ".join(self.state.held) or "nothing"
            return f"{task!r} does not wait for a decision; {held} does"
        decision = "retry" if happening.command == "retry" else "skip"
        state = self.state.tasks[task]
        if decision == "retry" and state.items is not None:
            return (
                f"{task} is a map, whose items cannot be tried again together; skip it or roll back"
            )
        self._emit(ev.HoldReleased(decision, task, happening.by, happening.reason))
        if decision == "retry":
            self._reasons[task] = "a person asked for it"
            self._queue.append(("attempt", state, state.attempt + 1))
        self._settle_all()
        return None

    def _locks_taken(self, happening: on.LocksTaken) -> None:
        self._leases = happening.leases
        for lease in happening.leases:
            self._emit(ev.LockAcquired(lease.resource, lease.epoch, happening.waited_s))
        if happening.refusal is not None and self.state.outcome is None:
            self._stop_pending(happening.refusal)
            self._decide_outcome("failed", happening.refusal)
        else:
            self._settle_all()

    def _noted(self, happening: on.Noted) -> None:
        self._emit(happening.event)

    # The end ------------------------------------------------------------------------------

    def _conclude(self) -> None:
        """See whether the run goes into its next phase, now that nothing is under way."""
        state = self.state
        if state.outcome is not None or state.status in RUN_ENDS:
            return
        if state.intent == "rollback":
            self._roll_back()
        elif state.intent == "cancel":
            stopped = state.cause is not None
            self._decide_outcome(
                "failed" if stopped else "cancelled",
                f"{state.cause} failed" if stopped else "it was cancelled",
            )
        elif state.intent == "proceed" and state.open == 0:
            failed = ", ".join(state.failures)
            if failed:
                self._decide_outcome("failed", f"{failed} failed")
            else:
                self._decide_outcome("succeeded", "every task has settled, none failed")

    def _decide_outcome(
        self, status: RunStatus, reason: str, residue: list[str] | None = None
    ) -> None:
        not_undone = (
            None
            if residue is None
            else [
                s.name
                for s in self.state.tasks.values()
                if s.attempt and s.items is None and s.node.undo is None and s.node.task.effect
            ]
        )
        self._emit(ev.OutcomeDecided(status, reason, residue, not_undone))
        self._next_finalizer()

    def _next_finalizer(self) -> None:
        if self._finalizers:
            finalizer, _ = self._finalizers.popleft()
            self._emit(ev.FinalizerStarted(finalizer.name))
            self._commands.append(on.StartFinalizer(finalizer.name))
            return
        assert self.state.outcome is not None
        if not self.state.outcome.residue:
            for lease in self._leases:
                self._emit(ev.LockReleased(lease.resource, lease.epoch))
        self._emit(ev.RunFinished(self.state.outcome.status, self.state.count + 1))
        self._commands.append(on.Finish())

    def _finalizer_returned(self, happening: on.FinalizerReturned) -> None:
        if happening.error is None:
            self._emit(ev.FinalizerSucceeded(happening.name, happening.duration_s))
        else:
            self._emit(ev.FinalizerFailed(happening.name, happening.error, happening.duration_s))
        self._next_finalizer()

    # Rollback -----------------------------------------------------------------------------

    def _roll_back(self) -> None:
        if self._rollback is None:
            if not self._drained and any(s.leftover for s in self.state.tasks.values()):
                return  # a thread that cannot be stopped may still end in time
            self._rollback = Rollback(self.state)
            self._queue_undos(self._rollback.begin())
            if self._queue:
                return
        if self._undo_waits == 0:
            self._end_rollback(self._rollback)

    def _queue_undos(self, ready: list[TaskState]) -> None:
        self._queue.extend(("undo", state, state.undo_attempt + 1) for state in ready)

    def _start_undo(self, state: TaskState, attempt: int) -> None:
        self._emit(ev.UndoStarted(state.name, attempt))
        self._commands.append(on.StartUndo(state.name, attempt))

    def _undo_returned(self, happening: on.UndoReturned) -> None:
        self.flying -= 1
        state = self.state.tasks[happening.task]
        self._emit(ev.UndoSucceeded(state.name, state.undo_attempt, happening.duration_s))
        assert self._rollback is not None
        self._queue_undos(self._rollback.cleared(state))

    def _undo_raised(self, happening: on.UndoRaised) -> None:
        self.flying -= 1
        state, failure = self.state.tasks[happening.task], happening.failure
        attempt, undo = state.undo_attempt, state.node.task.undo
        assert undo is not None
        self._emit(ev.UndoAttemptFailed(state.name, attempt, failure.error, happening.duration_s))
        retry = undo.retry
        if failure.leftover:
            self._emit(ev.UndoFailed(state.name, "its last try is still running"))
        elif retry is None or attempt >= retry.attempts:
            self._emit(ev.UndoFailed(state.name, f"tried {attempt} of {attempt} times"))
        elif not matches(retry.on, failure.kinds):
            self._emit(ev.UndoFailed(state.name, f"{failure.error.type} is not worth another try"))
        else:
            delay_s = round(retry.delay_s(attempt, failure.chance), 6)
            self._emit(ev.UndoRetryScheduled(state.name, attempt + 1, delay_s))
            self._commands.append(on.SetTimer(("undo", state.name), delay_s))
            self._undo_waits += 1

    def _end_rollback(self, rollback: Rollback) -> None:
        for state, by, reason in rollback.blocked():
            self._emit(ev.UndoBlocked(state.name, by, reason))
        residue = still_applied(rollback.order)
        cause = f"{self.state.cause} failed" if self.state.cause else "a rollback was asked for"
        if residue:
            left = ", ".join(residue)
            self._decide_outcome("rollback_failed", f"{cause}; still applied: {left}", residue)
        else:
            self._decide_outcome("rolled_back", cause, residue)

    # --------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        self.state.apply(event)
        self._events.append(event)


def judge(  # noqa: PLR0911 - one return for each line of the rule
    join: str, total: int, state: TaskState
) -> tuple[str, str]:
    """Return what *join* says of a task, and why: `run`, `skip`, `block` or `wait`.

    This is the whole of the join semantics; *total* dependencies, of which
    `state` has counted those that succeeded, failed, and have not settled.
    """
    ok, bad, unmet = state.ok, state.bad, state.unmet
    if join == "any" and ok:
        return "run", _count(ok, total, state, "succeeded")
    if join == "success" and bad:
        return "block", _count(bad, total, state, "failed")
    if unmet:
        return "wait", ""
    if join == "done":
        return "run", _count(total, total, state, "settled")
    if join == "failure":
        return ("run", _count(bad, total, state, "failed")) if bad else ("skip", "nothing failed")
    if ok:
        return "run", _count(ok, total, state, "succeeded")
    if bad:
        return "block", f"none of {total} dependencies succeeded"
    return "skip", "everything that it depends on was skipped"


def _count(number: int, total: int, state: TaskState, what: str) -> str:
    """Say how many of *total* dependencies did *what*; of one, say which."""
    if total == 1:
        return f"{state.node.depends_on[0]} {what}"
    return f"{number} of {total} dependencies {what}"


def why_final(state: TaskState, failure: on.Failure) -> str:
    """Return why no further attempt is made."""
    retry = state.node.task.retry
    if failure.final:
        return "another attempt could not help"
    if retry is None:
        return "it is tried once"
    if state.attempt >= retry.attempts:
        return f"tried {state.attempt} of {retry.attempts} times"
    return f"{failure.error.type} is not worth another attempt"


_STARTERS: dict[str, Callable[[Machine, TaskState, int], None]] = {
    "attempt": Machine._start_attempt,
    "repair": Machine._start_repair,
    "undo": Machine._start_undo,
}

_ANSWERS: dict[str, Callable[[Machine, on.Asked], str | None]] = {
    "pause": Machine._ask_pause,
    "unpause": Machine._ask_unpause,
    "cancel": Machine._ask_stop,
    "rollback": Machine._ask_stop,
    "retry": Machine._ask_decision,
    "skip": Machine._ask_decision,
}

_HANDLERS: dict[type[Any], Callable[[Machine, Any], None]] = {
    on.AttemptReturned: Machine._attempt_returned,
    on.AttemptRaised: Machine._attempt_raised,
    on.LeftoverReturned: Machine._leftover_returned,
    on.ConditionAnswered: Machine._condition_answered,
    on.ItemsListed: Machine._items_listed,
    on.RepairReturned: Machine._repair_returned,
    on.RepairRaised: Machine._repair_raised,
    on.UndoReturned: Machine._undo_returned,
    on.UndoRaised: Machine._undo_raised,
    on.FinalizerReturned: Machine._finalizer_returned,
    on.TimerFired: Machine._timer_fired,
    on.Asked: Machine._asked,
    on.LocksTaken: Machine._locks_taken,
    on.Noted: Machine._noted,
}

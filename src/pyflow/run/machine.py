"""The pure heart: it is told what happened, and decides what that means.

`Machine` has no clock, no randomness, no I/O and no asyncio. Given an equal
plan and equal happenings it gives equal events and equal commands. The
engine records the events in one commit, and only then carries the commands
out; so whatever is under way has its record, and the decision to roll back
is in the same commit as the failure that caused it.

The parts are next door: `joins` (may it run), `trying` (what follows a
failure), `mapping` (maps), `locking` (locks), `undoing` (the rollback), `asked`
(people), `passing` (what they pass over).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.record import events as ev
from pyflow.run import approving, asked, locking, mapping, passing, resuming, trying, undoing
from pyflow.run import inputs as on
from pyflow.run.joins import judge
from pyflow.run.state import RunState, TaskState
from pyflow.run.states import INTENTS, RUN_ENDS, STOPPING, Intent, RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.define.plan import Plan
    from pyflow.record.events import ErrorInfo, Event
    from pyflow.run.inputs import Command, Happening
    from pyflow.run.maps import MapProgress
    from pyflow.run.recovery import Rollback

__all__ = ["Machine"]

Work: TypeAlias = tuple[Literal["attempt", "repair", "undo"], TaskState, int]
"""Something that may start as soon as there is a slot: what, for whom, and which."""


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
        self.drain_s = drain_s
        self._events: list[Event] = []
        self.commands: list[Command] = []
        self.queue: deque[Work] = deque()
        self.questions: deque[TaskState] = deque()  # approvals that may be asked
        self.reasons: dict[str, str] = {}  # why those that are asked or queued may run
        self.failures: dict[str, on.Failure] = {}  # of tasks whose fate is open
        self.repairing: dict[str, int] = {}
        self.looking: dict[str, None] = {}  # interrupted tasks whose on_interrupt= is under way
        self.maps: dict[str, MapProgress] = {}
        self.rollback: Rollback | None = None
        self.undo_waits = 0
        self.is_drained = False
        self.past: resuming.Past | None = None  # of a run that is taken up again
        self._early: deque[on.Asked] = deque()  # what was asked before it could be
        self.has_task_locks = any(node.locks for node in plan.nodes.values())
        self.lockers: deque[TaskState] = deque()  # tasks that may run once there are their locks
        self.asked_locks: dict[str, tuple[str, ...]] = {}  # by the task that they are for
        self.asked_holders: dict[str, None] = {}  # other runs that were asked to cancel
        self.finalizers = deque(plan.finalizers)
        self._watching = [one for one in self.state.tasks.values() if one.node.task.background]

    # Use ----------------------------------------------------------------------------------

    def start(self, event: ev.RunStarted) -> None:
        """Begin the run."""
        self.emit(event)
        if self.plan.locks:
            self.commands.append(on.TakeLocks(self.plan.locks, self.plan.on_locked))
        else:
            self.settle_all()

    def resume(self, past: resuming.Past, event: ev.RunResumed) -> None:
        """Take the run up where its record ends.

        Raises:
            AssertionError: The record is not one of this plan.
        """
        for one in past.events:
            self.state.apply(one)
        self.past = past
        self.emit(event)
        wanted = locking.to_take_up(self)
        if wanted is not None:
            self.commands.append(wanted)
        else:
            resuming.carry_on(self)

    def handle(self, happening: Happening) -> None:
        """Take in what happened, and decide what follows."""
        if self.past is not None and isinstance(happening, on.Asked):
            self._early.append(happening)  # it is answered once the run has its locks
        else:
            _HANDLERS[type(happening)](self, happening)

    @property
    def wanted(self) -> int:
        """How many slots the run could use now."""
        if not self.queue or self._gated:
            return 0
        waiting = len(self.queue)
        return waiting if self._limit is None else min(waiting, self._limit - self.flying)

    def dispatch(self, slots: int) -> None:
        """Start what *slots* slots, at most `wanted`, allow; then see whether the run is over."""
        if self.has_task_locks:
            locking.give_back(self)
        for _ in range(slots):
            kind, state, number = self.queue.popleft()
            self.flying += 1
            _STARTERS[kind](self, state, number)
        if self.lockers and not self._gated:
            locking.ask_for_more(self)
        while self.questions and not self._gated:
            approving.request(self, self.questions.popleft())
        if not self.queue and self.past is None and self._is_still:
            self._conclude()

    def take(self) -> tuple[list[Event], list[Command]]:
        """Return what is to be recorded, and what is to be done once it is."""
        taken = self._events, self.commands
        self._events, self.commands = [], []
        return taken

    @property
    def resting(self) -> bool:
        """Whether the run waits for a person, or for a resume, and nothing is under way."""
        state = self.state
        waits = state.intent == "hold" or state.waits_for_resume
        if not waits or state.outcome is not None or self.past is not None:
            return False
        return self._is_still and not self.looking

    @property
    def _is_still(self) -> bool:
        """Whether nothing is under way, but for what may go on while people decide."""
        if not self._watching or self.is_stopping:
            return self.flying == 0
        return self.flying == sum(s.status == "running" for s in self._watching)

    # Forward ------------------------------------------------------------------------------

    @property
    def _gated(self) -> bool:
        return self.past is not None or self.state.status not in ("running", "rolling_back")

    def settle_all(self) -> None:
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
                return self.emit_settled(ev.TaskBlocked(state.name, reason))
            if verdict == "skip":
                return self.emit_settled(ev.TaskSkipped(state.name, reason))
            if verdict == "wait":
                return None
        if state.name in self.state.passing:
            return passing.leave_out(self, state)
        if state.name in self.reasons:  # it is asked or queued already
            return None
        if state.node.when is None:
            self.admit(state, reason)
        else:
            self.reasons[state.name] = reason
            self.commands.append(on.AskCondition(state.name))
        return None

    def admit(self, state: TaskState, reason: str) -> None:
        """Let a task start as soon as there is a slot; a map first needs its items."""
        if state.node.task.map is None or state.parent is not None:
            self.try_task(state, reason)
        else:
            self.reasons[state.name] = reason
            self.commands.append(on.ListItems(state.name))

    def try_task(self, state: TaskState, reason: str) -> None:
        """Have an attempt made as soon as there is a slot; a question needs none."""
        self.reasons[state.name] = reason
        if state.node.task.approval is not None:
            self.questions.append(state)
        elif locking.is_short(self, state):
            self.lockers.append(state)
        else:
            self.queue.append(("attempt", state, state.attempt + 1))

    def emit_settled(self, event: ev.TaskEvent) -> None:
        """Record that a task settled without running, and see whom that concerns."""
        self.emit(event)
        if self.state.deferred:
            self._review(event.task)

    def _condition_answered(self, happening: on.ConditionAnswered) -> None:
        state = self.state.tasks[happening.task]
        if state.status != "pending":
            return
        reason = self.reasons.pop(state.name)
        if happening.error is not None:
            self.fail(state, "when= raised", happening.error)
        elif happening.answer:
            self.admit(state, f"{reason}; when= answered True")
        else:
            self.emit_settled(ev.TaskSkipped(state.name, "when= answered False"))
            self.settle_all()

    def _start_attempt(self, state: TaskState, attempt: int) -> None:
        self.emit(ev.TaskStarted(state.name, attempt, self.reasons.pop(state.name)))
        self.commands.append(on.StartAttempt(state.name, attempt))

    def _attempt_returned(self, happening: on.AttemptReturned) -> None:
        state = self.state.tasks[happening.task]
        if state.status != "running":  # it outlived the drain
            return
        self.flying -= 1
        self.emit(
            ev.TaskSucceeded(state.name, state.attempt, happening.duration_s, happening.output)
        )
        self.succeeded(state)

    def succeeded(self, state: TaskState) -> None:
        """See what the success of a task, now recorded, leads to."""
        if state.parent is not None:
            mapping.item_settled(self, state)
        if self.state.deferred:
            self._review(state.name)
        self.settle_all()

    # Failure ------------------------------------------------------------------------------

    def fail(self, state: TaskState, reason: str, error: ErrorInfo | None = None) -> None:
        """Let the failure of a task count."""
        self.failures.pop(state.name, None)
        allowed = (state.parent is None and state.node.task.allow_failure) or None
        self.emit(ev.TaskFailed(state.name, reason, error, allowed))
        self.after_settled(state)
        if state.parent is None and not allowed:
            self._judge(state)

    def after_settled(self, state: TaskState) -> None:
        """See whom a settled task concerns: its map, its dependents, failures left to it."""
        if state.parent is not None:
            mapping.item_settled(self, state)
        self.settle_all()
        if self.state.deferred:
            self._review(state.name)

    def _judge(self, state: TaskState) -> None:
        """Leave a failure to the tasks that may handle it, or let it decide the run."""
        if self.state.intent in ("cancel", "rollback"):
            return
        handlers = self._handlers(state)
        if handlers:
            self.emit(ev.FailureDeferred(state.name, handlers))
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
                self.emit(ev.FailureHandled(name, settled))
            elif not any(self._is_open(self.state.tasks[h]) for h in handlers):
                self._unhandled(name)

    def _unhandled(self, name: str) -> None:
        policy = "hold" if self.state.tasks[name].needs_decision else self.plan.on_failure
        if policy == "rollback":
            self.raise_intent("rollback", f"{name} failed", task=name)
        elif policy == "hold":
            self.raise_intent("hold", f"needs_decision: {name} failed", task=name)
        elif policy == "stop":
            self.raise_intent("cancel", f"{name} failed and on_failure is stop", task=name)

    # Intent -------------------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether nothing further may be started, because the run is cancelled or rolls back."""
        return self.state.intent in ("cancel", "rollback")

    def raise_intent(
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
        self.emit(ev.IntentRaised(intent, reason, task, by))
        if intent != "hold":
            self._stop_pending(reason)
            self.commands.append(on.CutWaits())
            self.commands.append(on.SetTimer(("drain", ""), self.drain_s))
        return None

    def _point_of_no_return(self) -> str | None:
        for state in self.state.tasks.values():
            if state.attempt and state.node.task.point_of_no_return:
                return state.name
        return None

    def _stop_pending(self, reason: str) -> None:
        self.queue.clear()
        self.questions.clear()
        locking.drop_all(self)
        self.reasons.clear()
        for state in list(self.state.tasks.values()):
            if state.status == "pending" or state.is_asking:
                self.emit(ev.TaskCancelled(state.name, reason))
            elif state.status == "waiting" and state.name not in self.repairing:
                self.failures.pop(state.name, None)
                self.emit(ev.TaskFailed(state.name, f"not tried again: {STOPPING}"))
            elif resuming.is_unclear(state):
                self.emit(ev.TaskFailed(state.name, f"in doubt, and {STOPPING}"))
            else:
                continue
            if state.parent is not None:
                self.maps[state.parent.name].settled(state)
        for progress in self.maps.values():
            mapping.finish_map(self, progress)
        self.state.decidable.clear()

    # Maps ---------------------------------------------------------------------------------

    # Repairs and leftovers ----------------------------------------------------------------

    # Time and people ----------------------------------------------------------------------

    def _timer_fired(self, happening: on.TimerFired) -> None:
        kind, name = happening.key
        if kind == "drain":
            self._drain_over()
            return
        state = self.state.tasks[name]
        if kind == "approval":
            approving.expired(self, state)
        elif kind == "retry" and state.status == "waiting" and not self.is_stopping:
            self.try_task(state, "tried again")
        elif kind == "leftover" and state.leftover and state.status == "waiting":
            trying.after_failure(self, state)
        elif kind == "undo":
            self.undo_waits -= 1
            self.queue.append(("undo", state, state.undo_attempt + 1))

    def _drain_over(self) -> None:
        """What still runs is in doubt from now on."""
        if not self.is_stopping or self.rollback is not None or self.state.outcome is not None:
            return
        self.is_drained = True
        reason = "still running when the time to drain was over"
        for state in list(self.state.tasks.values()):
            running = state.status == "running" and state.items is None
            if running or state.name in self.repairing:
                self.flying -= 1
                self.emit(ev.TaskInterrupted(state.name, state.attempt, reason, True))
                self.commands.append(on.Abandon(state.name))
                if state.parent is not None:
                    mapping.item_settled(self, state)
        self.repairing.clear()
        self.state.decidable.clear()
        self._conclude()

    def go_on(self) -> None:
        """Begin, or go on where the record ends, now that the run has its locks."""
        if self.past is None:
            self.settle_all()
            return
        resuming.carry_on(self)
        while self._early:
            self.handle(self._early.popleft())

    def end_unbegun(self, reason: str) -> None:
        """End a run that cannot begin."""
        self._stop_pending(reason)
        self.decide_outcome("failed", reason)

    def _noted(self, happening: on.Noted) -> None:
        self.emit(happening.event)

    # The end ------------------------------------------------------------------------------

    def _conclude(self) -> None:
        """See whether the run goes into its next phase, now that nothing is under way."""
        state = self.state
        if state.outcome is not None or state.status in RUN_ENDS:
            return
        if state.intent == "rollback":
            undoing.roll_back(self)
        elif state.intent == "cancel":
            stopped = state.cause is not None
            self.decide_outcome(
                "failed" if stopped else "cancelled",
                f"{state.cause} failed" if stopped else "it was cancelled",
            )
        elif state.intent == "proceed" and state.open == 0:
            failed = ", ".join(state.failures)
            if failed:
                self.decide_outcome("failed", f"{failed} failed")
            else:
                self.decide_outcome("succeeded", "every task has settled, none failed")
        elif state.intent == "proceed":
            approving.hold_for_approvals(self)

    def decide_outcome(
        self, status: RunStatus, reason: str, residue: list[str] | None = None
    ) -> None:
        """Record how the run will end, and begin its finalizers."""
        not_undone = (
            None
            if residue is None
            else [
                s.name
                for s in self.state.tasks.values()
                if s.attempt and s.items is None and s.node.undo is None and s.node.task.effect
            ]
        )
        self.emit(ev.OutcomeDecided(status, reason, residue, not_undone))
        self.next_finalizer()

    def next_finalizer(self) -> None:
        """Run the next finalizer, or end the run after the last."""
        if self.finalizers:
            finalizer, _ = self.finalizers.popleft()
            self.emit(ev.FinalizerStarted(finalizer.name))
            self.commands.append(on.StartFinalizer(finalizer.name))
            return
        assert self.state.outcome is not None
        locking.give_back_at_the_end(self)
        self.emit(ev.RunFinished(self.state.outcome.status, self.state.count + 1))
        self.commands.append(on.Finish())

    def _finalizer_returned(self, happening: on.FinalizerReturned) -> None:
        if happening.error is None:
            self.emit(ev.FinalizerSucceeded(happening.name, happening.duration_s))
        else:
            self.emit(ev.FinalizerFailed(happening.name, happening.error, happening.duration_s))
        self.next_finalizer()

    # Rollback -----------------------------------------------------------------------------

    # --------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Record *event*: fold it into the state, and hand it to the journal."""
        self.state.apply(event)
        self._events.append(event)


_STARTERS: dict[str, Callable[[Machine, TaskState, int], None]] = {
    "attempt": Machine._start_attempt,
    "repair": trying.start_repair,
    "undo": undoing.start_undo,
}

_HANDLERS: dict[type[Any], Callable[[Machine, Any], None]] = {
    on.AttemptReturned: Machine._attempt_returned,
    on.AttemptRaised: trying.attempt_raised,
    on.LeftoverReturned: trying.leftover_returned,
    on.ConditionAnswered: Machine._condition_answered,
    on.ItemsListed: mapping.items_listed,
    on.RepairReturned: trying.repair_returned,
    on.RepairRaised: trying.repair_raised,
    on.UndoReturned: undoing.undo_returned,
    on.UndoRaised: undoing.undo_raised,
    on.FinalizerReturned: Machine._finalizer_returned,
    on.TimerFired: Machine._timer_fired,
    on.Asked: asked.asked,
    on.LocksTaken: locking.locks_taken,
    on.HolderMet: locking.holder_met,
    on.InterruptAnswered: resuming.interrupt_answered,
    on.Noted: Machine._noted,
}

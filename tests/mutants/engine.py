"""Faults of the engine, each planted alone: `explore` has to find every one of them.

A mutant is a mistake that somebody could make in the machine, the driver, the
worker or the locks. It is planted with pytest's monkeypatch, and tried on a
workflow that the real engine keeps safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from mutants import workflows
from mutants.workflows import Case, Invariant
from pyflow.frozen import replace
from pyflow.record import events as ev
from pyflow.record.codec import Record
from pyflow.record.locks import MemoryLocks
from pyflow.run import (
    asked,
    driver,
    joins,
    machine,
    passing,
    recovery,
    resuming,
    retrying,
    trying,
    undoing,
)
from pyflow.run import inputs as on
from pyflow.run.context import Call
from pyflow.run.driver import Driver
from pyflow.run.machine import Machine
from pyflow.run.maps import MapProgress
from pyflow.run.recovery import Rollback, needs_undo, still_applied
from pyflow.run.resuming import Past
from pyflow.run.state import TaskState
from pyflow.run.worker import Worker
from pyflow.testing.exploration import invariants, promises, trial

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, eq=False)
class Mutant:
    """A fault of the engine."""

    name: str
    """What is wrong."""

    breaks: Invariant | str
    """What `explore` has to find broken."""

    case: Case
    """The workflow that it is tried on."""

    plant: Callable[[Patch], None]
    """Puts it into the engine."""


MUTANTS: list[Mutant] = []
HANDLERS, COMMANDS, ANSWERS = machine._HANDLERS, driver._COMMANDS, asked._ANSWERS


def mutant(
    name: str, *, breaks: Invariant | str, case: Case
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Add what follows to `MUTANTS`."""

    def add(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS.append(Mutant(name, breaks, case, plant))
        return plant

    return add


# The record -------------------------------------------------------------------------------


@mutant(
    "commands are carried out before their records are committed",
    breaks=trial.RECORDED_FIRST,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    pump, commit = Driver._pump, Driver._commit

    def carry_out_first(self: Driver) -> None:
        late: list[list[ev.Event]] = []

        def put_off(events: list[ev.Event]) -> list[Record]:
            late.append(events)
            return []

        self._commit = put_off
        pump(self)
        del self._commit
        try:
            for events in late:
                commit(self, events)
        except BaseException as error:
            self.failed(error)

    patch.setattr(Driver, "_pump", carry_out_first)


@mutant(
    "records are written in the background",
    breaks=trial.RECORDED_FIRST,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    commit = Driver._commit
    patch.setattr(
        Driver, "_commit", lambda self, events: self.loop.call_later(0.001, commit, self, events)
    )


@mutant("an attempt is made twice", breaks=trial.RECORDED_FIRST, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    start = COMMANDS[on.StartAttempt]

    def twice(self: Driver, command: on.StartAttempt) -> None:
        start(self, command)
        start(self, command)

    patch.setitem(COMMANDS, on.StartAttempt, twice)


@mutant(
    "records from which nothing follows are not written",
    breaks=promises.the_end_is_the_last_record,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    take = Machine.take

    def thrifty(self: Machine) -> tuple[list[ev.Event], list[on.Command]]:
        events, commands = take(self)
        return (events if commands else []), commands

    patch.setattr(Machine, "take", thrifty)


@mutant(
    "secrets are written as they are",
    breaks=invariants.no_secret_is_written,
    case=workflows.SECRETIVE,
)
def _(patch: Patch) -> None:
    patch.setattr(driver, "redacted", lambda event, redactor: event)


# What may start ---------------------------------------------------------------------------


@mutant(
    "a task waits for one of its dependencies alone",
    breaks=promises.a_start_waits_for_dependencies,
    case=workflows.HANDLED,
)
def _(patch: Patch) -> None:
    init = TaskState.__init__

    def one_is_enough(self: TaskState, name: str, node: Any, unmet: int, *parent: Any) -> None:
        init(self, name, node, min(unmet, 1), *parent)

    patch.setattr(TaskState, "__init__", one_is_enough)


@mutant(
    "join success runs although a dependency failed",
    breaks=promises.a_start_needs_what_it_joins,
    case=workflows.HANDLED,
)
def _(patch: Patch) -> None:
    judge = joins.judge

    def lenient(join: str, total: int, state: TaskState) -> tuple[str, str]:
        return judge("done" if join == "success" else join, total, state)

    patch.setattr(machine, "judge", lenient)


@mutant(
    "a when= that raises counts as a skip",
    breaks=invariants.conditions_decide,
    case=workflows.HANDLED,
)
def _(patch: Patch) -> None:
    answer_(patch, lambda happening: replace(happening, error=None))


@mutant(
    "a when= that raises counts as True",
    breaks=invariants.conditions_decide,
    case=workflows.HANDLED,
)
def _(patch: Patch) -> None:
    answer_(patch, lambda h: replace(h, error=None, answer=h.answer or h.error is not None))


@mutant(
    "a when= that says no is ignored", breaks=invariants.conditions_decide, case=workflows.HANDLED
)
def _(patch: Patch) -> None:
    answer_(patch, lambda happening: replace(happening, answer=True))


def answer_(patch: Patch, change: Callable[[Any], Any]) -> None:
    """Have the machine hear another answer of a ``when=``."""
    handle = HANDLERS[on.ConditionAnswered]
    patch.setitem(HANDLERS, on.ConditionAnswered, lambda m, said: handle(m, change(said)))


@mutant(
    "a map starts all of its items at once",
    breaks=promises.a_map_keeps_its_limits,
    case=workflows.REGIONS,
)
def _(patch: Patch) -> None:
    init = MapProgress.__init__

    def roomy(self: MapProgress, parent: TaskState) -> None:
        init(self, parent)
        self._room = len(self.items)

    patch.setattr(MapProgress, "__init__", roomy)


@mutant("a slot is never given back", breaks=invariants.ends, case=workflows.NARROW)
def _(patch: Patch) -> None:
    patch.setattr(Driver, "_release", lambda self, name: None)


# Tries and repairs ------------------------------------------------------------------------


@mutant(
    "a task is tried once more than its policy says",
    breaks=promises.attempts_keep_to_the_policy,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    next_try = retrying.next_try
    patch.setattr(
        trying, "next_try", lambda retry, attempt, failure: next_try(retry, attempt - 1, failure)
    )


@mutant(
    "an undo is tried once more than its policy says",
    breaks=promises.attempts_keep_to_the_policy,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    next_try = retrying.next_try
    patch.setattr(
        undoing, "next_try", lambda retry, attempt, failure: next_try(retry, attempt - 1, failure)
    )


@mutant(
    "another try has the number of the last one",
    breaks=promises.a_start_happens_once,
    case=workflows.THREADS,
)
def _(patch: Patch) -> None:
    start = machine._STARTERS["attempt"]
    patch.setitem(
        machine._STARTERS, "attempt", lambda m, state, number: start(m, state, state.attempt or 1)
    )


@mutant("retry= is forgotten", breaks=promises.tries_are_made, case=workflows.THREADS)
def _(patch: Patch) -> None:
    patch.setattr(trying, "next_try", lambda retry, attempt, failure: "it is tried once")


@mutant(
    "the retry= of an undo is forgotten", breaks=promises.tries_are_made, case=workflows.TURNED_BACK
)
def _(patch: Patch) -> None:
    patch.setattr(undoing, "next_try", lambda retry, attempt, failure: "it is tried once")


@mutant("a repair is forgotten", breaks=promises.tries_are_made, case=workflows.REPAIRED)
def _(patch: Patch) -> None:
    patch.setattr(trying, "next_repair", lambda state, failure: None)


@mutant(
    "the result of a repair is ignored", breaks=promises.a_repair_counts, case=workflows.REPAIRED
)
def _(patch: Patch) -> None:
    def ignored(m: Machine, happening: on.RepairReturned) -> None:
        state = m.state.tasks[happening.task]
        m.flying -= 1
        number = m.repairing.pop(state.name)
        then: Any = state.node.task.repairs[number].then
        m.emit(ev.RepairSucceeded(state.name, number, happening.duration_s, then))
        m.fail(state, "its failure stands")

    patch.setitem(HANDLERS, on.RepairReturned, ignored)


@mutant("a timeout is ignored", breaks=invariants.ends, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    async def without(timeout_s: float, coroutine: Any, call: Call) -> Any:
        return await coroutine

    patch.setattr("pyflow.run.worker._within", without)


@mutant(
    "what timed out on a thread is tried again while it runs",
    breaks=trial.ALONE,
    case=workflows.THREADS,
)
def _(patch: Patch) -> None:
    raised = HANDLERS[on.AttemptRaised]
    patch.setitem(
        HANDLERS,
        on.AttemptRaised,
        lambda m, h: raised(m, replace(h, failure=replace(h.failure, leftover=False))),
    )


# Failures ---------------------------------------------------------------------------------


@mutant(
    "a failure is not acted upon", breaks=promises.a_failure_is_acted_upon, case=workflows.ROLLOUT
)
def _(patch: Patch) -> None:
    patch.setattr(Machine, "_unhandled", lambda self, name: None)


@mutant(
    "every failure counts as allowed",
    breaks=promises.a_failure_is_acted_upon,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    def fail(self: Machine, state: TaskState, reason: str, error: Any = None) -> None:
        self.failures.pop(state.name, None)
        self.emit(ev.TaskFailed(state.name, reason, error, True))
        self.after_settled(state)

    patch.setattr(Machine, "fail", fail)


@mutant(
    "the run ends as soon as nothing is under way",
    breaks=promises.the_end_leaves_nothing_open,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    conclude = Machine._conclude

    def hasty(self: Machine) -> None:
        if self.state.intent == "proceed" and self.state.outcome is None:
            self.decide_outcome("succeeded", "nothing is under way")
        conclude(self)

    patch.setattr(Machine, "_conclude", hasty)


@mutant(
    "a map forgets that an item failed",
    breaks=promises.a_map_keeps_its_limits,
    case=workflows.REGIONS,
)
def _(patch: Patch) -> None:
    patch.setattr(MapProgress, "has_failed", False)


# What people ask --------------------------------------------------------------------------


@mutant("a cancel is swallowed", breaks=promises.commands_are_obeyed, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    patch.setitem(ANSWERS, "cancel", lambda m, happening: None)


@mutant(
    "a cancel is accepted, and starts go on",
    breaks=promises.starts_stop_when_the_run_does,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    patch.setattr(Machine, "_stop_pending", lambda self, reason: None)


@mutant(
    "a cancel outranks a rollback",
    breaks=promises.intent_never_falls,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    patch.setattr(machine, "INTENTS", ("proceed", "hold", "rollback", "cancel"))


@mutant(
    "a task is tried again once the run rolls back",
    breaks=promises.starts_stop_when_the_run_does,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    patch.setattr(Machine, "is_stopping", False)


@mutant("a pause is ignored", breaks=promises.nothing_starts_while_paused, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    open_ = ("running", "paused", "rolling_back")
    patch.setattr(Machine, "_gated", property(lambda self: self.state.status not in open_))


@mutant("an unpause is lost", breaks=invariants.ends, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    patch.setitem(ANSWERS, "unpause", lambda m, happening: None)


@mutant(
    "a rollback after the point of no return is accepted",
    breaks=promises.rollback_is_what_was_intended,
    case=workflows.ONE_WAY,
)
def _(patch: Patch) -> None:
    patch.setattr(Machine, "_point_of_no_return", lambda self: None)


# Rollback ---------------------------------------------------------------------------------


@mutant(
    "undos go in forward order", breaks=promises.rollback_goes_backwards, case=workflows.ROLLOUT
)
def _(patch: Patch) -> None:
    def forward(self: Rollback, _: TaskState | None = None) -> list[TaskState]:
        return [s for s in reversed(self.order) if needs_undo(s)][:1]

    patch.setattr(Rollback, "begin", forward)
    patch.setattr(Rollback, "cleared", forward)


@mutant(
    "everything is undone at once", breaks=promises.rollback_goes_backwards, case=workflows.ROLLOUT
)
def _(patch: Patch) -> None:
    patch.setattr(Rollback, "begin", lambda self: [s for s in self.order if needs_undo(s)])
    patch.setattr(Rollback, "cleared", lambda self, state: [])


@mutant(
    "an undo runs although one before it failed",
    breaks=promises.rollback_goes_backwards,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    raised = HANDLERS[on.UndoRaised]

    def go_on(m: Machine, happening: on.UndoRaised) -> None:
        raised(m, happening)
        assert m.rollback is not None
        undoing.queue_undos(m, m.rollback.cleared(m.state.tasks[happening.task]))

    patch.setitem(HANDLERS, on.UndoRaised, go_on)


@mutant(
    "a failed undo counts as undone",
    breaks=invariants.rolled_back_is_as_before,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    patch.setitem(
        HANDLERS,
        on.UndoRaised,
        lambda m, h: undoing.undo_returned(m, on.UndoReturned(h.task, h.duration_s)),
    )


@mutant(
    "the task that failed is not undone itself",
    breaks=promises.rollback_leaves_nothing_unsaid,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    undo_(patch, lambda state: needs_undo(state) and state.status != "failed")


@mutant(
    "what never started is undone too",
    breaks=promises.rollback_is_what_was_intended,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    undo_(patch, lambda state: state.node.undo is not None and state.status != "undone")


def undo_(patch: Patch, needs: Callable[[TaskState], bool]) -> None:
    """Have other tasks undone."""
    patch.setattr(recovery, "needs_undo", needs)


@mutant(
    "the rollback does not wait for what is under way",
    breaks=promises.rollback_begins_when_all_is_still,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    dispatch, begin = Machine.dispatch, Rollback.begin

    def impatient(self: Machine, slots: int) -> None:
        dispatch(self, slots)
        if self.state.intent == "rollback" and self.rollback is None:
            undoing.roll_back(self)

    patch.setattr(Machine, "dispatch", impatient)
    patch.setattr(Rollback, "begin", lambda self: [s for s in begin(self) if s.status != "running"])


@mutant("what still runs on a thread is undone", breaks=trial.ALONE, case=workflows.THREADS)
def _(patch: Patch) -> None:
    begin = Rollback.begin

    def regardless(self: Rollback) -> list[TaskState]:
        return [*begin(self), *(s for s in self.order if needs_undo(s) and s.leftover)]

    patch.setattr(Rollback, "begin", regardless)


@mutant(
    "the waits of an undo are cut short",
    breaks=promises.nothing_shielded_is_cut_short,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    def unshielded(*args: Any, **options: Any) -> Call:
        return Call(*args, **{**options, "shielded": False})

    patch.setattr("pyflow.run.worker.Call", unshielded)


@mutant(
    "the residue leaves out what a failed undo blocked",
    breaks=promises.rollback_leaves_nothing_unsaid,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    def failed(order: Sequence[TaskState]) -> list[str]:
        return [state.name for state in order if state.status == "undo_failed"]

    patch.setattr(undoing, "still_applied", failed)


@mutant(
    "the residue is forgotten",
    breaks=promises.rollback_leaves_nothing_unsaid,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    patch.setattr(undoing, "still_applied", lambda order: still_applied(order)[:0])


@mutant(
    "the run says rolled_back although an undo failed",
    breaks=promises.rollback_leaves_nothing_unsaid,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    decide = Machine.decide_outcome

    def sugar(self: Machine, status: Any, reason: str, residue: Any = None) -> None:
        decide(self, "rolled_back" if status == "rollback_failed" else status, reason, residue)

    patch.setattr(Machine, "decide_outcome", sugar)


# Locks ------------------------------------------------------------------------------------


@mutant("locks are never released", breaks=invariants.locks_are_released, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    patch.setattr(MemoryLocks, "release", lambda self, leases, *, residue=False: None)


@mutant(
    "locks are free although residue is left",
    breaks=invariants.locks_are_released,
    case=workflows.UNDONE_ONCE,
)
def _(patch: Patch) -> None:
    release = MemoryLocks.release
    patch.setattr(MemoryLocks, "release", lambda self, leases, *, residue: release(self, leases))


@mutant("locks are released before the undos", breaks=trial.LOCKED, case=workflows.TURNED_BACK)
def _(patch: Patch) -> None:
    cut = COMMANDS[on.CutWaits]

    def let_go(self: Driver, command: on.CutWaits) -> None:
        cut(self, command)
        self._leases._locks.release(list(self._leases._held.values()))

    patch.setitem(COMMANDS, on.CutWaits, let_go)


@mutant("one lock of several is taken", breaks=trial.LOCKED, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    acquire = MemoryLocks.acquire
    patch.setattr(
        MemoryLocks,
        "acquire",
        lambda self, run_id, names, **o: acquire(self, run_id, names[:1], **o),
    )


# Finalizers -------------------------------------------------------------------------------


@mutant(
    "finalizers are skipped after a rollback",
    breaks=promises.every_finalizer_runs_once,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    go_on = Machine.next_finalizer

    def skip(self: Machine) -> None:
        if self.rollback is not None:
            self.finalizers.clear()
        go_on(self)

    patch.setattr(Machine, "next_finalizer", skip)


@mutant("a finalizer is run twice", breaks=trial.RECORDED_FIRST, case=workflows.ROLLOUT)
def _(patch: Patch) -> None:
    finalize = Worker.finalize

    async def twice(self: Worker, name: str) -> None:
        over, self._call_over = self._call_over, lambda name, happening: None
        await finalize(self, name)
        self._call_over = over
        await finalize(self, name)

    patch.setattr(Worker, "finalize", twice)


@mutant(
    "the run ends before its finalizers do",
    breaks=promises.every_finalizer_runs_once,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    go_on = Machine.next_finalizer

    def hurry(self: Machine) -> None:
        for _ in range(len(self.finalizers) + 1):
            go_on(self)

    patch.setattr(Machine, "next_finalizer", hurry)


# After a crash ----------------------------------------------------------------------------


def unread_(patch: Patch, is_unread: Callable[[ev.Event], bool]) -> None:
    """Have an engine that takes a run up pass some of its records over."""
    resume = Machine.resume

    def careless(self: Machine, past: Past, event: ev.RunResumed) -> None:
        pairs = zip(past.events, past.ages_s, strict=True)
        read = [(one, age_s) for one, age_s in pairs if not is_unread(one)]
        events, ages_s = [one for one, _ in read], [age_s for _, age_s in read]
        resume(self, replace(past, events=events, ages_s=ages_s), event)

    patch.setattr(Machine, "resume", careless)


@mutant(
    "a finished task runs again after a crash",
    breaks=promises.what_is_done_is_not_done_again,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    unread_(patch, lambda one: isinstance(one, ev.TaskSucceeded) and one.task == "repeated")


@mutant(
    "an undo that is done runs again after a crash",
    breaks=promises.what_is_done_is_not_done_again,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    unread_(patch, lambda one: isinstance(one, ev.UndoSucceeded))


@mutant(
    "an undo that had failed is tried again after a crash",
    breaks=promises.attempts_keep_to_the_policy,
    case=workflows.SECOND_TRY,
)
def _(patch: Patch) -> None:
    go_on = resuming._go_on_undoing

    def once_more(*args: Any, again: bool) -> None:
        go_on(*args, again=True)

    patch.setattr(resuming, "_go_on_undoing", once_more)


@mutant(
    "what a crash cut off runs again, and nobody is asked",
    breaks=promises.an_interruption_is_looked_into,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    def run_again(m: Machine, state: TaskState) -> None:
        m.emit(ev.InterruptResolved(state.name, "not_applied", "rerun"))
        resuming.resolved(m, state, "not_applied")

    patch.setattr(resuming, "_find_out", run_again)


@mutant(
    "what a crash cut off counts as failed",
    breaks=promises.an_interruption_is_looked_into,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    patch.setattr(resuming, "_find_out", lambda m, state: m.fail(state, "it was cut off"))


@mutant(
    "what a crash cut off counts as done",
    breaks=promises.an_interruption_is_looked_into,
    case=workflows.ROLLOUT,
)
def _(patch: Patch) -> None:
    def count_as_done(m: Machine, state: TaskState) -> None:
        m.emit(ev.TaskSucceeded(state.name, state.attempt, 0.0))
        m.succeeded(state)

    patch.setattr(resuming, "_find_out", count_as_done)


@mutant(
    "a crash goes unnoticed by what it cut off",
    breaks=promises.an_interruption_is_looked_into,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    def start_over(m: Machine, state: TaskState, *about: object) -> None:
        if state.status == "running" and state.items is None:
            failure = on.Failure(resuming.INTERRUPTED, ())
            m.flying += 1
            trying.attempt_raised(m, on.AttemptRaised(state.name, 0.0, failure))

    patch.setattr(resuming, "_take_up", start_over)


@mutant(
    "what an on_interrupt= finds out is ignored",
    breaks=invariants.interruptions_decide,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    answered = HANDLERS[on.InterruptAnswered]
    patch.setitem(
        HANDLERS,
        on.InterruptAnswered,
        lambda m, said: answered(m, replace(said, answer="not_applied")),
    )


@mutant(
    "a try that was scheduled is lost in a crash",
    breaks=invariants.ends,
    case=workflows.SECOND_TRY,
)
def _(patch: Patch) -> None:
    lost_(patch, "retry")


@mutant(
    "a try of an undo that was scheduled is lost in a crash",
    breaks=invariants.ends,
    case=workflows.SECOND_TRY,
)
def _(patch: Patch) -> None:
    lost_(patch, "undo")


def lost_(patch: Patch, kind: str) -> None:
    """Have timers of *kind* not set again after a crash."""
    carry_on = resuming.carry_on

    def forgetful(m: Machine) -> None:
        carry_on(m)
        m.commands = [
            one for one in m.commands if not (isinstance(one, on.SetTimer) and one.key[0] == kind)
        ]

    patch.setattr(resuming, "carry_on", forgetful)


@mutant(
    "items of a map that had not begun are lost in a crash",
    breaks=invariants.ends,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    take_up = MapProgress.take_up

    def forgetful(self: MapProgress) -> None:
        take_up(self)
        self._next.clear()

    patch.setattr(MapProgress, "take_up", forgetful)


@mutant(
    "after a crash a map starts all of its items at once",
    breaks=promises.a_map_keeps_its_limits,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    take_up = MapProgress.take_up

    def roomy(self: MapProgress) -> None:
        take_up(self)
        self._room = len(self.items)

    patch.setattr(MapProgress, "take_up", roomy)


@mutant(
    "a pause is forgotten in a crash",
    breaks=promises.nothing_starts_while_paused,
    case=workflows.PAUSED,
)
def _(patch: Patch) -> None:
    unread_(patch, lambda one: isinstance(one, ev.RunPaused | ev.RunUnpaused))


@mutant(
    "a hold is forgotten in a crash",
    breaks=promises.nothing_starts_while_paused,
    case=workflows.HELD,
)
def _(patch: Patch) -> None:
    unread_(patch, lambda one: isinstance(one, ev.IntentRaised))


@mutant(
    "a rollback is forgotten in a crash",
    breaks=promises.the_end_is_what_was_intended,
    case=workflows.SECOND_TRY,
)
def _(patch: Patch) -> None:
    unread_(patch, lambda one: isinstance(one, ev.IntentRaised))


@mutant(
    "an undo that a crash cut off counts as made",
    breaks=promises.the_end_leaves_nothing_open,
    case=workflows.TURNED_BACK,
)
def _(patch: Patch) -> None:
    go_on = resuming._go_on_undoing

    def skip(m: Machine, *args: Any, again: bool) -> None:
        go_on(m, *args, again=again)
        cut_off = [work for work in m.queue if work[0] == "undo" and work[1].status == "undoing"]
        for work in cut_off:
            m.queue.remove(work)

    patch.setattr(resuming, "_go_on_undoing", skip)


@mutant(
    "finalizers are skipped after a crash",
    breaks=promises.every_finalizer_runs_once,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    def skip(m: Machine, past: Past) -> None:
        m.finalizers.clear()
        m.next_finalizer()

    patch.setattr(resuming, "_finish", skip)


@mutant(
    "a finalizer that is done runs again after a crash",
    breaks=promises.every_finalizer_runs_once,
    case=workflows.RESUMED,
)
def _(patch: Patch) -> None:
    patch.setattr(resuming, "_finish", lambda m, past: m.next_finalizer())


@mutant(
    "what was passed over starts when its turn comes",
    breaks=promises.what_is_passed_over_does_not_start,
    case=workflows.PASSED_OVER,
)
def _(patch: Patch) -> None:
    leave_out = passing.leave_out

    def start(m: Machine, state: TaskState) -> None:
        if state.attempt or state.name in m.reasons:
            leave_out(m, state)
        else:
            m.try_task(state, "no dependencies")

    patch.setattr(passing, "leave_out", start)


@mutant("after a crash the lock is not taken again", breaks=trial.LOCKED, case=workflows.RESUMED)
def _(patch: Patch) -> None:
    take = COMMANDS[on.TakeLocks]

    def pretend(self: Driver, command: on.TakeLocks) -> None:
        if self.machine.past is None:
            take(self, command)
        else:
            self.post(on.LocksTaken())

    patch.setitem(COMMANDS, on.TakeLocks, pretend)

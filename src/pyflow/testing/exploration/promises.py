"""What the engine promises of every run, read off its records.

Each promise looks at the events of a run and the state that they fold into,
and says in a sentence what is broken, or None. They hold for the machine
alone, for a run in virtual time and for one under faults alike.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeGuard, TypeVar

from pyflow.define.policies import Retry
from pyflow.errors import RunStopping
from pyflow.frozen import fields_of
from pyflow.record import events as ev
from pyflow.run.failures import see
from pyflow.run.recovery import matches
from pyflow.run.states import INTENTS, RUN_ENDS
from pyflow.testing.faults import SimulatedFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pyflow.define.task import Recovery, Task
    from pyflow.run.state import RunState, TaskState

__all__ = ["PROMISES", "Told", "may_break"]

Promise = TypeVar("Promise", bound="Callable[[Told], str | None]")
SETTLING = (
    ev.TaskSucceeded,
    ev.TaskFailed,
    ev.TaskSkipped,
    ev.TaskBlocked,
    ev.TaskCancelled,
    ev.TaskInterrupted,
)


FOLLOWING = (
    "retry_scheduled",
    "repair_started",
    "task_failed",
    "undo_retry_scheduled",
    "undo_failed",
)
"""What can become of something that failed."""
LOST = see(SimulatedFault()).kinds
"""What an injected failure is: the one error that is known whole from its record."""
CUT = see(RunStopping()).type
NEVER = Retry(1)
PASSING = (
    ev.PassedOver,
    *(cls for cls in ev.EVENTS.values() if "passed" in fields_of(cls)),
)
"""What says that people pass a task over, or have."""


class Told(Protocol):
    """A run, as far as its records tell."""

    @property
    def events(self) -> Sequence[ev.Event]:
        """What was recorded, in order."""
        ...

    @property
    def state(self) -> RunState:
        """What that comes to."""
        ...


def about(*records: type[ev.Event]) -> Callable[[Promise], Promise]:
    """Mark a promise as one that only a run with one of these *records* can break."""

    def mark(promise: Promise) -> Promise:
        promise.about = frozenset(records)  # type: ignore[attr-defined]
        return promise

    return mark


def may_break(promise: Callable[..., object], kinds: AbstractSet[type[ev.Event]]) -> bool:
    """Return whether a run with records of these *kinds* alone can break *promise*."""
    needs: frozenset[type[ev.Event]] | None = getattr(promise, "about", None)
    return needs is None or not needs.isdisjoint(kinds)


def the_end_leaves_nothing_open(run: Told) -> str | None:
    """In a run that has ended, no task is still to run."""
    if run.state.status not in RUN_ENDS:
        return None
    for name, task in run.state.tasks.items():
        if task.status in ("pending", "waiting", "running", "undoing"):
            return f"the run has ended, and {name} is still {task.status}"
    return None


def the_end_is_the_last_record(run: Told) -> str | None:
    """The last record of a run that has ended says so, and how many there are."""
    if run.state.status not in RUN_ENDS:
        return None
    last = run.events[-1]
    if not isinstance(last, ev.RunFinished) or last.records != len(run.events):
        return f"the last of {len(run.events)} records is {last!r}"
    return None


def every_finalizer_runs_once(run: Told) -> str | None:
    """Finalizers run once each, one after another, after the outcome and before the end.

    One that was cut off when the engine died runs again.
    """
    if run.state.status not in RUN_ENDS:
        return None
    wanted = [finalizer.name for finalizer, _ in run.state.plan.finalizers]
    ended: list[str] = []
    running: str | None = None
    decided = False
    for one in run.events:
        if isinstance(one, ev.OutcomeDecided):
            decided, ended = True, []
        elif isinstance(one, ev.RunResumed):
            running = None
        elif isinstance(one, ev.FinalizerStarted):
            if not decided or running is not None:
                before = f"{running} had ended" if running else "the outcome was decided"
                return f"finalizer {one.name} started before {before}"
            running = one.name
        elif isinstance(one, ev.FinalizerSucceeded | ev.FinalizerFailed):
            ended.append(one.name)
            running = None
    return None if ended == wanted else f"finalizers {ended} ran, expected {wanted}"


def a_start_waits_for_dependencies(run: Told) -> str | None:
    """A task starts after its dependencies settled, but for ``any``, which needs one success."""
    settled: dict[str, str] = {}
    for one in run.events:
        if isinstance(one, ev.TaskStarted) and one.attempt == 1:
            node = run.state.tasks[one.task].node
            if node.task.join == "any":
                if not any(settled.get(name) == "task_succeeded" for name in node.depends_on):
                    return f"{one.task} started before any of its dependencies succeeded"
            else:
                open_ = [name for name in node.depends_on if name not in settled]
                if open_:
                    return f"{one.task} started before {open_[0]} had settled"
        elif _succeeds(one) or (isinstance(one, ev.TaskSkipped | ev.HoldReleased) and one.passed):
            settled[one.task] = "task_succeeded"
        elif isinstance(one, SETTLING) and not isinstance(one, ev.TaskInterrupted):
            settled[one.task] = one.kind
    return None


@about(ev.TaskFailed, ev.TaskBlocked, ev.TaskInterrupted)
def a_start_needs_what_it_joins(run: Told) -> str | None:
    """A task that waits for success starts only where no dependency failed."""
    bad: set[str] = set()
    for one in run.events:
        if isinstance(one, ev.TaskFailed | ev.TaskBlocked | ev.TaskInterrupted):
            if getattr(one, "allowed", None):
                bad.discard(one.task)
            else:
                bad.add(one.task)
        elif _succeeds(one) or isinstance(one, ev.TaskSkipped | ev.HoldReleased):
            bad.discard(one.task)  # what a failure had blocked may run once a person decided on it
        elif isinstance(one, ev.TaskStarted) and one.attempt == 1:
            node = run.state.tasks[one.task].node
            failed = bad.intersection(node.depends_on)
            if node.task.join == "success" and failed:
                return f"{one.task} started although {min(failed)} had failed"
    return None


def a_start_happens_once(run: Told) -> str | None:
    """No attempt of a task, and no try of an undo, is started twice."""
    seen: set[tuple[str, str, int]] = set()
    for one in run.events:
        if isinstance(one, ev.TaskStarted | ev.UndoStarted):
            start = (one.kind, one.task, one.attempt)
            if start in seen:
                return f"{one.kind} of {one.task}, attempt {one.attempt}, is recorded twice"
            seen.add(start)
    return None


@about(*PASSING)
def what_is_passed_over_does_not_start(run: Told) -> str | None:
    """No task starts that a person has passed over, and none counts as passed otherwise."""
    passed: set[str] = set()
    for one in run.events:
        if isinstance(one, ev.PassedOver):
            passed.update(one.tasks)
        elif isinstance(one, ev.TaskStarted | ev.RepairStarted) and one.task in passed:
            return f"{one.kind} of {one.task} came after it was passed over"
        elif getattr(one, "passed", None) and getattr(one, "task", None) not in passed:
            return f"{one.kind} says that {getattr(one, 'task', None)} passed, and nobody said so"
    return None


def what_is_done_is_not_done_again(run: Told) -> str | None:
    """No task is started again that has succeeded, and no undo that has."""
    done: set[tuple[bool, str]] = set()
    for one in run.events:
        if _succeeds(one) or isinstance(one, ev.UndoSucceeded):
            done.add((isinstance(one, ev.UndoSucceeded), one.task))
        elif isinstance(one, ev.TaskStarted | ev.UndoStarted):
            undoing = isinstance(one, ev.UndoStarted)
            if (undoing, one.task) in done:
                what = f"the undo of {one.task}" if undoing else one.task
                return f"{what} started again after it had succeeded"
    return None


@about(ev.RunResumed, ev.TaskInterrupted, ev.InterruptResolved)
def an_interruption_is_looked_into(run: Told) -> str | None:
    """What follows from an attempt that was cut off is for its policy, a look, or a person to say."""
    running: set[str] = set()
    cut: set[str] = set()  # by the end of the engine, and that is not recorded yet
    unclear: set[str] = set()
    stopping = False
    for one in run.events:
        if isinstance(one, ev.RunResumed):
            tasks = run.state.tasks  # an approval makes no attempt, and goes on waiting
            cut |= {name for name in running if tasks[name].node.task.approval is None}
        elif isinstance(one, ev.IntentRaised):
            stopping = stopping or one.intent != "hold"
        elif isinstance(one, ev.TaskInterrupted):
            running.discard(one.task)
            cut.discard(one.task)
            unclear.add(one.task)
        elif isinstance(one, ev.InterruptResolved):
            if not _may_say(one, run.state.tasks[one.task].node.task):
                return f"{one.source} said {one.answer} of {one.task}, and was not to be asked"
            if one.answer != "unknown":
                unclear.discard(one.task)
        elif isinstance(one, (ev.TaskStarted, ev.AttemptFailed, *SETTLING)):
            if one.task in cut or (one.task in unclear and not stopping):
                return f"{one.task} was cut off, and without a look {one.kind} followed"
            running.discard(one.task)
            if isinstance(one, ev.TaskStarted):
                running.add(one.task)
    return None


def attempts_keep_to_the_policy(run: Told) -> str | None:
    """No task and no undo is tried more often than its policy, its repairs and people allow."""
    extra: Counter[tuple[bool, str]] = Counter()
    undos: dict[str, int] = {}
    undoing: set[str] = set()
    tasks = run.state.tasks
    for one in run.events:
        if isinstance(one, ev.RepairSucceeded | ev.HoldReleased | ev.InterruptResolved):
            extra[False, one.task] += 1
        elif isinstance(one, ev.RunResumed):  # an undo that was cut off runs again
            extra.update((True, name) for name in undoing)
        elif isinstance(one, ev.IntentRaised):  # as one that had failed does for `engine.rollback`
            for name, tries in undos.items():
                extra[True, name] = tries
        elif isinstance(one, ev.UndoSucceeded | ev.UndoAttemptFailed):
            undoing.discard(one.task)
        elif isinstance(one, ev.UndoStarted):
            undoing.add(one.task)
            undos[one.task] = one.attempt
            most = _tries(tasks[one.task].node.task.undo) + extra[True, one.task]
            if one.attempt > most:
                what = f"the undo of {one.task}"
                return f"{what} was tried {one.attempt} times, and {most} are allowed"
        elif isinstance(one, ev.TaskStarted):
            most = _tries(tasks[one.task].node.task) + extra[False, one.task]
            if one.attempt > most:
                return f"{one.task} was tried {one.attempt} times, and {most} are allowed"
    return None


@about(ev.AttemptFailed, ev.UndoAttemptFailed)
def tries_are_made(run: Told) -> str | None:
    """A connection that was lost is followed by every try and repair that the policy has."""
    due: dict[str | None, str] = {}
    used: Counter[tuple[str, int]] = Counter()
    stopping = False
    for one in run.events:
        task = getattr(one, "task", None)
        if task in due and one.kind in FOLLOWING and one.kind != due.pop(task):
            return f"{task} lost its connection and had a try left, and {one.kind} followed"
        if isinstance(one, ev.IntentRaised) and one.intent != "hold":
            stopping = True
            due.clear()
        elif isinstance(one, ev.RepairStarted):
            used[one.task, one.repair] += 1
        elif isinstance(one, ev.AttemptFailed | ev.UndoAttemptFailed):
            undoing = isinstance(one, ev.UndoAttemptFailed)
            node = run.state.tasks[one.task].node.task
            policy = node.undo if undoing else node
            if one.error.type != LOST[0] or (stopping and not undoing):
                continue
            retry = policy.retry if policy is not None else None
            if retry is not None and one.attempt < retry.attempts and matches(retry.on, LOST):
                due[one.task] = "undo_retry_scheduled" if undoing else "retry_scheduled"
            elif not undoing and any(
                used[one.task, number] < repair.times and matches(repair.on, LOST)
                for number, repair in enumerate(node.repairs)
            ):
                due[one.task] = "repair_started"
    return None


@about(ev.RepairSucceeded)
def a_repair_counts(run: Told) -> str | None:
    """A repair that succeeded has the task tried again, or gives it its output."""
    repaired: dict[str | None, str] = {}
    stopping = False
    for one in run.events:
        task = getattr(one, "task", None)
        if isinstance(one, ev.IntentRaised):
            stopping = stopping or one.intent != "hold"
        elif isinstance(one, ev.RepairSucceeded):
            repaired[one.task] = one.then
        elif isinstance(one, ev.TaskFailed) and task in repaired:
            if repaired[task] == "continue" or not stopping:
                return f"{task} was repaired, to {repaired[task]}, and failed all the same"
        elif isinstance(one, ev.TaskStarted | ev.TaskSucceeded):
            repaired.pop(task, None)
    return None


@about(ev.MapExpanded)
def a_map_keeps_its_limits(run: Told) -> str | None:
    """A map runs no more items at once than it may, and succeeds if no more failed than it may."""
    running: set[str] = set()
    bad: set[str] = set()
    for one in run.events:
        state = run.state.tasks.get(getattr(one, "task", None) or "")
        if state is None:
            continue
        parent, over = state.parent, state.node.task.map
        if parent is not None and over is not None:
            if isinstance(one, ev.TaskStarted):
                running.add(state.name)
                together = sum(item.name in running for item in parent.items or ())
                if together > (over.max_parallel or together):
                    return f"{together} items of {parent.name} ran at once"
            elif _succeeds(one):
                running.discard(state.name)
                bad.discard(state.name)
            elif isinstance(one, SETTLING):
                running.discard(state.name)
                bad.add(state.name)
        elif isinstance(one, ev.TaskSucceeded) and over is not None:
            failed = sum(item.name in bad for item in state.items or ())
            if failed > over.tolerate:
                return f"{state.name} succeeded although {failed} of its items did not"
    return None


@about(ev.IntentRaised)
def starts_stop_when_the_run_does(run: Told) -> str | None:
    """Once the intent is cancel or rollback, no attempt and no repair starts."""
    stopping = None
    for one in run.events:
        if isinstance(one, ev.IntentRaised) and one.intent != "hold":
            stopping = one.intent
        elif stopping and isinstance(one, ev.TaskStarted | ev.RepairStarted | ev.RetryScheduled):
            return f"{one.kind} of {one.task} comes after the intent to {stopping}"
    return None


@about(ev.RunPaused, ev.IntentRaised)
def nothing_starts_while_paused(run: Told) -> str | None:
    """Nothing starts while the run is paused, or held."""
    paused = False
    held: set[str | None] = set()
    asked: set[str | None] = set()
    for one in run.events:
        if isinstance(one, ev.RunPaused | ev.RunUnpaused):
            paused = isinstance(one, ev.RunPaused)
        elif isinstance(one, ev.IntentRaised):
            if one.intent == "hold":
                held.add(one.task)
            else:
                held.clear()
        elif isinstance(
            one,
            ev.HoldReleased
            | ev.InterruptResolved
            | ev.TaskSucceeded
            | ev.TaskFailed
            | ev.TaskSkipped,
        ):
            if getattr(one, "answer", None) != "unknown":
                held.discard(one.task)
            asked.discard(one.task)
            if held <= asked:
                held.clear()  # questions hold the run only while nothing else can go on
        elif isinstance(one, ev.ApprovalRequested):
            asked.add(one.task)
        elif (paused or held) and isinstance(one, ev.TaskStarted | ev.RepairStarted):
            return f"{one.kind} of {one.task} came while the run was {'held' if held else 'paused'}"
    return None


@about(ev.TaskFailed)
def a_failure_is_acted_upon(run: Told) -> str | None:
    """A run whose failure nobody handled does not succeed, nor end where it was to roll back or be held."""
    failed: dict[str, None] = {}
    for one in run.events:
        if isinstance(one, ev.TaskFailed):
            state = run.state.tasks[one.task]
            if state.parent is None and not state.node.task.allow_failure:
                failed[one.task] = None
        elif isinstance(one, ev.FailureHandled | ev.HoldReleased):
            failed.pop(one.task, None)
    policy, status = run.state.plan.on_failure, run.state.status
    asks_for_more = policy in ("rollback", "hold")
    if failed and (status == "succeeded" or (status == "failed" and asks_for_more)):
        return f"{next(iter(failed))} failed, on_failure is {policy}, and the run {status}"
    return None


@about(ev.CommandReceived)
def commands_are_obeyed(run: Told) -> str | None:
    """A cancel or a rollback that was accepted raises the intent."""
    level = 0
    for one in run.events:
        if isinstance(one, ev.IntentRaised):
            level = max(level, INTENTS.index(one.intent))
        elif isinstance(one, ev.CommandReceived) and one.accepted:
            wanted = {"cancel": "cancel", "rollback": "rollback"}.get(one.command)
            if wanted is not None and level < INTENTS.index(wanted):
                return f"{one.command} was accepted, and the intent was not raised"
    return None


@about(ev.IntentRaised)
def the_end_is_what_was_intended(run: Told) -> str | None:
    """A run that was to roll back has done so when it ends, and one that was to stop has."""
    status = run.state.status
    intents = {one.intent for one in run.events if isinstance(one, ev.IntentRaised)}
    if status not in RUN_ENDS:
        return None
    if "rollback" in intents and status not in ("rolled_back", "rollback_failed"):
        return f"the run was to roll back, and it {status}"
    if "cancel" in intents and status == "succeeded":
        return "the run was to stop, and it succeeded"
    return None


@about(ev.IntentRaised, ev.HoldReleased)
def intent_never_falls(run: Told) -> str | None:
    """Intent only rises, but for a recorded decision of a person that ends a hold."""
    level, held = 0, set[str]()
    for one in run.events:
        if isinstance(one, ev.IntentRaised):
            if INTENTS.index(one.intent) < level:
                return f"the intent fell from {INTENTS[level]} to {one.intent}"
            level = INTENTS.index(one.intent)
            if one.intent == "hold":
                held.add(one.task or "")
        elif isinstance(one, ev.HoldReleased):
            if one.task not in held or INTENTS[level] != "hold":
                return f"{one.task} was released while the intent was {INTENTS[level]}"
            held.discard(one.task)
            level = level if held else 0
    return None


@about(ev.UndoStarted)
def rollback_is_what_was_intended(run: Told) -> str | None:
    """Only what was started is undone, after the intent to roll back, up to a point of no return."""
    intended = passed = False
    started: set[str] = set()
    for one in run.events:
        if isinstance(one, ev.IntentRaised):
            intended = intended or one.intent == "rollback"
        elif isinstance(one, ev.TaskStarted):
            started.add(one.task)
            passed = passed or run.state.tasks[one.task].node.task.point_of_no_return
        elif isinstance(one, ev.UndoStarted):
            if passed or not intended:
                why = "a point of no return" if passed else "no intent to roll back"
                return f"the undo of {one.task} started after {why}"
            if one.task not in started:
                return f"the undo of {one.task} started, and the task never had"
    return None


def rollback_leaves_nothing_unsaid(run: Told) -> str | None:
    """After a rollback, every started task that has an undo is undone, or in the residue."""
    outcome = run.state.outcome
    if run.state.status not in ("rolled_back", "rollback_failed") or outcome is None:
        return None
    residue = outcome.residue or []
    for name, task in _applied(run.state):
        if (task.status == "undone") is (name in residue):
            where = "is in the residue" if name in residue else "is not in the residue"
            return f"{name} is {task.status} and {where}"
    if (run.state.status == "rolled_back") is bool(residue):
        return f"the run is {run.state.status}, with the residue {residue}"
    return None


@about(ev.UndoStarted)
def rollback_goes_backwards(run: Told) -> str | None:
    """No undo starts before everything applied that depends on its task is undone."""
    undone: set[str] = set()
    applied = {name for name, _ in _applied(run.state)}
    for one in run.events:
        if isinstance(one, ev.UndoSucceeded):
            undone.add(one.task)
        elif isinstance(one, ev.UndoStarted):
            for name in _after(run.state, one.task):
                if name in applied and name not in undone:
                    return f"the undo of {one.task} started before {name} was undone"
    return None


@about(ev.UndoStarted)
def rollback_begins_when_all_is_still(run: Told) -> str | None:
    """No undo starts while an attempt is under way that has not been declared in doubt."""
    running: dict[str, None] = {}
    for one in run.events:
        if isinstance(one, ev.TaskStarted):
            running[one.task] = None
        elif isinstance(one, (ev.AttemptFailed, *SETTLING)):
            running.pop(one.task, None)
        elif isinstance(one, ev.UndoStarted) and running:
            return f"the undo of {one.task} started while {next(iter(running))} was under way"
    return None


@about(ev.UndoAttemptFailed, ev.FinalizerFailed)
def nothing_shielded_is_cut_short(run: Told) -> str | None:
    """No undo and no finalizer is cut short because the run stops."""
    for one in run.events:
        if isinstance(one, ev.UndoAttemptFailed | ev.FinalizerFailed) and one.error.type == CUT:
            name = one.task if isinstance(one, ev.UndoAttemptFailed) else one.name
            return f"a wait of {name} was cut short in its {one.kind.partition('_')[0]}"
    return None


PROMISES: tuple[Callable[[Told], str | None], ...] = (
    the_end_leaves_nothing_open,
    the_end_is_the_last_record,
    every_finalizer_runs_once,
    a_start_waits_for_dependencies,
    a_start_needs_what_it_joins,
    a_start_happens_once,
    what_is_passed_over_does_not_start,
    what_is_done_is_not_done_again,
    an_interruption_is_looked_into,
    attempts_keep_to_the_policy,
    tries_are_made,
    a_repair_counts,
    a_map_keeps_its_limits,
    nothing_starts_while_paused,
    starts_stop_when_the_run_does,
    a_failure_is_acted_upon,
    commands_are_obeyed,
    the_end_is_what_was_intended,
    intent_never_falls,
    rollback_is_what_was_intended,
    rollback_leaves_nothing_unsaid,
    rollback_goes_backwards,
    rollback_begins_when_all_is_still,
    nothing_shielded_is_cut_short,
)


def _succeeds(one: ev.Event) -> TypeGuard[ev.TaskSucceeded | ev.InterruptResolved]:
    """Return whether *one* says that a task is done, or was found to be."""
    if isinstance(one, ev.InterruptResolved):
        return one.answer == "applied"
    return isinstance(one, ev.TaskSucceeded)


def _may_say(one: ev.InterruptResolved, task: Task) -> bool:
    """Return whether *task* leaves what becomes of an interruption to who says so."""
    if one.source == "rerun":
        may = task.on_interrupt == "rerun" or not task.effect
        return one.answer == "not_applied" and (may or (task.retry or NEVER).after_crash)
    return one.source == "person" or not isinstance(task.on_interrupt, str)


def _tries(policy: Task | Recovery | None) -> int:
    """Return how often something is tried, repairs and people aside."""
    return policy.retry.attempts if policy is not None and policy.retry is not None else 1


def _applied(state: RunState) -> Iterator[tuple[str, TaskState]]:
    """Yield the tasks that were started and have an undo."""
    for name, task in state.tasks.items():
        if task.attempt and task.node.undo is not None and task.items is None:
            yield name, task


def _after(state: RunState, name: str) -> dict[str, None]:
    """Return everything that depends on *name*, items included."""
    found: dict[str, None] = {}
    stack = [state.tasks[name].parent or state.tasks[name]]
    while stack:
        for dependent in stack.pop().dependents:
            if dependent.name not in found:
                found[dependent.name] = None
                found.update(dict.fromkeys(item.name for item in dependent.items or ()))
                stack.append(dependent)
    return found

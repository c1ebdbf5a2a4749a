"""Take a run up where its record ends: what was under way is in doubt, the rest goes on.

Everything that the engine had in its hands died with it: calls, threads,
timers, the queue. The record says what they were for. A call whose end is not
recorded may or may not have taken effect, and what to do about that is the
task's own ``on_interrupt=``, or a person's decision; an undo simply runs again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.frozen import frozen
from pyflow.record import events as ev
from pyflow.run import approving, mapping, trying
from pyflow.run import inputs as on
from pyflow.run.maps import MapProgress
from pyflow.run.recovery import Rollback
from pyflow.run.states import STOPPING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = [
    "Past",
    "carry_on",
    "interrupt_answered",
    "is_unclear",
    "resolved",
]

DIED = "the engine ended while it was under way"
INTERRUPTED = ev.ErrorInfo("Interrupted", DIED)


@frozen
class Past:
    """What is recorded of a run that is taken up again."""

    events: Sequence[ev.Event]
    """The events, in order."""

    ages_s: Sequence[float]
    """How long ago each of them was recorded, in seconds."""

    left: Sequence[str] = ()
    """The locks that nobody but this run may take, which it may not have on its record."""

    chance: float = 0.0
    """A random number in [0, 1), for the jitter of waits."""

    roll_back: str | None = None
    """Why the run is taken up to be rolled back, if it is."""

    by: str | None = None
    """Who asked for that."""


def is_unclear(state: TaskState) -> bool:
    """Return whether it is still to be found out whether an interrupted attempt took effect."""
    return state.status == "interrupted" and not state.leftover and not state.settled


def carry_on(m: Machine) -> None:
    """Go on with everything that the record leaves open."""
    past = m.past
    assert past is not None
    m.past = None
    _take_up_maps(m)
    if past.roll_back is not None:
        _turn_back(m, past)
    if m.state.outcome is not None:
        _finish(m, past)
        return
    if m.state.waits_for_resume:
        m.emit(ev.RunUnpaused("resumed"))
    last, since_s = _last_words(past)
    for state in list(m.state.tasks.values()):
        if state.leftover:
            m.emit(ev.LeftoverEnded(state.name))
        if state.status == "waiting":
            _go_on_waiting(m, state, last[state.name], since_s[state.name], past)
        else:
            _take_up(m, state, last.get(state.name), since_s.get(state.name, 0.0))
    for progress in m.maps.values():
        if progress.parent.status == "running":
            mapping.advance_map(m, progress)
    if m.state.intent == "rollback":
        _go_on_undoing(m, last, since_s, again=past.roll_back is not None)
    m.settle_all()


def _take_up(m: Machine, state: TaskState, last: ev.Event | None, since_s: float) -> None:
    """See what the end of the engine means for what was under way."""
    if state.is_asking:
        assert isinstance(last, ev.ApprovalRequested)
        approving.take_up(m, state, last, since_s)
    elif state.status == "running" and state.items is None:
        m.emit(ev.TaskInterrupted(state.name, state.attempt, DIED))
        if state.settled and state.parent is not None:
            mapping.item_settled(m, state)
    if is_unclear(state) and not m.is_stopping and state.name not in m.state.held:
        _find_out(m, state)


def _turn_back(m: Machine, past: Past) -> None:
    """Aim at a rollback, also where the run has ended."""
    assert past.roll_back is not None
    if m.state.intent == "rollback":
        m.emit(ev.IntentRaised("rollback", past.roll_back, None, past.by))
    else:
        m.raise_intent("rollback", past.roll_back, by=past.by)


def _finish(m: Machine, past: Past) -> None:
    """Run the finalizers whose end is not recorded, and end the run."""
    ended: set[str] = set()
    for event in past.events:
        if isinstance(event, ev.OutcomeDecided):
            ended.clear()
        elif isinstance(event, ev.FinalizerSucceeded | ev.FinalizerFailed):
            ended.add(event.name)
    for pair in list(m.finalizers):
        if pair[0].name in ended:
            m.finalizers.remove(pair)
    m.next_finalizer()


TELLING = (
    ev.AttemptFailed,
    ev.RetryScheduled,
    ev.RepairStarted,
    ev.RepairSucceeded,
    ev.RepairFailed,
    ev.HoldReleased,
    ev.InterruptResolved,
    ev.ApprovalRequested,
    ev.UndoStarted,
    ev.UndoRetryScheduled,
)


def _last_words(past: Past) -> tuple[dict[str, ev.Event], dict[str, float]]:
    """Return the last event that says what each task waits for, and how long ago that was."""
    last: dict[str, ev.Event] = {}
    since_s: dict[str, float] = {}
    for event, age_s in zip(past.events, past.ages_s, strict=True):
        if isinstance(event, TELLING):
            last[event.task] = event
            since_s[event.task] = age_s
    return last, since_s


# Going forward ----------------------------------------------------------------------------


def _take_up_maps(m: Machine) -> None:
    for state in list(m.state.tasks.values()):
        if state.items is None:
            continue
        m.maps[state.name] = MapProgress(state)
        m.maps[state.name].take_up()


def _go_on_waiting(
    m: Machine, state: TaskState, last: ev.Event, since_s: float, past: Past
) -> None:
    """Have a task that waits for another try, or for a repair, go on waiting or be tried."""
    if m.is_stopping:
        m.fail(state, f"not tried again: {STOPPING}")
        return
    if isinstance(last, ev.RetryScheduled):
        left_s = round(max(0.0, last.delay_s - since_s), 6)
        m.commands.append(on.SetTimer(("retry", state.name), left_s))
        return
    if isinstance(last, ev.RepairSucceeded | ev.HoldReleased | ev.InterruptResolved):
        m.try_task(state, "repaired" if isinstance(last, ev.RepairSucceeded) else "asked for")
        return
    m.failures[state.name] = _failure(state, past)
    if isinstance(last, ev.RepairStarted):
        m.emit(ev.RepairFailed(state.name, last.repair, INTERRUPTED, 0.0))
    if isinstance(last, ev.AttemptFailed):
        trying.after_failure(m, state)
    else:
        trying.after_repair(m, state)


def _failure(state: TaskState, past: Past) -> on.Failure:
    """Return how the last attempt of a task went wrong, as far as that is recorded."""
    failed = [e for e in past.events if isinstance(e, ev.AttemptFailed) and e.task == state.name]
    kinds = tuple(failed[-1].kinds or ()) if failed else ()
    error = state.error if state.error is not None else INTERRUPTED
    return on.Failure(error, kinds, past.chance, final="pyflow.errors.CodecError" in kinds)


def _find_out(m: Machine, state: TaskState) -> None:
    """Find out whether an interrupted attempt took effect, or do without."""
    task = state.node.task
    retry = task.retry
    if task.on_interrupt == "rerun" or not task.effect:
        m.emit(ev.InterruptResolved(state.name, "not_applied", "rerun", None, None, DIED))
        m.try_task(state, "run again after an interruption")
    elif retry is not None and retry.after_crash:
        m.emit(ev.InterruptResolved(state.name, "not_applied", "rerun", None, None, DIED))
        if state.attempt < retry.attempts:
            m.try_task(state, "tried again after an interruption")
        else:
            m.fail(state, f"tried {state.attempt} of {retry.attempts} times", INTERRUPTED)
    elif state.node.on_interrupt is not None:
        m.looking[state.name] = None
        m.commands.append(on.AskInterrupt(state.name))
    else:
        _ask_a_person(m, state)


def _ask_a_person(m: Machine, state: TaskState) -> None:
    reason = f"needs_decision: nobody knows whether {state.name} took effect"
    m.raise_intent("hold", reason, task=state.name)


def interrupt_answered(m: Machine, happening: on.InterruptAnswered) -> None:
    """Take in what the task's own function found out."""
    state = m.state.tasks[happening.task]
    del m.looking[state.name]
    if not is_unclear(state):
        return
    m.emit(
        ev.InterruptResolved(
            state.name,
            happening.answer,
            happening.source,
            happening.output,
            None,
            happening.reason,
        )
    )
    if happening.answer == "unknown":
        _ask_a_person(m, state)
    else:
        resolved(m, state, happening.answer)


def resolved(m: Machine, state: TaskState, answer: str) -> None:
    """See what follows now that it is known whether an interrupted attempt took effect."""
    if answer == "applied":
        m.succeeded(state)
    else:
        m.try_task(state, "its interrupted attempt did not take effect")
    m.settle_all()


# Going back -------------------------------------------------------------------------------


def _go_on_undoing(
    m: Machine, last: dict[str, ev.Event], since_s: dict[str, float], *, again: bool
) -> None:
    """Take the rollback up: undos that were under way run again, those that waited wait on.

    With *again*, undos that had failed are tried once more as well.
    """
    if not any(state.undo_attempt for state in m.state.tasks.values()):
        return  # none has begun; the machine begins when all is still
    m.rollback = Rollback(m.state)
    for state in m.rollback.begin():
        word = last.get(state.name)
        if state.status == "undo_failed" and not again:
            continue
        if state.status == "undoing" and isinstance(word, ev.UndoRetryScheduled):
            left_s = round(max(0.0, word.delay_s - since_s[state.name]), 6)
            m.commands.append(on.SetTimer(("undo", state.name), left_s))
            m.undo_waits += 1
        else:
            m.queue.append(("undo", state, state.undo_attempt + 1))

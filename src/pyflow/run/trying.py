"""What follows when an attempt failed: another one, a repair, or the failure counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run.recovery import matches
from pyflow.run.retrying import next_try
from pyflow.run.states import STOPPING

if TYPE_CHECKING:
    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = [
    "after_failure",
    "after_repair",
    "attempt_raised",
    "leftover_returned",
    "repair_raised",
    "repair_returned",
    "start_repair",
]


def attempt_raised(m: Machine, happening: on.AttemptRaised) -> None:
    """Take in that an attempt failed."""
    state, failure = m.state.tasks[happening.task], happening.failure
    if state.status != "running":  # it outlived the drain
        return
    m.flying -= 1
    if failure.stopped and m.is_stopping:
        m.emit(ev.TaskCancelled(state.name, f"its wait was cut short: {STOPPING}"))
        m.after_settled(state)
        return
    leftover = failure.leftover or None
    task = state.node.task
    kinds = list(failure.kinds) if task.retry is not None or task.repairs else None
    error, duration_s = failure.error, happening.duration_s
    asks = True if failure.asks else None
    m.emit(ev.AttemptFailed(state.name, state.attempt, error, duration_s, leftover, kinds, asks))
    m.failures[state.name] = failure
    if leftover and not m.is_stopping and may_go_on(state, failure):
        m.commands.append(on.SetTimer(("leftover", state.name), m.drain_s))
    else:
        after_failure(m, state)


def after_failure(m: Machine, state: TaskState) -> None:
    """Try again, repair, or let the failure count."""
    failure = m.failures[state.name]
    if m.is_stopping:
        m.fail(state, f"not tried again: {STOPPING}")
    elif state.leftover:
        m.fail(state, "not tried again: its last attempt is still running")
    else:
        wait = next_try(state.node.task.retry, state.attempt, failure)
        if not isinstance(wait, str):
            m.emit(ev.RetryScheduled(state.name, state.attempt + 1, wait))
            m.commands.append(on.SetTimer(("retry", state.name), wait))
            return
        number = next_repair(state, failure)
        if number is None:
            m.fail(state, wait)
        else:
            m.queue.append(("repair", state, number))


def may_go_on(state: TaskState, failure: on.Failure) -> bool:
    another = next_try(state.node.task.retry, state.attempt, failure)
    return not isinstance(another, str) or next_repair(state, failure) is not None


def next_repair(state: TaskState, failure: on.Failure) -> int | None:
    for number, repair in enumerate(state.node.task.repairs):
        used = state.repairs[number] if state.repairs else 0
        if used < repair.times and matches(repair.on, failure.kinds):
            return number
    return None


def start_repair(m: Machine, state: TaskState, number: int) -> None:
    """Start a repair."""
    fn = state.node.repairs[number].fn
    name = getattr(fn, "__qualname__", type(fn).__qualname__)
    m.repairing[state.name] = number
    m.emit(ev.RepairStarted(state.name, number, name))
    m.commands.append(on.StartRepair(state.name, number))


def repair_returned(m: Machine, happening: on.RepairReturned) -> None:
    """Try the task again, or take the repair's output for its own."""
    state = m.state.tasks[happening.task]
    if state.status != "waiting":  # it outlived the drain
        return
    m.flying -= 1
    number = m.repairing.pop(state.name)
    then = state.node.task.repairs[number].then
    assert then != "undo"
    m.emit(ev.RepairSucceeded(state.name, number, happening.duration_s, then))
    if then == "continue":
        m.failures.pop(state.name, None)
        m.emit(
            ev.TaskSucceeded(
                state.name, state.attempt, happening.duration_s, happening.output, True
            )
        )
        m.succeeded(state)
    elif m.is_stopping:
        m.fail(state, f"repaired, but not tried again: {STOPPING}")
    else:
        m.try_task(state, "repaired")


def repair_raised(m: Machine, happening: on.RepairRaised) -> None:
    """Go on to the next repair, or let the failure count."""
    state, failure = m.state.tasks[happening.task], happening.failure
    if state.status != "waiting":  # it outlived the drain
        return
    m.flying -= 1
    number = m.repairing.pop(state.name)
    m.emit(ev.RepairFailed(state.name, number, failure.error, happening.duration_s))
    after_repair(m, state)


def after_repair(m: Machine, state: TaskState) -> None:
    """Go on to the next repair after one that failed, or let the failure count."""
    later = next_repair(state, m.failures[state.name])
    if later is None or m.is_stopping:
        m.fail(state, "its repair failed")
    else:
        m.queue.append(("repair", state, later))


def leftover_returned(m: Machine, happening: on.LeftoverReturned) -> None:
    """Take in that a thread which outlived its attempt has ended."""
    state = m.state.tasks[happening.task]
    m.emit(ev.LeftoverEnded(state.name))
    if state.status == "waiting" and state.name in m.failures:
        after_failure(m, state)

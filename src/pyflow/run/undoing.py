"""The rollback phase of the machine: undos in their order, their retries, and the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run.recovery import Rollback, still_applied
from pyflow.run.retrying import next_try

if TYPE_CHECKING:
    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = ["roll_back", "start_undo", "undo_raised", "undo_returned"]


def roll_back(m: Machine) -> None:
    """Begin the undos once all is still, or end the rollback after the last."""
    if m.rollback is None:
        if not m.is_drained and any(s.leftover for s in m.state.tasks.values()):
            return  # a thread that cannot be stopped may still end in time
        m.rollback = Rollback(m.state)
        queue_undos(m, m.rollback.begin())
        if m.queue:
            return
    if m.undo_waits == 0:
        end_rollback(m, m.rollback)


def queue_undos(m: Machine, ready: list[TaskState]) -> None:
    m.queue.extend(("undo", state, state.undo_attempt + 1) for state in ready)


def start_undo(m: Machine, state: TaskState, attempt: int) -> None:
    """Start a try of an undo."""
    m.emit(ev.UndoStarted(state.name, attempt))
    m.commands.append(on.StartUndo(state.name, attempt))


def undo_returned(m: Machine, happening: on.UndoReturned) -> None:
    """Free what waited for this undo."""
    m.flying -= 1
    state = m.state.tasks[happening.task]
    m.emit(ev.UndoSucceeded(state.name, state.undo_attempt, happening.duration_s))
    assert m.rollback is not None
    queue_undos(m, m.rollback.cleared(state))


def undo_raised(m: Machine, happening: on.UndoRaised) -> None:
    """Try the undo again, or leave its effect in the residue."""
    m.flying -= 1
    state, failure = m.state.tasks[happening.task], happening.failure
    attempt, undo = state.undo_attempt, state.node.task.undo
    assert undo is not None
    m.emit(ev.UndoAttemptFailed(state.name, attempt, failure.error, happening.duration_s))
    wait = next_try(undo.retry, attempt, failure)
    if failure.leftover:
        m.emit(ev.UndoFailed(state.name, "its last try is still running"))
    elif isinstance(wait, str):
        m.emit(ev.UndoFailed(state.name, wait))
    else:
        m.emit(ev.UndoRetryScheduled(state.name, attempt + 1, wait))
        m.commands.append(on.SetTimer(("undo", state.name), wait))
        m.undo_waits += 1


def end_rollback(m: Machine, rollback: Rollback) -> None:
    for state, by, reason in rollback.blocked():
        m.emit(ev.UndoBlocked(state.name, by, reason))
    residue = still_applied(rollback.order)
    cause = f"{m.state.cause} failed" if m.state.cause else "a rollback was asked for"
    if residue:
        left = ", ".join(residue)
        m.decide_outcome("rollback_failed", f"{cause}; still applied: {left}", residue)
    else:
        m.decide_outcome("rolled_back", cause, residue)

"""Locks in the machine: what a run asks for, when, and what it gives back.

A run takes the workflow's own locks before anything else, and has them to its
end. A task's locks are asked for before its start is recorded, and given back
once it has settled. Where the task has an undo they stay: an undo runs under
the locks that its task ran under, with nobody in between. What a rollback
leaves applied keeps its locks, as residue.

No two runs wait for each other in a ring: what a run may still ask for sorts
after whatever it may hold meanwhile. `Compiler.check_locks` sees to that.
"""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pyflow.record import events as ev
from pyflow.run import inputs as on
from pyflow.run import resuming
from pyflow.run.recovery import needs_undo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = [
    "MAKE_WAY",
    "ask_for_more",
    "drop_all",
    "give_back",
    "give_back_at_the_end",
    "holder_met",
    "is_short",
    "locks_taken",
    "to_take_up",
]

MAKE_WAY = MappingProxyType[str, Literal["cancel", "rollback"]](
    {"cancel_holder": "cancel", "roll_back_holder": "rollback"}
)
"""What a run that is in the way is asked to do, by the policy of whoever waits for it."""


def to_take_up(m: Machine) -> on.TakeLocks | None:
    """Return which locks a run needs before it goes on where its record ends, if any.

    What it had when it was left is among them, whatever the plan says by now:
    nobody else could ever give that back.
    """
    assert m.past is not None
    undone = [one for one in m.state.tasks.values() if needs_undo(one)]
    for_undos = (lock for one in undone for lock in one.node.locks)
    resources = tuple(sorted({*m.plan.locks, *m.state.locks, *m.past.left, *for_undos}))
    epochs = m.state.epochs
    had = tuple((resource, epochs[resource]) for resource in resources if resource in epochs)
    return on.TakeLocks(resources, m.plan.on_locked, had) if resources else None


def is_short(m: Machine, state: TaskState) -> bool:
    """Return whether the run lacks a lock that *state* needs."""
    needed = state.node.locks
    return bool(needed) and any(lock not in m.state.locks for lock in needed)


def ask_for_more(m: Machine) -> None:
    """Ask for the locks of tasks that may run; who needs what was asked for waits for that."""
    waiting, m.lockers = m.lockers, deque()
    for state in waiting:
        lacking = tuple(lock for lock in state.node.locks if lock not in m.state.locks)
        if not lacking:
            m.queue.append(("attempt", state, state.attempt + 1))
        elif any(not set(lacking).isdisjoint(asked) for asked in m.asked_locks.values()):
            m.lockers.append(state)
        else:
            m.asked_locks[state.name] = lacking
            m.lockers.append(state)
            m.commands.append(on.TakeLocks(lacking, m.plan.on_locked, task=state.name))


def locks_taken(m: Machine, happening: on.LocksTaken) -> None:
    """Go on with what waited for these locks, or see what it means that they cannot be had."""
    task = happening.task
    if task is not None:
        m.asked_locks.pop(task, None)
    for lease in happening.leases:
        m.emit(ev.LockAcquired(lease.resource, lease.epoch, happening.waited_s, task))
    if happening.refusal is not None:
        _refused(m, task, happening.refusal)
    elif task is None:
        m.go_on()


def _refused(m: Machine, task: str | None, refusal: str) -> None:
    """Fail the task; end a run that has not begun; leave one that has for a later resume."""
    if task is not None:
        state = m.state.tasks[task]
        if state in m.lockers:
            m.lockers.remove(state)
            m.reasons.pop(task)
            m.fail(state, "its locks cannot be had", ev.ErrorInfo("LockError", refusal))
            m.settle_all()
    elif m.past is not None:
        m.commands.append(on.Leave())
    elif m.state.outcome is None:
        m.end_unbegun(refusal)


def holder_met(m: Machine, happening: on.HolderMet) -> None:
    """Ask a run that is in the way to cancel, once, if that is the policy."""
    is_over = m.is_stopping or m.state.outcome is not None
    command = MAKE_WAY.get(m.plan.on_locked)
    if command is None or is_over or happening.run_id in m.asked_holders:
        return
    m.asked_holders[happening.run_id] = None
    asked = command if command != "cancel" else None
    m.emit(ev.HolderAsked(happening.resource, happening.epoch, happening.run_id, asked))
    m.commands.append(on.AskHolder(happening.resource, happening.run_id, command))


def drop_all(m: Machine) -> None:
    """Ask for nothing any more."""
    m.lockers.clear()
    m.commands += [on.DropLocks(task) for task in m.asked_locks]
    m.asked_locks.clear()


def give_back(m: Machine) -> None:
    """Give back the locks of tasks that have settled, as far as nothing needs them any more."""
    if m.past is not None or m.state.outcome is not None:
        return
    spare = [lock for lock in m.state.locks if lock not in m.plan.locks]
    if spare:
        needed = {lock for s in m.state.tasks.values() if _needs(m, s) for lock in s.node.locks}
        _release(m, [lock for lock in spare if lock not in needed])


def give_back_at_the_end(m: Machine) -> None:
    """Give back all that is not kept because of residue; the workflow's own are kept by any of it."""
    assert m.state.outcome is not None
    residue = m.state.outcome.residue or ()
    kept = {lock for name in residue for lock in m.state.tasks[name].node.locks}
    if residue:
        kept.update(m.plan.locks)
    _release(m, [lock for lock in m.state.locks if lock not in kept])


def _needs(m: Machine, state: TaskState) -> bool:
    """Return whether *state* may still run under its locks, or has them for its undo."""
    return (
        state.status in ("running", "waiting", "undoing")
        or state.leftover
        or needs_undo(state)
        or resuming.is_unclear(state)
        or state.name in m.reasons
        or state.name in m.state.held
    )


def _release(m: Machine, resources: Iterable[str]) -> None:
    given = tuple(sorted(resources))
    for resource in given:
        m.emit(ev.LockReleased(resource, m.state.locks[resource]))
    if given:
        m.commands.append(on.GiveLocks(given))

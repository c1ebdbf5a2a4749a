"""What people ask of a run: pause, cancel, roll back, and the decision of a hold.

Each answer is None where something changed, else why not; both are recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.record import events as ev
from pyflow.run import approving, passing, resuming
from pyflow.run.joins import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyflow.run import inputs as on
    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState
    from pyflow.run.states import Intent

__all__ = ["asked"]


def asked(m: Machine, happening: on.Asked) -> None:
    """Take in what somebody asked, and record the answer."""
    note = _ANSWERS[happening.command](m, happening)
    m.emit(
        ev.CommandReceived(
            happening.command,
            note is None,
            happening.by,
            happening.reason,
            happening.task,
            note,
            happening.inbox_id,
        )
    )


def ask_pause(m: Machine, happening: on.Asked) -> str | None:
    if m.state.status != "running":
        return f"the run is {m.state.status}"
    m.emit(ev.RunPaused(happening.reason or "asked for", happening.by))
    return None


def ask_unpause(m: Machine, happening: on.Asked) -> str | None:
    if not m.state.paused:
        return f"the run is {m.state.status}, not paused"
    m.emit(ev.RunUnpaused(happening.reason, happening.by))
    return None


def ask_stop(m: Machine, happening: on.Asked) -> str | None:
    if m.state.outcome is not None:
        return f"the run has ended as {m.state.outcome.status}"
    intent: Intent = "cancel" if happening.command == "cancel" else "rollback"
    return m.raise_intent(
        intent, happening.reason or f"{happening.command} was asked for", by=happening.by
    )


def ask_decision(m: Machine, happening: on.Asked) -> str | None:
    task = happening.task or ""
    decision = "retry" if happening.command == "retry" else "skip"
    if decision == "skip" and passing.is_passable(m, task):
        return passing.ask_skip(m, happening)
    if m.state.intent != "hold" or task not in m.state.held:
        held = ", ".join(m.state.held) or "nothing"
        return f"{task!r} does not wait for a decision; {held} does"
    state = m.state.tasks[task]
    if state.is_asking:
        return f"{task} waits for an answer; approve or reject it"
    if state.status == "interrupted":
        return f"nobody knows whether {task} took effect; resolve it as applied or not_applied"
    if decision == "retry" and state.items is not None:
        return f"{task} is a map, whose items cannot be tried again together; skip it or roll back"
    m.emit(ev.HoldReleased(decision, task, happening.by, happening.reason))
    if decision == "retry":
        _take_back(m, state)
        m.try_task(state, "a person asked for it")
    m.settle_all()
    return None


def _take_back(m: Machine, state: TaskState) -> None:
    """Hold back again what was ready, and waits for *state* once more."""
    for one in state.dependents:
        verdict, _ = judge(one.node.task.join, len(one.node.depends_on), one)
        if one.status == "pending" and verdict == "wait":
            passing.take_from_line(m, one)


def ask_resolve(m: Machine, happening: on.Asked) -> str | None:
    state = m.state.tasks.get(happening.task or "")
    if state is None or not resuming.is_unclear(state):
        status = f"is {state.status}" if state is not None else "is no task of this run"
        return f"{happening.task!r} {status}, so there is nothing to resolve"
    assert happening.answer is not None
    m.emit(
        ev.InterruptResolved(
            state.name,
            happening.answer,
            "person",
            happening.output,
            happening.by,
            happening.reason,
        )
    )
    resuming.resolved(m, state, happening.answer)
    return None


_ANSWERS: dict[str, Callable[[Machine, on.Asked], str | None]] = {
    "pause": ask_pause,
    "unpause": ask_unpause,
    "cancel": ask_stop,
    "rollback": ask_stop,
    "retry": ask_decision,
    "skip": ask_decision,
    "promote": passing.ask_promote,
    "resolve": ask_resolve,
    "approve": approving.answer,
    "reject": approving.answer,
}

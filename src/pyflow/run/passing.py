"""What people pass over: tasks that wait or look count as passed, at once or when their turn comes.

`skip` passes over one task or one step that is under way, `promote` all that
the workflow says a promotion leaves out. Both are on the record with who
decided and why, so a run that is taken up again leaves out the same. Neither
passes over what changes something once that has begun, nor a question that
whoever asks could not have answered.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from pyflow.record import events as ev
from pyflow.run import approving
from pyflow.run import inputs as on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = ["ask_promote", "ask_skip", "is_passable", "leave_out", "take_from_line"]

OPEN = ("pending", "waiting", "running")
TO_COME = ("pending", "blocked")


def is_passable(m: Machine, name: str) -> bool:
    """Return whether *name* is a task that may be passed over, or a step of such tasks."""
    return bool(_named(m, name))


def ask_skip(m: Machine, happening: on.Asked) -> str | None:
    """Pass over a task, or a step, that is under way; return why not, if that makes no sense."""
    name = happening.task or ""
    refusal = _refusal(m, happening)
    if refusal is not None:
        return refusal
    left = [state for state in _named(m, name) if _may_pass(m, state)]
    if not left:
        return f"{name} is over already"
    if not any(_is_present(m, state) for state in left):
        return f"{name} has not begun"
    return _pass_over(m, happening, "skip", left)


def ask_promote(m: Machine, happening: on.Asked) -> str | None:
    """Pass over all that a promotion leaves out; return why not, if that makes no sense."""
    found = [s for s in m.state.tasks.values() if s.node.task.skip_on_promotion]
    if not found:
        return "nothing in this workflow is declared skip_on_promotion="
    refusal = _refusal(m, happening)
    if refusal is not None:
        return refusal
    left = [s for s in found if s.name not in m.state.passing and _may_pass(m, s)]
    if not left:
        return "nothing is left that a promotion would leave out"
    in_the_way = [name for name in m.state.held if m.state.tasks[name] not in left]
    if in_the_way:
        return f"the run is held for {', '.join(in_the_way)}; decide on that before"
    return _pass_over(m, happening, "promote", left)


def _named(m: Machine, name: str) -> list[TaskState]:
    task = m.state.tasks.get(name)
    if task is not None:
        return [task] if task.node.task.skippable else []
    return [s for s in m.state.tasks.values() if s.node.task.skippable == name]


def _may_pass(m: Machine, state: TaskState) -> bool:
    """Return whether *state* is open, or would be after a decision, and nothing it changes has begun."""
    if state.attempt > 0 and state.node.task.effect:
        return False
    if state.status == "blocked":
        return m.state.intent == "hold"
    return state.status in OPEN or (state.status == "failed" and state.name in m.state.held)


def _is_present(m: Machine, state: TaskState) -> bool:
    """Return whether *state* is under way, asks, waits in line, or is what the run is held for."""
    return state.status not in TO_COME or state.name in m.reasons


def _refusal(m: Machine, happening: on.Asked) -> str | None:
    if m.state.outcome is not None:
        return f"the run has ended as {m.state.outcome.status}"
    if m.is_stopping:
        return f"the run already aims at {m.state.intent}"
    return None if happening.by else f"{happening.command} needs by=: who says so"


def _pass_over(
    m: Machine, happening: on.Asked, command: Literal["skip", "promote"], left: Sequence[TaskState]
) -> str | None:
    for state in left:
        refusal = approving.why_not_passed_over(m, state, happening)
        if refusal is not None:
            return f"{state.name} is a question, and {refusal}"
    assert happening.by is not None
    names = [state.name for state in left]
    m.emit(ev.PassedOver(command, names, happening.by, happening.reason))
    present = [state for state in left if _is_present(m, state)]
    for state in present:
        _end(m, state)
    if present:  # otherwise nothing follows yet; the run may even wait for its locks still
        m.settle_all()
    return None


def _end(m: Machine, state: TaskState) -> None:
    """End what is under way of *state*."""
    if state.status == "failed":
        decided = m.state.passing[state.name]
        m.emit(ev.HoldReleased("skip", state.name, decided.by, decided.reason, True))
        return
    take_from_line(m, state)
    if (state.status == "running" and not state.is_asking) or state.name in m.repairing:
        m.flying -= 1
        m.commands.append(on.EndCall(state.name))
    m.repairing.pop(state.name, None)
    m.failures.pop(state.name, None)
    leave_out(m, state)


def leave_out(m: Machine, state: TaskState) -> None:
    """Settle *state*, which a person has passed over, as passed."""
    decided = m.state.passing[state.name]
    what = "skipped" if decided.command == "skip" else "left out of a promotion"
    m.emit_settled(ev.TaskSkipped(state.name, f"{what} by {decided.by}", decided.by, True))


def take_from_line(m: Machine, state: TaskState) -> None:
    """Have *state* wait no longer for a slot, for locks, for its condition or to be asked."""
    m.reasons.pop(state.name, None)
    m.queue = deque(work for work in m.queue if work[1] is not state)
    m.lockers = deque(locker for locker in m.lockers if locker is not state)
    m.questions = deque(question for question in m.questions if question is not state)

"""Approvals in the machine: a question is asked, people answer, the run goes on or turns back.

An answer is bound to the digest of what was asked: the plan, the parameters
and the question. One who saw something else has not approved this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.define.fingerprint import approval_digest
from pyflow.record import events as ev
from pyflow.run import inputs as on

if TYPE_CHECKING:
    from pyflow.define.approvals import Approval
    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = [
    "answer",
    "expired",
    "hold_for_approvals",
    "request",
    "take_up",
    "why_not_passed_over",
]


def request(m: Machine, state: TaskState) -> None:
    """Ask the question."""
    approval = state.node.task.approval
    assert approval is not None
    m.emit(ev.TaskStarted(state.name, state.attempt + 1, m.reasons.pop(state.name)))
    _ask(m, state, approval)


def _ask(m: Machine, state: TaskState, approval: Approval) -> None:
    m.emit(
        ev.ApprovalRequested(
            state.name,
            approval.question,
            digest(m, state),
            approval.quorum,
            list(approval.approvers) if approval.approvers is not None else None,
            approval.expires_s,
            approval.on_expiry if approval.expires_s is not None else None,
        )
    )
    if approval.expires_s is not None:
        m.commands.append(on.SetTimer(("approval", state.name), approval.expires_s))


def digest(m: Machine, state: TaskState) -> str:
    """Return what an answer to *state* is bound to."""
    began = m.state.began
    assert began is not None
    assert state.node.task.approval is not None
    question = state.node.task.approval.question
    return approval_digest(m.plan.fingerprint, began.params, state.name, question)


def answer(m: Machine, happening: on.Asked) -> str | None:
    """Take in what somebody answered; return why not, if it does not count."""
    state = m.state.tasks.get(happening.task or "")
    if state is None or state.node.task.approval is None:
        return f"{happening.task!r} is no approval of this run"
    if state.status != "running":
        return f"{state.name} does not wait for an answer; it is {state.status}"
    refusal = _refusal(m, state, happening)
    if refusal is not None:
        return refusal
    _count(m, state, happening)
    return None


def why_not_passed_over(m: Machine, state: TaskState, happening: on.Asked) -> str | None:
    """Return why whoever asks may not pass *state* over, if it is a question that they may not."""
    approval = state.node.task.approval
    if approval is None:
        return None
    if approval.quorum > 1:
        return f"{approval.quorum} people have to approve it"
    return _refusal(m, state, happening)


def _refusal(m: Machine, state: TaskState, happening: on.Asked) -> str | None:
    approval, by = state.node.task.approval, happening.by
    assert approval is not None
    if not by:
        return "an answer needs by=: who gives it"
    if approval.approvers is not None and by not in approval.approvers:
        return f"{by} is not among the approvers: {', '.join(approval.approvers)}"
    if happening.digest is not None and happening.digest != digest(m, state):
        return "the answer is bound to another plan, other parameters or another question"
    began = m.state.began
    if approval.not_initiator and began is not None and began.initiator.get("id") == by:
        return f"{by} started the run, and somebody else has to answer"
    if by in state.approved_by and happening.command == "approve":
        return f"{by} has approved already"
    return None


def _count(m: Machine, state: TaskState, happening: on.Asked) -> None:
    approval = state.node.task.approval
    assert approval is not None
    verdict = "approve" if happening.command == "approve" else "reject"
    mark = digest(m, state)
    m.emit(ev.ApprovalAnswered(state.name, verdict, mark, happening.by, happening.reason))
    if verdict == "reject":
        said = f": {happening.reason}" if happening.reason else ""
        m.fail(state, f"rejected by {happening.by}{said}")
    elif len(state.approved_by) >= approval.quorum:
        _approve(m, state)


def _approve(m: Machine, state: TaskState) -> None:
    output = {"approved_by": list(state.approved_by)}
    m.emit(ev.TaskSucceeded(state.name, state.attempt, 0.0, output))
    m.succeeded(state)


def expired(m: Machine, state: TaskState) -> None:
    """See what follows when nobody has answered in time."""
    approval = state.node.task.approval
    if not state.is_asking:
        return
    assert approval is not None
    m.emit(ev.ApprovalAnswered(state.name, "expire", digest(m, state)))
    if approval.on_expiry == "approve":
        _approve(m, state)
    elif approval.on_expiry == "reject":
        m.fail(state, "nobody answered in time")


def hold_for_approvals(m: Machine) -> None:
    """Hold the run for its questions, once nothing else of it can go on."""
    tasks = m.state.tasks.values()
    waiting = [state for state in tasks if state.is_asking]
    goes_on = m.reasons or m.looking or any(state.status == "waiting" for state in tasks)
    if not waiting or goes_on:
        return
    for state in waiting:
        assert state.node.task.approval is not None
        question = state.node.task.approval.question
        m.raise_intent("hold", f"approval: {question}", task=state.name)


def take_up(m: Machine, state: TaskState, asked: ev.ApprovalRequested, age_s: float) -> None:
    """Go on waiting for the answer, after a resume, for what is left of its time.

    Where the plan has changed meanwhile, the question is asked anew.
    """
    approval = state.node.task.approval
    assert approval is not None
    if asked.digest != digest(m, state):
        _ask(m, state, approval)
    elif approval.expires_s is not None and not state.expired:
        left_s = round(max(0.0, approval.expires_s - age_s), 6)
        m.commands.append(on.SetTimer(("approval", state.name), left_s))

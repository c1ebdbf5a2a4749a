"""What a held run waits for, in words, with the calls that decide it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.run.resuming import is_unclear

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.define.approvals import Approval
    from pyflow.run.state import RunState, TaskState

__all__ = ["to_decide"]


def to_decide(run: RunState) -> tuple[str, ...]:
    """Return a line for each thing that *run* waits for a person for, and one that ends it."""
    if run.intent != "hold":
        return ()
    return (*(_line(run.tasks[name]) for name in run.held), _ending(run))


def _line(state: TaskState) -> str:
    name, approval = state.name, state.node.task.approval
    if approval is not None and state.is_asking:
        asks = f"{name} asks {approval.question!r}{''.join(_terms(state, approval))}"
        return f"{asks}: run.approve({name!r}, by=...) or run.reject({name!r}, by=...)"
    if is_unclear(state):
        return (
            f"{name} was interrupted, and nobody knows whether it took effect: "
            f"run.resolve({name!r}, 'applied', output=..., by=...) or "
            f"run.resolve({name!r}, 'not_applied', by=...)"
        )
    again = "" if state.items is not None else f"run.retry({name!r}, by=...) or "
    return f"{name} has failed: {again}run.skip({name!r}, by=...)"


def _terms(state: TaskState, approval: Approval) -> Iterator[str]:
    """Yield who may answer, and how many have to, where that is not anybody and one."""
    if approval.approvers is not None:
        yield f" of {', '.join(approval.approvers)}"
    if approval.quorum > 1:
        have = f" ({', '.join(state.approved_by)})" if state.approved_by else ""
        yield f", where {len(state.approved_by)} of {approval.quorum} have approved{have}"


def _ending(run: RunState) -> str:
    for state in run.tasks.values():
        if state.attempt and state.node.task.point_of_no_return:
            return f"or end it: run.cancel(by=...); {state.name} is a point of no return"
    return "or end it: run.roll_back(by=...) or run.cancel(by=...)"

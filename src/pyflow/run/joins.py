"""When a task may run: the whole of the join semantics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyflow.run.state import TaskState

__all__ = ["judge"]


def judge(  # noqa: PLR0911 - one return for each line of the rule
    join: str, total: int, state: TaskState
) -> tuple[str, str]:
    """Return what *join* says of a task, and why: `run`, `skip`, `block` or `wait`.

    This is the whole of the join semantics; *total* dependencies, of which
    `state` has counted those that succeeded, failed, and have not settled.
    """
    ok, bad, unmet = state.ok, state.bad, state.unmet
    if join == "any" and ok:
        return "run", _count(ok, total, state, "succeeded")
    if join == "success" and bad:
        return "block", _count(bad, total, state, "failed")
    if unmet:
        return "wait", ""
    if join == "done":
        return "run", _count(total, total, state, "settled")
    if join == "failure":
        return ("run", _count(bad, total, state, "failed")) if bad else ("skip", "nothing failed")
    if ok:
        return "run", _count(ok, total, state, "succeeded")
    if bad:
        return "block", f"none of {total} dependencies succeeded"
    return "skip", "everything that it depends on was skipped"


def _count(number: int, total: int, state: TaskState, what: str) -> str:
    """Say how many of *total* dependencies did *what*; of one, say which."""
    if what == "succeeded" and state.passed_over:
        what = "was passed over" if total == 1 else "succeeded or were passed over"
    if total == 1:
        return f"{state.node.depends_on[0]} {what}"
    return f"{number} of {total} dependencies {what}"

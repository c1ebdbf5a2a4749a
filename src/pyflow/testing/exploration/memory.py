"""What the past of a run can still mean for its future: the part of it that tells two states apart.

Two runs in the same state go the same way from there, however they got to it.
So of a task that is done this keeps that it was started, and forgets after how
many tries, and what was saved for tries that will not be made. Whatever some
function, some policy or some invariant may look at stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyflow.run.state import RunState, TaskState
    from pyflow.testing.exploration.recorder import Recorder

__all__ = ["remembered_by"]

DONE = ("succeeded", "skipped")
"""What is tried no more, unless it is undone."""


def remembered_by(state: RunState, recorder: Recorder) -> object:
    """Return what an engine, and whoever takes the run up after it, knows of the past."""
    tasks = state.tasks
    return (
        tuple(map(_task, tasks.values(), (name in state.passing for name in tasks))),
        frozenset(recorder.outputs.items()),
        frozenset(one for one in recorder.saved.items() if _may_read(tasks.get(one[0][0]))),
        frozenset(one for one in recorder.ended.items() if not _is_undone(tasks.get(one[0][1]))),
        recorder.finalizer,
        recorder.resumed,  # each time, what functions had kept in variables was lost
    )


def _task(state: TaskState, passing: bool) -> object:
    if state.status in DONE:
        return state.status, bool(state.attempt), state.passed, passing
    measured = tuple((m.check, m.number, m.verdict, repr(m.values)) for m in state.measured)
    error = state.error.type if state.error else None
    tried = (state.attempt, state.undo_attempt, state.leftover, error)
    return state.status, *tried, state.passed, passing, state.repairs, measured


def _may_read(state: TaskState | None) -> bool:
    """Return whether a call is to come that may read what *state* has saved."""
    if state is None:
        return True
    if state.status in DONE:
        return state.node.undo is not None
    return state.status != "undone"


def _is_undone(state: TaskState | None) -> bool:
    return state is not None and state.status == "undone"

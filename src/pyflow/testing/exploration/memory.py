"""What the past of a run can still mean for its future: the part of it that tells two states apart.

Two runs in the same state go the same way from there, however they got to it.
So of a task that is done this keeps that it was started, and forgets after how
many tries; of an output that no function asks for it keeps nothing. Whatever
some function, some policy or some invariant may look at stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyflow.define.plan import Callee, Plan
    from pyflow.run.state import RunState, TaskState
    from pyflow.testing.exploration.recorder import Recorder

__all__ = ["consumed", "remembered_by"]

DONE = ("succeeded", "skipped")
"""What is tried no more, unless it is undone."""


def consumed(plan: Plan) -> frozenset[str]:
    """Return the tasks whose output some function of *plan* asks for."""
    return frozenset(
        wire.source for callee in _callees(plan) for wire in callee.wiring if wire.kind == "output"
    ) | frozenset(node.over[1] for node in plan.nodes.values() if node.over is not None)


def _callees(plan: Plan) -> Iterator[Callee]:
    for node in plan.nodes.values():
        several = (node.call, node.when, node.undo, *node.repairs, node.on_interrupt)
        yield from (callee for callee in several if callee is not None)
    yield from (callee for _, callee in plan.finalizers)


def remembered_by(state: RunState, recorder: Recorder, asked_for: frozenset[str]) -> object:
    """Return what an engine, and whoever takes the run up after it, knows of the past."""
    tasks = state.tasks
    return (
        tuple(map(_task, tasks.values(), (name in state.passing for name in tasks))),
        frozenset(
            (name, out) for name, out in recorder.outputs.items() if _root(name) in asked_for
        ),
        frozenset(one for one in recorder.saved.items() if _may_read(tasks.get(one[0][0]))),
        frozenset(one for one in recorder.ended.items() if not _is_undone(tasks.get(one[0][1]))),
        recorder.finalizer,
        0 if _is_well(state) else recorder.resumed,
    )


def _task(state: TaskState, passing: bool) -> object:
    if state.status in DONE:
        return state.status, bool(state.attempt), state.passed, passing
    measured = tuple((m.check, m.number, m.verdict, repr(m.values)) for m in state.measured)
    error = state.error.type if state.error else None
    tried = (state.attempt, state.undo_attempt, state.leftover, error)
    return state.status, *tried, state.passed, passing, state.repairs, measured


def _root(name: str) -> str:
    """Return the task that *name* is an item of, or is."""
    return name.partition("[")[0]


def _may_read(state: TaskState | None) -> bool:
    """Return whether a call is to come that may read what *state* has saved."""
    return state is None or state.status not in DONE or state.node.undo is not None


def _is_undone(state: TaskState | None) -> bool:
    return state is not None and state.status == "undone"


def _is_well(state: RunState) -> bool:
    """Return whether nothing has gone wrong of which only the engine that saw it knows the exception."""
    return state.intent == "proceed" and all(
        s.status in (*DONE, "pending", "running") for s in state.tasks.values()
    )

"""What the past of a run can still mean for its future: the part of it that tells two states apart.

Two runs in the same state go the same way from there, however they got to it.
So of a task that is done this keeps that it was started, and forgets after how
many tries, and what was saved for tries that will not be made. What some
function, some policy or some invariant may look at stays.

Once a run rolls back and nothing of its way forward is left, it acts on what
is applied, and no longer on why it turned back: which task failed, and of
what. That is forgotten as well, unless somebody looks back. An undo and a
finalizer can, with ``ctx.cause`` and ``ctx.outcome``, and so can an invariant;
then nothing of it may be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.run.states import TASK_SETTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyflow.define.plan import Callee, Plan
    from pyflow.run.state import RunState, TaskState
    from pyflow.testing.exploration.recorder import Recorder

__all__ = ["Memory"]

NOTHING = repr(None)
DONE = ("succeeded", "skipped")
"""What is tried no more, unless it is undone."""


class Memory:
    """What is kept of the runs of one plan."""

    def __init__(self, plan: Plan, *, looks_back: bool) -> None:
        """Make a memory; *looks_back* says whether somebody looks at why a run rolls back."""
        self._looks_back = looks_back
        self._read = frozenset(_read_in_rollback(plan))

    def of(self, state: RunState, recorder: Recorder) -> object:
        """Return what an engine, and whoever takes the run up after it, knows of the past."""
        if state.intent == "rollback" and not self._looks_back and _is_drained(state):
            return self._of_rollback(state, recorder)
        tasks = state.tasks
        return (
            tuple(map(_task, tasks.values(), (name in state.passing for name in tasks))),
            frozenset(recorder.outputs.items()),
            frozenset(one for one in recorder.saved.items() if _may_read(tasks.get(one[0][0]))),
            *_calls(state, recorder, _may_read),
        )

    def _of_rollback(self, state: RunState, recorder: Recorder) -> object:
        """Return what matters once the run does nothing but take back."""
        tasks = state.tasks
        saved = (one for one in recorder.saved.items() if _may_undo(tasks.get(one[0][0])))
        return (
            tuple([self._left_of(one) for one in tasks.values()]),
            frozenset([one for one in recorder.outputs.items() if one[1] != NOTHING]),
            frozenset(saved),
            *_calls(state, recorder, _may_undo),
        )

    def _left_of(self, state: TaskState) -> object:
        if _may_undo(state) or self._is_read(state):
            return _task(state, passing=False)
        return "undone" if state.status == "undone" else bool(state.attempt)

    def _is_read(self, state: TaskState) -> bool:
        whole = state if state.parent is None else state.parent
        return whole.name in self._read


def _read_in_rollback(plan: Plan) -> Iterator[str]:
    """Yield the tasks whose output some undo or finalizer of *plan* asks for."""
    undos = [node.undo for node in plan.nodes.values() if node.undo is not None]
    callees: list[Callee] = [*undos, *(callee for _, callee in plan.finalizers)]
    for callee in callees:
        yield from (one.source for one in callee.wiring if one.kind == "output")


def _calls(
    state: RunState, recorder: Recorder, is_open: Callable[[TaskState | None], bool]
) -> tuple[object, ...]:
    """Return what is known of calls that no state of a task shows."""
    ended, called = recorder.ended.items(), recorder.called if recorder.resumed else ()
    return (
        frozenset([one for one in ended if not _is_undone(state.tasks.get(one[0][1]))]),
        recorder.finalizer,
        recorder.resumed,
        # Since it was taken up last: what calls before that kept in variables was lost.
        frozenset([one for one in called if is_open(state.tasks[one[1]])]),
    )


def _is_drained(state: RunState) -> bool:
    """Return whether no task is under way, or to come, that knows what it was told on the way."""
    return all(one.status in TASK_SETTLED and not one.leftover for one in state.tasks.values())


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


def _may_undo(state: TaskState | None) -> bool:
    """Return whether, in a rollback, an undo is under way or to come that may read what *state* saved."""
    if state is None:  # a finalizer
        return True
    return state.node.undo is not None and bool(state.attempt) and state.status != "undone"


def _is_undone(state: TaskState | None) -> bool:
    return state is not None and state.status == "undone"

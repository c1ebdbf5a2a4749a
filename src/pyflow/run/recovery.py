"""The order of a rollback: who is undone when, and what is left when it is over.

An undo may run once everything that depends on its task has been taken back.
One that fails does not stop the undos that are independent of it; what it
blocks stays applied, and is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyflow.run.state import RunState, TaskState

__all__ = ["Rollback", "matches", "needs_undo", "still_applied"]

IN_DOUBT = "its last attempt is still running, so it cannot be undone now"


def matches(
    types: type[BaseException] | tuple[type[BaseException], ...], kinds: Iterable[str]
) -> bool:
    """Return whether an exception with the classes *kinds* is one of *types*, by qualified name."""
    wanted = types if isinstance(types, tuple) else (types,)
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in wanted}
    return any(kind in names for kind in kinds)


def needs_undo(state: TaskState) -> bool:
    """Return whether *state* was started, has an undo, and is not undone."""
    return (
        state.attempt > 0
        and state.node.undo is not None
        and state.items is None
        and state.status != "undone"
    )


def still_applied(order: Iterable[TaskState]) -> list[str]:
    """Return the names in *order* whose effect has not been taken back."""
    return [state.name for state in order if needs_undo(state)]


class Rollback:
    """Works off the undos of one run, in reverse dependency order.

    A task is clear when nothing of it is applied any more; that is at once
    for one that has no undo or was never started, as soon as all that depends
    on it is clear. A map is clear when all its items are.
    """

    def __init__(self, run: RunState) -> None:
        self._run = run
        plan = run.plan
        self._unclear = {name: len(node.dependents) for name, node in plan.nodes.items()}
        self._items: dict[str, int] = {}
        self.order = self._in_order()

    def _in_order(self) -> list[TaskState]:
        """Return every task and item, each before all that it depends on."""
        order: list[TaskState] = []
        for stage in reversed(self._run.plan.stages):
            for name in stage:
                state = self._run.tasks[name]
                order.append(state)
                order.extend(state.items or ())
        return order

    def begin(self) -> list[TaskState]:
        """Return the tasks whose undo may run at once."""
        ready: list[TaskState] = []
        ends = [self._run.tasks[name] for name, count in self._unclear.items() if count == 0]
        self._visit(ends, ready)
        return ready

    def cleared(self, state: TaskState) -> list[TaskState]:
        """Return the tasks whose undo may run now that *state* is undone."""
        ready: list[TaskState] = []
        self._visit(self._clear(state), ready)
        return ready

    def _visit(self, stack: list[TaskState], ready: list[TaskState]) -> None:
        """Pass through what is clear by itself, and collect what has to be undone."""
        while stack:
            state = stack.pop()
            if state.items:
                self._items[state.name] = len(state.items)
                for item in state.items:
                    if not needs_undo(item):
                        stack.extend(self._clear(item))
                    elif not item.leftover:
                        ready.append(item)
            elif not needs_undo(state):
                stack.extend(self._clear(state))
            elif not state.leftover:
                ready.append(state)

    def _clear(self, state: TaskState) -> list[TaskState]:
        """Count *state* as clear, and return the tasks that nothing applied depends on any more."""
        if state.parent is not None:
            self._items[state.parent.name] -= 1
            if self._items[state.parent.name]:
                return []
            state = state.parent
        freed: list[TaskState] = []
        for name in state.node.depends_on:
            self._unclear[name] -= 1
            if self._unclear[name] == 0:
                freed.append(self._run.tasks[name])
        return freed

    def blocked(self) -> Iterator[tuple[TaskState, list[str], str]]:
        """Yield what could not be tried, with what stands in its way and why."""
        for state in self.order:
            if not needs_undo(state) or state.status == "undo_failed":
                continue
            if state.leftover:
                yield state, [state.name], IN_DOUBT
            else:
                by = self._in_the_way(state)
                yield state, by, f"{', '.join(by)} is still applied and depends on it"

    def _in_the_way(self, state: TaskState) -> list[str]:
        """Return the nearest dependents of *state* that are still applied."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        stack = list((state.parent or state).dependents)
        while stack:
            dependent = stack.pop()
            if dependent.name in seen:
                continue
            seen.add(dependent.name)
            applied = [s.name for s in (dependent, *(dependent.items or ())) if needs_undo(s)]
            found.update(dict.fromkeys(applied))
            if not applied:
                stack.extend(dependent.dependents)
        return list(found)

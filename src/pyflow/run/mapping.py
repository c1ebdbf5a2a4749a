"""Maps in the machine: items start, settle, and give the map its output."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pyflow.record import events as ev
from pyflow.run.maps import MapProgress
from pyflow.run.states import STOPPING

if TYPE_CHECKING:
    from pyflow.run import inputs as on
    from pyflow.run.machine import Machine
    from pyflow.run.state import TaskState

__all__ = ["finish_map", "item_settled", "items_listed"]


def items_listed(m: Machine, happening: on.ItemsListed) -> None:
    """Make the items of a map into tasks, once they are known."""
    state = m.state.tasks[happening.task]
    if state.status != "pending":
        return
    m.reasons.pop(state.name)
    if happening.error is not None:
        m.fail(state, "its items could not be listed", happening.error)
        return
    m.emit(ev.MapExpanded(state.name, list(happening.names), list(happening.items)))
    m.maps[state.name] = MapProgress(state)
    advance_map(m, m.maps[state.name])


def item_settled(m: Machine, item: TaskState) -> None:
    """See what a settled item means for its map."""
    assert item.parent is not None
    progress = m.maps[item.parent.name]
    progress.settled(item)
    advance_map(m, progress)


def advance_map(m: Machine, progress: MapProgress) -> None:
    """Queue the next items, or give up on them; settle the map after its last one."""
    if progress.has_failed and not m.is_stopping:
        give_up_items(m, progress)
    elif not m.is_stopping:
        for item in progress.admit():
            m.admit(item, f"item of {progress.parent.name}")
    finish_map(m, progress)


def give_up_items(m: Machine, progress: MapProgress) -> None:
    given_up = {item.name: item for item in progress.items if item.status == "pending"}
    m.queue = deque(work for work in m.queue if work[1].name not in given_up)
    m.lockers = deque(locker for locker in m.lockers if locker.name not in given_up)
    for item in given_up.values():
        m.reasons.pop(item.name, None)
        m.emit(ev.TaskCancelled(item.name, progress.reason()))


def finish_map(m: Machine, progress: MapProgress) -> None:
    """Settle a map whose last item has settled."""
    parent = progress.parent
    if parent.items_open or parent.status != "running":
        return
    if not progress.has_failed:
        duration_s = max((item.duration_s for item in progress.items), default=0.0)
        m.emit(ev.TaskSucceeded(parent.name, 1, duration_s, progress.outputs()))
        m.succeeded(parent)
    elif m.is_stopping:
        m.emit_settled(ev.TaskCancelled(parent.name, STOPPING))
    else:
        error = next((item.error for item in progress.items if item.error is not None), None)
        m.fail(parent, progress.reason(), error)

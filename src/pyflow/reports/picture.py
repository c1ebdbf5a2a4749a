"""What there is to draw of a plan: boxes with what they say, and the arrows between them.

A dependency that others imply is not drawn: where c waits for b, and b for a,
an arrow from a to c says nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.frozen import frozen
from pyflow.record.rendering import fitted
from pyflow.spans import worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyflow.define.plan import Node, Plan
    from pyflow.define.task import Function, Task

__all__ = ["NAME_COLUMNS_MAX", "Arrow", "Box", "Kind", "Picture", "pictured"]

Kind: TypeAlias = Literal["task", "approval", "map"]

NAME_COLUMNS_MAX = 36
NOTE_COLUMNS_MAX = 44


@frozen
class Box:
    """A task as it is drawn."""

    name: str
    """Its whole name."""

    label: str
    """Its name in visible characters, cut where it is long."""

    notes: tuple[str, ...]
    """What else is to be known of it, a line each."""

    kind: Kind
    """What it is."""

    is_final: bool
    """Whether nothing is rolled back once it has started."""


@frozen
class Arrow:
    """A dependency as it is drawn."""

    source: str
    """What is waited for."""

    target: str
    """What waits."""

    is_plain: bool
    """Whether it waits for a success, as nearly all do."""


@frozen
class Picture:
    """A plan as boxes and arrows."""

    title: str
    """What it is a plan of."""

    boxes: tuple[Box, ...]
    """Every task, in the order of declaration."""

    arrows: tuple[Arrow, ...]
    """The dependencies that no others imply."""

    layers: tuple[tuple[str, ...], ...]
    """The names of the boxes; arrows go from earlier layers to later ones."""


def pictured(plan: Plan) -> Picture:
    """Return what there is to draw of *plan*."""
    needed = _needed(plan)
    arrows = (
        Arrow(source, name, node.task.join == "success")
        for name, node in plan.nodes.items()
        for source in needed[name]
    )
    locks = f", locks {', '.join(plan.locks)}" if plan.locks else ""
    title = fitted(f"{plan.workflow_name}: {len(plan.nodes)} tasks{locks}", 120)
    return Picture(title, tuple(map(_box, plan.nodes.values())), tuple(arrows), plan.stages)


def _needed(plan: Plan) -> Mapping[str, list[str]]:
    """Return for each task the dependencies that no others of its dependencies imply."""
    bits = {name: 1 << number for number, name in enumerate(plan.nodes)}
    above: dict[str, int] = {}
    needed: dict[str, list[str]] = {}
    for name in (name for stage in plan.stages for name in stage):
        depends_on = plan.nodes[name].depends_on
        implied = 0
        for source in depends_on:
            implied |= above[source]
        above[name] = implied
        for source in depends_on:
            above[name] |= bits[source]
        needed[name] = [source for source in depends_on if not implied & bits[source]]
    return needed


def _box(node: Node) -> Box:
    task = node.task
    kind: Kind = "approval" if task.approval else "map" if task.map else "task"
    notes = tuple(fitted(note, NOTE_COLUMNS_MAX) for note in _notes(node))
    return Box(task.name, fitted(task.name, NAME_COLUMNS_MAX), notes, kind, task.point_of_no_return)


def _notes(node: Node) -> Iterator[str]:
    task = node.task
    if task.when is not None:
        yield f"if {_called(task.when)}"
    if task.join != "success":
        yield f"waits for {JOINS[task.join]}"
    if task.approval is not None:
        yield f"asks: {task.approval.question}"
    if node.over is not None:
        yield f"for each of {node.over[1]}"
    elif task.map is not None:
        yield "for each of its items"
    if task.locks:
        yield f"locks {', '.join(task.locks)}"
    yield from _recoveries(task)


def _recoveries(task: Task) -> Iterator[str]:
    tries = [f"{task.retry.attempts} tries"] if task.retry and task.retry.attempts > 1 else []
    tries += [f"{worded(task.timeout_s)} each"] if task.timeout_s is not None else []
    if tries:
        yield ", ".join(tries)
    for repair in task.repairs:
        yield f"repair: {_called(repair.fn)}"
    if task.undo is not None:
        yield f"undo: {_called(task.undo.fn)}"
    if task.allow_failure:
        yield "may fail"
    if task.point_of_no_return:
        yield "point of no return"


JOINS = {
    "done": "all, however they end",
    "failure": "a failure",
    "any": "any success",
}


def _called(fn: Function) -> str:
    while (inner := getattr(fn, "func", None)) is not None:
        fn = inner
    return str(getattr(fn, "__name__", type(fn).__name__))

"""Compile a workflow once, and have every later one of the same shape take its place.

A factory makes a new workflow for every run, so that no run inherits what
another left in a closure. Compiling each would take longer than running it.
Workflows that a factory makes differ in their functions' closures and in
nothing else; so the plan stays, and only the functions are exchanged.
"""

from __future__ import annotations

import dataclasses
import functools
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pyflow.define.task import Finalizer, Recovery, Task
from pyflow.define.workflow import Workflow
from pyflow.errors import shown
from pyflow.frozen import fields_of, replace
from pyflow.testing.errors import SimulationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyflow.define.plan import Callee, Plan

__all__ = ["Cell", "Template", "unequal"]

FUNCTIONS = ("fn", "when", "on_interrupt")
ELSEWHERE = ("defined_at",)


def _parts(cls: type) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[str, ...]]:
    """Return what gets the values that are compared of a *cls*, and the names of its functions."""
    names = [name for name in fields_of(cls) if name not in ELSEWHERE]
    values = attrgetter(*(name for name in names if name not in FUNCTIONS))
    return values, tuple(name for name in names if name in FUNCTIONS)


PARTS = {cls: _parts(cls) for cls in (Task, Recovery, Finalizer)}
ANEW = "Let the factory make all that a run changes anew, and draw nothing by itself."


def unequal(what: object) -> SimulationError:
    """Return the error for a factory of which equal runs are not equal."""
    return SimulationError(f"equal runs differ: {what}\n{ANEW}")


class Cell:
    """Stands in a plan for a function that is exchanged from run to run."""

    def __init__(self, fn: Any) -> None:
        self.fn = fn
        self.__qualname__ = getattr(fn, "__qualname__", type(fn).__qualname__)

    def __call__(self, **arguments: Any) -> Any:
        """Call the present function."""
        return self.fn(**arguments)


class Template:
    """The plan of what a factory makes."""

    def __init__(self, factory: Callable[[], object]) -> None:
        self._factory = factory
        self._workflow: Workflow | None = None
        self._cells: list[Cell] = []
        self.plan: Plan

    def renew(self) -> bool:
        """Make another workflow; return whether `plan` is a new one, rather than new inside.

        Raises:
            DefinitionError: The workflow is wrong.
            SimulationError: The factory did not return a workflow.
        """
        workflow = self._factory()
        if not isinstance(workflow, Workflow):
            raise SimulationError(
                f"the factory returned {shown(workflow)}; expected a Workflow, a new one each time"
            )
        if self._workflow is not None and _same_shape(workflow, self._workflow):
            for cell, fn in zip(self._cells, _functions(workflow), strict=True):
                cell.fn = fn
            return False
        self._workflow, self._cells = workflow, []
        self.plan = self._with_cells(workflow.check())
        return True

    def _with_cells(self, plan: Plan) -> Plan:
        nodes = {
            name: replace(
                node,
                call=self._cell(node.call),
                when=self._cell(node.when),
                undo=self._cell(node.undo),
                repairs=tuple(map(self._cell, node.repairs)),
                on_interrupt=self._cell(node.on_interrupt),
            )
            for name, node in plan.nodes.items()
        }
        finalizers = tuple((one, self._cell(callee)) for one, callee in plan.finalizers)
        return dataclasses.replace(plan, nodes=nodes, finalizers=finalizers)

    def _cell(self, callee: Callee | None) -> Any:
        if callee is None:
            return None
        self._cells.append(Cell(callee.fn))
        return replace(callee, fn=self._cells[-1])


def _functions(workflow: Workflow) -> Iterator[Any]:
    """Yield the functions of *workflow*, in the order in which a plan holds them."""
    for task in workflow.tasks:
        yield task.fn
        if task.when is not None:
            yield task.when
        mine = [recovery for recovery in workflow.recoveries if recovery.task == task.name]
        yield from (recovery.fn for recovery in mine if recovery.then == "undo")
        yield from (recovery.fn for recovery in mine if recovery.then != "undo")
        if not isinstance(task.on_interrupt, str):
            yield task.on_interrupt
    yield from (finalizer.fn for finalizer in workflow.finalizers)


def _same_shape(one: Workflow, other: Workflow) -> bool:
    """Return whether two workflows differ in their functions' closures alone."""
    return (
        _options(one) == _options(other)
        and _alike(one.tasks, other.tasks)
        and _alike(one.recoveries, other.recoveries)
        and _alike(one.finalizers, other.finalizers)
    )


def _options(workflow: Workflow) -> tuple[Any, ...]:
    return (
        workflow.name,
        workflow.on_failure,
        workflow.on_locked,
        workflow.max_parallel,
        workflow.locks,
        list(workflow.params.items()),
        [(name, one.depends_on, one.scope) for name, one in workflow.includes.items()],
        workflow.problems,
    )


def _alike(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    pairs = zip(ones, others, strict=False)
    return len(ones) == len(others) and all(_same(one, other) for one, other in pairs)


def _same(one: Any, other: Any) -> bool:
    values, functions = PARTS[type(one)]
    if values(one) != values(other):
        return False
    pairs = ((getattr(one, name), getattr(other, name)) for name in functions)
    return all(a is b or _same_code(a, b) for a, b in pairs)


def _same_code(one: Any, other: Any) -> bool:
    """Return whether two functions are one function, perhaps around other variables."""
    if isinstance(one, str):
        return bool(one == other)
    if _is_partial(one) and _is_partial(other):
        return _fixed(one) == _fixed(other) and _same_code(one.func, other.func)
    code = getattr(one, "__code__", None)
    if code is None:
        return _same_object(one, other)
    return code is getattr(other, "__code__", None) and _defaults(one) == _defaults(other)


def _same_object(one: Any, other: Any) -> bool:
    """Return whether two callable objects hold equal values, so that a plan holds the same of them."""
    if type(one) is not type(other) or isinstance(one, type):
        return False
    held: dict[str, Any] | None = getattr(one, "__dict__", None)
    return held is not None and held == other.__dict__


def _is_partial(fn: object) -> bool:
    return isinstance(fn, functools.partial)


def _fixed(fn: Any) -> tuple[Any, ...]:
    return fn.args, fn.keywords


def _defaults(fn: Any) -> tuple[Any, ...]:
    return fn.__defaults__, fn.__kwdefaults__

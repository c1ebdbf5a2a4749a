"""Turn a `Workflow` into a `Plan`: checked, ordered, ready to run.

A plan is a value. Equal workflows compile to equal plans, so a resuming
engine can hold today's plan against the one its journal recorded and name
what changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyflow.define.compiler import Compiler
from pyflow.define.fingerprint import Identities
from pyflow.define.wiring import Callee
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.define.policies import OnFailure, OnLocked
    from pyflow.define.task import Finalizer, Param, Task
    from pyflow.define.workflow import Workflow
    from pyflow.record.values import Decoder

__all__ = ["Callee", "Node", "Plan", "compile_plan"]


@frozen
class Node:
    """A task in its place: what it waits for, and what waits for it."""

    task: Task
    """The definition."""

    depends_on: tuple[str, ...]
    """Every task that it waits for, named or implied by a parameter."""

    dependents: tuple[str, ...]
    """Every task that waits for it."""

    call: Callee
    """Its function."""

    when: Callee | None
    """The function that decides whether it is needed."""

    undo: Callee | None
    """The function that takes its effect back."""

    repairs: tuple[Callee, ...]
    """The functions that may mend its failure."""

    on_interrupt: Callee | None
    """The function that finds out, after a crash, whether an attempt took effect."""

    returns: Decoder
    """Makes its recorded output into the type that its function declares."""

    over: tuple[str, str] | None
    """Kind and name of what supplies a map's items, where they are not fixed."""

    digest: str
    """Changes when the definition changes."""

    locks: tuple[str, ...] = ()
    """The locks that it needs besides the workflow's, in sorted order."""

    def __repr__(self) -> str:
        return f"<Node {self.task.name}>"


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow, checked and in order. It never changes again."""

    workflow_name: str
    """Name of the workflow this plan came from."""

    nodes: Mapping[str, Node] = field(repr=False)
    """Every task by name, in the order of declaration."""

    finalizers: tuple[tuple[Finalizer, Callee], ...] = field(repr=False)
    """The finalizers, in the order in which they run."""

    params: Mapping[str, Param] = field(repr=False)
    """The parameters, those of included workflows with their prefix."""

    on_failure: OnFailure
    """What an unhandled failure leads to."""

    locks: tuple[str, ...]
    """Resources that the run holds throughout, in the order in which it takes them."""

    on_locked: OnLocked
    """What it does where another run has one of them."""

    max_parallel: int | None
    """How many tasks may be under way at once."""

    stages: tuple[tuple[str, ...], ...] = field(repr=False)
    """Each stage waits only for earlier stages; its own tasks may run
    concurrently."""

    critical_path: tuple[str, ...] = field(repr=False)
    """A longest chain of tasks that wait for one another."""

    fingerprint: str
    """SHA-256 of the whole definition: equal plans, equal fingerprints."""

    defined_in: str = field(default="", repr=False)
    """The file whose code made the workflow, as Python knows it. Equal plans may differ in it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __str__(self) -> str:
        lines = [
            f"plan of {self.workflow_name!r} ({len(self.nodes)} tasks, {self.fingerprint[:12]})"
        ]
        lines += [f"  {n}. {', '.join(stage)}" for n, stage in enumerate(self.stages, start=1)]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: a drawing."""
        from pyflow.reports.notebook import plan_bundle  # noqa: PLC0415 - only notebooks ask for it

        return plan_bundle(self)

    @property
    def digests(self) -> dict[str, str]:
        """The digest of every task, to tell later what has changed."""
        return {name: node.digest for name, node in self.nodes.items()}


def compile_plan(workflow: Workflow) -> Plan:
    """Check *workflow* and fix the order of its tasks.

    Tasks of one stage keep the order the workflow declared, so one
    definition gives one plan in every process.

    Args:
        workflow: The definition to compile. It is read and left as it was.

    Returns:
        A plan that holds every task of *workflow* exactly once.

    Raises:
        DefinitionError: The workflow cannot be run; the error lists every
            problem, not only the first.
    """
    compiler = Compiler(workflow)
    compiler.run()
    if compiler.problems:
        raise DefinitionError(f"workflow {shown(workflow.name)}", compiler.problems)

    identities = Identities()
    nodes = {name: _node(compiler, name, identities) for name in compiler.tasks}
    digests = {name: node.digest for name, node in nodes.items()}
    return Plan(
        workflow_name=workflow.name,
        nodes=nodes,
        finalizers=tuple(
            (finalizer, compiler.callee(finalizer.fn, wiring))
            for finalizer, wiring in zip(workflow.finalizers, compiler.finalizers, strict=True)
        ),
        params=dict(workflow.params),
        on_failure=workflow.on_failure,
        locks=tuple(sorted(workflow.locks)),
        on_locked=workflow.on_locked,
        max_parallel=workflow.max_parallel,
        stages=compiler.stages,
        critical_path=compiler.critical_path,
        fingerprint=identities.fingerprint(workflow, digests),
        defined_in=workflow.defined_in,
    )


def _node(compiler: Compiler, name: str, identities: Identities) -> Node:
    task, wired = compiler.tasks[name], compiler.wired[name]
    return Node(
        task=task,
        depends_on=compiler.depends_on[name],
        dependents=tuple(compiler.dependents[name]),
        call=compiler.callee(task.fn, wired.call),
        when=compiler.callee(task.when, wired.when) if task.when is not None else None,
        undo=compiler.callee(task.undo.fn, wired.undo) if task.undo is not None else None,
        repairs=tuple(
            compiler.callee(repair.fn, wiring)
            for repair, wiring in zip(task.repairs, wired.repairs, strict=True)
        ),
        on_interrupt=(
            compiler.callee(task.on_interrupt, wired.on_interrupt)
            if not isinstance(task.on_interrupt, str)
            else None
        ),
        returns=compiler.returns(task),
        over=wired.over,
        digest=identities.digest(task, compiler.depends_on[name]),
        locks=compiler.own_locks(task),
    )

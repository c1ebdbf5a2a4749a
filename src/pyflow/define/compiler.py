"""The checks behind `compile_plan`, one step after another, collecting every problem."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from pyflow.define.problems import (
    BadFunction,
    ClashingNames,
    Cycle,
    DuplicateName,
    DuplicateUndo,
    EmptyWorkflow,
    ImpossibleJoin,
    LockOrder,
    MissingInput,
    NotIsolatable,
    UnknownDependency,
    UnknownInput,
    UnknownRecovered,
    UnusedInput,
)
from pyflow.define.task import Function, Ref, Task
from pyflow.define.wiring import (
    Callee,
    Names,
    Signature,
    Wirer,
    Wiring,
    callee_of,
    is_async,
    outer,
    read_signature,
    unusable,
)
from pyflow.errors import CodecError, Problem, shown
from pyflow.frozen import replace
from pyflow.record.values import Decoder, decoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyflow.define.workflow import Workflow

__all__ = ["Compiler", "not_isolatable", "unimportable"]

HINTS_MAX = 20
"""How many problems look for a name that was meant; each looks at every name."""

RINGS_MAX = 20
"""How many cycles are looked for; each costs a walk over the graph."""


@dataclass(slots=True)
class Wired:
    """The wirings of one task's functions."""

    call: Wiring = ()
    when: Wiring = ()
    undo: Wiring = ()
    repairs: tuple[Wiring, ...] = ()
    on_interrupt: Wiring = ()
    over: tuple[str, str] | None = None


class Compiler:
    """Checks one workflow. `problems` is empty at the end if a plan can be made."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.problems: list[Problem | str] = list(workflow.problems)
        self.tasks: dict[str, Task] = {}
        self.wired: dict[str, Wired] = {}
        self.depends_on: dict[str, tuple[str, ...]] = {}
        self.dependents: dict[str, list[str]] = {}
        self.sequence: list[str] = []  # tasks that are in no cycle, each after what it waits for
        self.finalizers: list[Wiring] = []
        self.stages: tuple[tuple[str, ...], ...] = ()
        self.critical_path: tuple[str, ...] = ()
        self._signatures: dict[int, Signature] = {}
        self._returns: dict[int, Decoder] = {}
        self._callees: dict[int, Callee] = {}
        self._known: tuple[str, ...] = ()
        self._unclear: set[str] = set()  # tasks of which not every dependency is known

    def run(self) -> None:
        """Take every step, whatever the ones before have found; order what turns out sound."""
        self.check_names()
        self.attach_recoveries()
        self.read_signatures()
        self.wire()
        self.place_includes()
        self.check_dependencies()
        self.check_joins()
        self.check_isolation()
        if not self.problems:
            self.check_locks()
            self.order()

    def known(self) -> tuple[str, ...]:
        """Return every name, to find the one that was meant; none once many problems are found."""
        return self._known if len(self.problems) < HINTS_MAX else ()

    # Steps --------------------------------------------------------------------------------

    def check_names(self) -> None:
        """Every name is there once, and no two differ only in case."""
        if not self.workflow.tasks and not self.workflow.includes:
            self.problems.append(EmptyWorkflow())
        places: dict[str, str] = {}
        for name, place in self._named():
            if name in places:
                self.problems.append(DuplicateName(name, places[name], place))
            places.setdefault(name, place)
        folded: dict[str, str] = {}
        for name in places:
            other = folded.setdefault(name.lower(), name)
            if other != name:
                self.problems.append(ClashingNames(name, other))
        for task in self.workflow.tasks:
            self.tasks.setdefault(task.name, task)
        self._known = ("ctx", *self.tasks, *self.workflow.params, *self.workflow.includes)

    def _named(self) -> Iterator[tuple[str, str]]:
        for name in self.workflow.params:
            yield name, f"{self.workflow.defined_at} (params=)"
        for prefix, include in self.workflow.includes.items():
            yield prefix, include.defined_at
        for task in self.workflow.tasks:
            yield task.name, task.defined_at
        for finalizer in self.workflow.finalizers:
            yield finalizer.name, finalizer.defined_at

    def attach_recoveries(self) -> None:
        """Every recovery belongs to a task, which has at most one undo."""
        for recovery in self.workflow.recoveries:
            task = self.tasks.get(recovery.task)
            if task is None:
                self.problems.append(
                    UnknownRecovered(recovery.task, recovery.defined_at, self.known())
                )
            elif recovery.then != "undo":
                self.tasks[task.name] = replace(task, repairs=(*task.repairs, recovery))
            elif task.undo is not None:
                self.problems.append(
                    DuplicateUndo(task.name, task.undo.defined_at, recovery.defined_at)
                )
            else:
                self.tasks[task.name] = replace(task, undo=recovery)

    def read_signatures(self) -> None:
        """Everything that is to be called can be."""
        for task in self.tasks.values():
            for role, fn in _functions(task):
                self._read(task.name, role, fn)
        for finalizer in self.workflow.finalizers:
            self._read(finalizer.name, "finalizer", finalizer.fn)

    def _read(self, task: str, role: str, fn: Function) -> None:
        if id(fn) in self._signatures:
            return
        reason = unusable(fn)
        if reason is None:
            try:
                self._signatures[id(fn)] = read_signature(fn)
            except (ValueError, TypeError):
                reason = f"is {shown(fn)}, whose signature cannot be read; wrap it in a def"
        if reason is not None:
            self.problems.append(BadFunction(task, role, reason))
            self._unclear.add(task)

    def wire(self) -> None:
        """Every argument has a source; a task's output among them is a dependency."""
        returns = {name: self._output_type(task) for name, task in self.tasks.items()}
        names = Names(returns, self.workflow.params)
        wirer = Wirer(self._signatures, names, self.known)
        for name, task in self.tasks.items():
            before = len(self.problems)
            self.wired[name], implied = self._wire_task(wirer, names, task)
            declared = [self._meant(dep, task.scope) for dep in task.depends_on]
            self.depends_on[name] = tuple(dict.fromkeys((*declared, *implied)))
            if len(self.problems) > before:
                self._unclear.add(name)
        for finalizer in self.workflow.finalizers:
            self.finalizers.append(
                self._wire(
                    wirer,
                    finalizer.fn,
                    task=finalizer.name,
                    role="finalizer",
                    scope=finalizer.scope,
                    inputs={},
                    item=False,
                )
            )

    def _output_type(self, task: Task, *, whole: bool = True) -> Any:
        """Return what the output of *task* is; of a map as a *whole*, or of one of its items."""
        signature = self._signatures.get(id(task.fn))
        if whole and task.map is not None:
            return list[Any]
        return Any if signature is None else signature.returns

    def _wire(self, wirer: Wirer, fn: Function | None, **options: Any) -> Wiring:
        if fn is None or id(fn) not in self._signatures:
            return ()
        wiring, problems = wirer.wire(fn, **options)
        self.problems += problems
        return wiring

    def _wire_task(self, wirer: Wirer, names: Names, task: Task) -> tuple[Wired, list[str]]:
        """Return the wirings of the functions of *task*, and the tasks that they depend on."""
        inputs = self._check_inputs(names, task)
        own = self._output_type(task, whole=False)  # recoveries of a map are of its items

        def wire(fn: Function | None, role: str, *, ctx: bool = True, item: bool = True) -> Wiring:
            return self._wire(
                wirer,
                fn,
                task=task.name,
                role=role,
                scope=task.scope,
                inputs=inputs,
                item=item and task.map is not None,
                ctx=ctx,
                own=own,
            )

        wired = Wired(
            call=wire(task.fn, "function"),
            when=wire(task.when, "when=", ctx=False, item=False),
            undo=wire(task.undo.fn if task.undo else None, "undo"),
            repairs=tuple(wire(repair.fn, "repair") for repair in task.repairs),
            on_interrupt=(
                wire(task.on_interrupt, "on_interrupt=")
                if not isinstance(task.on_interrupt, str)
                else ()
            ),
            over=self._wire_over(names, task),
        )
        implied = [i.source for i in (*wired.call, *wired.when) if i.kind == "output"]
        if wired.over is not None and wired.over[0] == "output":
            implied.append(wired.over[1])
        return wired, implied

    def _check_inputs(self, names: Names, task: Task) -> dict[str, str | None]:
        """Return the inputs= of *task*, with None for a source that is reported here."""
        inputs: dict[str, str | None] = dict(task.inputs)
        if not inputs:
            return inputs
        signatures = [self._signatures.get(id(fn)) for _, fn in _functions(task)]
        asked = tuple(
            dict.fromkeys(p.name for one in signatures if one is not None for p in one.parameters)
        )
        for argument, source in task.inputs:
            if argument not in asked and None not in signatures:
                self.problems.append(UnusedInput(task.name, argument, asked))
            elif names.find(source, task.scope) is None:
                self.problems.append(UnknownInput(task.name, argument, source, self.known()))
                inputs[argument] = None
        return inputs

    def _wire_over(self, names: Names, task: Task) -> tuple[str, str] | None:
        if task.map is None or not isinstance(task.map.over, Ref):
            return None
        found = names.find(task.map.over.name, task.scope)
        if found is None:
            self.problems.append(MissingInput(task.name, "over=", task.map.over.name, self.known()))
        return found

    def _meant(self, dep: str, scope: str) -> str:
        """Return the full name of what *dep*, which begins with *scope*, stands for."""
        name, around = dep.removeprefix(scope), scope
        while scope + name not in self.tasks and scope + name not in self.workflow.includes:
            if not scope:
                return dep
            scope = outer(scope)
        return dep if scope == around else scope + name

    def place_includes(self) -> None:
        """A prefix stands for the ends of what was included under it; innermost first."""
        leaves: dict[str, tuple[str, ...]] = {}
        for prefix, inside in self._inside().items():
            include = self.workflow.includes[prefix]
            before = [self._meant(dep, include.scope) for dep in include.depends_on]
            waited_for: set[str] = set()
            for name in inside:
                within = [d for d in self._expand(self.depends_on[name], leaves) if d in inside]
                waited_for.update(within)
                if not within:
                    self.depends_on[name] = tuple(dict.fromkeys((*self.depends_on[name], *before)))
            leaves[prefix] = tuple(name for name in inside if name not in waited_for)
        if leaves:
            for name, deps in self.depends_on.items():
                self.depends_on[name] = tuple(dict.fromkeys(self._expand(deps, leaves)))

    def _inside(self) -> dict[str, dict[str, None]]:
        """Return the tasks under each prefix, in order; the innermost prefixes come first."""
        prefixes = sorted(self.workflow.includes, key=lambda prefix: -prefix.count("."))
        inside: dict[str, dict[str, None]] = {prefix: {} for prefix in prefixes}
        for name in self.tasks if inside else ():
            prefix = name
            while "." in prefix:
                prefix = prefix.rpartition(".")[0]
                if prefix in inside:
                    inside[prefix][name] = None
        return inside

    def _expand(self, deps: Iterable[str], leaves: dict[str, tuple[str, ...]]) -> Iterator[str]:
        for dep in deps:
            if dep in self.tasks:
                yield dep
            else:
                yield from leaves.get(dep, (dep,))

    def check_dependencies(self) -> None:
        """Every dependency is a task, and none leads back to itself."""
        self.dependents = {name: [] for name in self.tasks}
        waiting: dict[str, int] = {}
        for name, deps in self.depends_on.items():
            there = [dep for dep in deps if dep in self.tasks]
            waiting[name] = len(there)
            for dep in there:
                self.dependents[dep].append(name)
            for missing in deps if len(there) < len(deps) else ():
                if missing not in self.tasks:
                    self.problems.append(UnknownDependency(name, missing, self.known()))
        self._sort(waiting)
        if len(self.sequence) < len(self.tasks):
            stuck = {name: self.depends_on[name] for name, count in waiting.items() if count}
            self.problems += _rings(stuck)

    def _sort(self, waiting: dict[str, int]) -> None:
        """Put every task after what it waits for; *waiting* counts that, down to nothing."""
        self.sequence = [name for name, count in waiting.items() if not count]
        for name in self.sequence:  # which grows meanwhile
            for dependent in self.dependents[name]:
                waiting[dependent] -= 1
                if not waiting[dependent]:
                    self.sequence.append(dependent)

    def check_joins(self) -> None:
        """Every join can be met."""
        for name, task in self.tasks.items():
            deps = self.depends_on[name]
            if name in self._unclear:
                continue
            if task.join in ("failure", "any") and not deps:
                self.problems.append(ImpossibleJoin(name, task.join, "it depends on nothing"))
            elif task.join == "failure" and not any(self._may_fail(d) for d in deps):
                self.problems.append(
                    ImpossibleJoin(
                        name, task.join, "nothing that it depends on can count as failed"
                    )
                )

    def _may_fail(self, name: str) -> bool:
        task = self.tasks.get(name)
        return task is None or not task.allow_failure or bool(self.depends_on[name])

    def own_locks(self, task: Task) -> tuple[str, ...]:
        """Return the locks that *task* needs besides the workflow's, in sorted order."""
        return tuple(sorted({*task.locks}.difference(self.workflow.locks)))

    def check_locks(self) -> None:
        """What a run may still ask for sorts after what it may hold by then, so no ring can form.

        It holds the workflow's locks throughout, and those of a task with an
        undo from its start. A task without one holds its own only while it
        runs, and whoever runs does not wait for a lock.
        """
        own = {name: self.own_locks(task) for name, task in self.tasks.items() if task.locks}
        last = max(self.workflow.locks, default="")
        for name, locks in own.items():
            self.problems += [LockOrder(name, lock, last, None) for lock in locks if lock < last]
        before = self._settled_before() if own else {}
        for keeper, kept in own.items():
            if not kept or self.tasks[keeper].undo is None:
                continue
            for name, locks in own.items():
                if name != keeper and name not in before[keeper]:
                    self.problems += [
                        LockOrder(name, lock, kept[-1], keeper)
                        for lock in locks
                        if lock not in kept and lock < kept[-1]
                    ]

    def _settled_before(self) -> dict[str, set[str]]:
        """Return, for each task, those that have all settled before it can start."""
        before: dict[str, set[str]] = {}
        for name in self.sequence:
            waits = self.depends_on[name] if self.tasks[name].join != "any" else ()
            before[name] = set[str](waits).union(*(before[dep] for dep in waits))
        return before

    def check_isolation(self) -> None:
        """What runs elsewhere can be found there."""
        for name, task in self.tasks.items():
            if task.isolation == "thread" and is_async(task.fn):
                self.problems.append(
                    BadFunction(
                        name,
                        "function",
                        'is async, and isolation="thread" is for plain ones; leave it out',
                    )
                )
            if task.isolation == "inline" and task.timeout_s is not None and not is_async(task.fn):
                self.problems.append(
                    BadFunction(
                        name,
                        "function",
                        'is plain with isolation="inline", where nothing could end it, so its '
                        "timeout= would mean nothing; leave one of the two out",
                    )
                )
            if task.isolation == "process":
                self.problems += not_isolatable(task)

    def order(self) -> None:
        """Fix the stages and the critical path; both keep the order of declaration."""
        level: dict[str, int] = {}
        longest: dict[str, str | None] = {}
        for name in self.sequence:
            deps = self.depends_on[name]
            before = max(deps, key=level.__getitem__) if deps else None
            longest[name] = before
            level[name] = level[before] + 1 if before is not None else 0
        stages: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
        for name in self.tasks:
            stages[level[name]].append(name)
        self.stages = tuple(tuple(stage) for stage in stages)
        path: list[str] = []
        at: str | None = stages[-1][0]
        while at is not None:
            path.append(at)
            at = longest[at]
        self.critical_path = tuple(reversed(path))

    # Parts of the plan --------------------------------------------------------------------

    def callee(self, fn: Function, wiring: Wiring) -> Callee:
        """Return *fn* ready to be called; those without arguments are shared."""
        if wiring:
            return callee_of(fn, wiring)
        key = id(fn)
        if key not in self._callees:
            self._callees[key] = callee_of(fn, ())
        return self._callees[key]

    def returns(self, task: Task) -> Decoder:
        """Return what makes the recorded output of *task* into what its function declares."""
        key = id(task.fn)
        if key not in self._returns:
            try:
                self._returns[key] = decoder(self._signatures[key].returns)
            except CodecError:
                self._returns[key] = decoder(Any)
        return self._returns[key]


def _functions(task: Task) -> Iterator[tuple[str, Function]]:
    yield "function", task.fn
    if task.when is not None:
        yield "when=", task.when
    if task.undo is not None:
        yield "undo", task.undo.fn
    for repair in task.repairs:
        yield "repair", repair.fn
    if not isinstance(task.on_interrupt, str):
        yield "on_interrupt=", task.on_interrupt


def _rings(graph: dict[str, tuple[str, ...]]) -> list[Cycle]:
    """Return the cycles in *graph*, each in the direction of waiting; it is used up."""
    places = {name: place for place, name in enumerate(graph)}
    rings: list[Cycle] = []
    while len(rings) < RINGS_MAX:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # graphlib lists the ring against the direction of waiting, its start twice.
            ring: list[str] = list(reversed(error.args[1][1:]))
            at = ring.index(min(ring, key=places.__getitem__))
            rings.append(Cycle((*ring[at:], *ring[:at], ring[at])))
            for name in ring:
                del graph[name]
        else:
            break
    return rings


def not_isolatable(task: Task) -> Iterator[NotIsolatable]:
    """Yield what keeps *task*, its undo and its repairs from a process of their own."""
    for role, fn in _functions(task):
        reason = unimportable(fn) if role in ("function", "undo", "repair") else None
        if reason is not None:
            yield NotIsolatable(task.name, role, reason)


def unimportable(fn: Function) -> str | None:
    """Return why a fresh process could not import *fn*, or None."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", "")
    if module is None or not name:
        return f"{shown(fn)} has no name of its own"
    if module == "__main__":
        return f"{name} is defined in the program itself"
    if name.endswith("<lambda>"):
        return "it is a lambda"
    if "<" in name:
        return f"{name} is defined inside a function"
    there: Any = sys.modules.get(module)
    for part in name.split("."):
        there = getattr(there, part, None)
    if there != fn:
        return f"{module}.{name} is something else"
    return None

"""`Workflow`: where a deployment is written down.

Nothing is refused while it is being written; `check` looks at the whole and
reports every problem together.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, overload

from pyflow.define.approvals import OnExpiry, answered
from pyflow.define.options import Options, TaskRef, as_text, close_coroutine
from pyflow.define.plan import compile_plan
from pyflow.define.policies import (
    ON_FAILURE,
    ON_LOCKED,
    Isolation,
    Join,
    OnFailure,
    OnLocked,
    Retry,
)
from pyflow.define.problems import (
    DuplicateName,
    EmptyInclude,
    InIncluded,
    PolicyConflict,
    UnknownParam,
)
from pyflow.define.task import (
    MISSING,
    Finalizer,
    Function,
    Include,
    MapOver,
    Param,
    Recovery,
    Ref,
    Task,
)
from pyflow.errors import shown
from pyflow.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Unpack

    from pyflow.define.plan import Plan
    from pyflow.errors import Problem
    from pyflow.spans import Span

__all__ = ["Workflow"]

OURS = re.compile(r"pyflow(\.|$)")

F = TypeVar("F", bound=Function)


class TaskOptions(TypedDict, total=False):
    """The options of `Workflow.add_task`, for its decorator."""

    depends_on: TaskRef | Iterable[TaskRef]
    join: Join
    when: Function | None
    retry: Retry | None
    timeout: Span | None
    allow_failure: bool
    point_of_no_return: bool
    on_interrupt: Literal["ask", "rerun"] | Function
    effect: bool
    isolation: Isolation | None
    locks: Iterable[str]
    inputs: Mapping[str, str] | None
    skippable: bool | str
    skip_on_promotion: bool
    background: bool


class RecoveryOptions(TypedDict, total=False):
    """The options of `Workflow.add_recovery`, for its decorator."""

    then: Literal["retry", "continue"] | None
    on: type[BaseException] | tuple[type[BaseException], ...]
    times: int
    retry: Retry | None
    timeout: Span | None


class Workflow:
    """Tasks, what they depend on, and how they are taken back.

    Args:
        name: What the deployment is called, in records and reports.
        params: What a run may be given. A type declares a parameter that has
            to be given; any other value is a default, and its type the type.
        on_failure: What an unhandled failure leads to: `rollback` undoes what
            was started, `stop` starts nothing further, `continue` lets
            independent branches go on, `hold` waits for a person.
        locks: Names of resources that only one run at a time may touch.
        on_locked: What a run does where another one has such a resource: `wait`
            for it, `fail` and say who that is, or `cancel_holder`, which asks
            that one to cancel, and then waits for it; `roll_back_holder` asks
            it to roll back, and takes its place where nothing is left of it.
        max_parallel: How many tasks may be under way at once; None leaves
            that to the engine.
    """

    def __init__(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        on_failure: OnFailure = "rollback",
        locks: Iterable[str] = (),
        on_locked: OnLocked = "wait",
        max_parallel: int | None = None,
    ) -> None:
        self._name = name
        self._on_failure: OnFailure = on_failure
        self._on_locked: OnLocked = on_locked
        self._max_parallel = max_parallel
        self.defined_at = _caller()
        self.defined_in = _program()
        self.tasks: list[Task] = []
        self.recoveries: list[Recovery] = []
        self.finalizers: list[Finalizer] = []
        self.params: dict[str, Param] = {}
        self.includes: dict[str, Include] = {}
        self._options = Options()
        self._plan: Plan | None = None
        self._locks = self._options.locks("workflow", locks)
        self._options.check_workflow(name, on_failure, on_locked, max_parallel)
        for key, declared in self._options.mapping("workflow", "params", params).items():
            param = self._options.param(key, declared)
            self.params[param.name] = param

    def __repr__(self) -> str:
        return f"<Workflow {shown(self.name)} tasks={len(self.tasks)}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """Return what a notebook shows: a drawing, or all that is wrong with it."""
        from pyflow.reports.notebook import workflow_bundle  # noqa: PLC0415 - only notebooks ask for it

        return workflow_bundle(self)

    @property
    def name(self) -> str:
        """What the deployment is called."""
        return self._name

    @property
    def on_failure(self) -> OnFailure:
        """What an unhandled failure leads to."""
        return self._on_failure

    @property
    def locks(self) -> tuple[str, ...]:
        """Resources that only one run at a time may touch."""
        return self._locks

    @property
    def on_locked(self) -> OnLocked:
        """What a run does where another one has such a resource."""
        return self._on_locked

    @property
    def max_parallel(self) -> int | None:
        """How many tasks may be under way at once."""
        return self._max_parallel

    @property
    def problems(self) -> list[Problem | str]:
        """What is wrong so far, in the order in which it was written; `check` finds more."""
        return self._options.problems

    # Building -----------------------------------------------------------------------------

    def add_task(
        self,
        name: str,
        fn: Function,
        *,
        depends_on: TaskRef | Iterable[TaskRef] = (),
        join: Join = "success",
        when: Function | None = None,
        retry: Retry | None = None,
        timeout: Span | None = None,
        allow_failure: bool = False,
        point_of_no_return: bool = False,
        on_interrupt: Literal["ask", "rerun"] | Function = "ask",
        effect: bool = True,
        isolation: Isolation | None = None,
        locks: Iterable[str] = (),
        inputs: Mapping[str, str] | None = None,
        skippable: bool | str = False,
        skip_on_promotion: bool = False,
        background: bool = False,
    ) -> None:
        """Add a task.

        Args:
            name: Its name; dependents receive its output by it.
            fn: What to call, plain or async. A parameter named like a task
                receives that task's output and depends on it; one named like
                a workflow parameter its value; ``ctx`` the context.
            depends_on: Tasks to wait for besides, by name or by function.
            join: What has to have become of them: `success` (none failed and
                one succeeded), `done` (all settled), `failure` (all settled,
                one failed: a handler), `any` (one succeeded).
            when: Asked once the join is satisfied, with the same arguments by
                name; a false answer skips the task, an exception fails it.
            retry: How often it is tried; once, unless this says otherwise.
            timeout: How long one attempt may take.
            allow_failure: Let dependents take its failure for a skip.
            point_of_no_return: Once it has started, nothing is rolled back;
                the run holds for a person instead.
            on_interrupt: What to do after a crash in the middle of it: `ask`
                a person, `rerun` it, or a function that finds out.
            effect: False for a task that only reads; it may run again.
            locks: Resources that only one run at a time may touch, besides the
                workflow's. The run takes them before the task starts; it gives
                them back when the task has settled, or at its end where the
                task has an undo, which runs under the same locks.
            isolation: `inline` (on the loop), `thread` (plain functions) or
                `process` (a fresh interpreter, with a timeout that stops it).
            inputs: Parameters that take the output of a task, or the value of
                a parameter, with another name.
            skippable: Whether people may pass it over while it waits or runs,
                as if it had passed (`Run.skip`): for what only waits or looks.
                A text is the name of a step: all tasks of it can be passed over together.
            skip_on_promotion: Whether it is left out, as if it had passed,
                once a person promotes (`Run.promote`). What changes something
                and has begun goes on.
            background: Whether the run may be held, and wait for people, while
                it is under way: for what watches as long as the run goes on.
        """
        self._add(
            name,
            fn,
            None,
            depends_on=depends_on,
            join=join,
            when=when,
            retry=retry,
            timeout=timeout,
            allow_failure=allow_failure,
            point_of_no_return=point_of_no_return,
            on_interrupt=on_interrupt,
            effect=effect,
            isolation=isolation,
            locks=locks,
            inputs=inputs,
            skippable=skippable,
            skip_on_promotion=skip_on_promotion,
            background=background,
        )

    def add_approval(
        self,
        name: str,
        question: str,
        *,
        approvers: Iterable[str] | None = None,
        quorum: int = 1,
        expires: Span | None = None,
        on_expiry: OnExpiry = "reject",
        not_initiator: bool = False,
        depends_on: TaskRef | Iterable[TaskRef] = (),
        join: Join = "success",
        when: Function | None = None,
        allow_failure: bool = False,
        skippable: bool | str = False,
        skip_on_promotion: bool = False,
    ) -> None:
        """Add a question that people answer: what depends on it waits until they approve.

        A rejection is a failure like any other, so by default it rolls the run
        back. Answers come by `Run.approve` and `Engine.approve`, also from
        another process, and are bound to the plan, the parameters and the
        question. Once nothing else can go on, the run is held. Whoever
        depends on it receives ``{"approved_by": [...]}``.

        Args:
            name: Its name, unique in the workflow.
            question: What is asked, in words.
            approvers: Who may answer; everybody unless given.
            quorum: How many different people have to approve; one rejects.
            expires: How long the question stands; for ever unless given.
            on_expiry: What it counts as after that: `reject`, `approve`, or
                `hold`, which goes on waiting.
            not_initiator: Whether whoever started the run may not answer.
            depends_on: Tasks that it waits for.
            join: What has to have become of them.
            when: Asked once the join is satisfied; a false answer skips the question.
            allow_failure: Whether a rejection counts as a skip.
            skippable: See `add_task`; whoever passes it over has to be
                somebody who may approve, and a quorum is never passed over.
            skip_on_promotion: See `add_task`; the same holds for whoever promotes.
        """
        given = {
            "question": question,
            "approvers": approvers,
            "quorum": quorum,
            "expires": expires,
            "on_expiry": on_expiry,
            "not_initiator": not_initiator,
        }
        self._add(
            name,
            answered,
            None,
            depends_on=depends_on,
            join=join,
            when=when,
            retry=None,
            timeout=None,
            allow_failure=allow_failure,
            point_of_no_return=False,
            on_interrupt="rerun",
            effect=False,
            isolation=None,
            inputs=None,
            approval=self._options.approval(f"approval {shown(name)}", given),
            skippable=skippable,
            skip_on_promotion=skip_on_promotion,
        )

    def add_map(
        self,
        name: str,
        fn: Function,
        *,
        over: str | Ref | Iterable[Any],
        max_parallel: int | None = None,
        tolerate: int = 0,
        depends_on: TaskRef | Iterable[TaskRef] = (),
        join: Join = "success",
        when: Function | None = None,
        retry: Retry | None = None,
        timeout: Span | None = None,
        allow_failure: bool = False,
        point_of_no_return: bool = False,
        on_interrupt: Literal["ask", "rerun"] | Function = "ask",
        effect: bool = True,
        isolation: Isolation | None = None,
        locks: Iterable[str] = (),
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        """Add one task for each item of a list, all with the function *fn*.

        Each item is a task of its own, ``name[item]``, tried and undone on
        its own; *fn* receives it as ``item``. The map's output is the list of
        their outputs, in item order, None where one failed. It settles after
        the last of them; an empty list settles at once.

        Args:
            name: Name of the map.
            fn: What to call for each item.
            over: The items: a list, or the name of a parameter or task that
                supplies one.
            max_parallel: How many items may be under way at once.
            tolerate: How many may fail before the map has failed. What was
                tolerated stays started, so a later rollback undoes it.
            depends_on: As for `add_task`, like everything below.
            join: See `add_task`.
            when: See `add_task`; asked once, for the whole map.
            retry: For each item.
            timeout: For each attempt of each item.
            allow_failure: See `add_task`.
            point_of_no_return: See `add_task`.
            on_interrupt: See `add_task`.
            effect: See `add_task`.
            isolation: See `add_task`.
            locks: See `add_task`; taken once, for the whole map.
            inputs: See `add_task`.
        """
        subject = f"task {shown(name)}"
        self._options.check_limit(subject, "max_parallel", max_parallel)
        self._options.check_tolerance(subject, tolerate)
        self._add(
            name,
            fn,
            MapOver(self._options.items(subject, over), max_parallel, tolerate),
            depends_on=depends_on,
            join=join,
            when=when,
            retry=retry,
            timeout=timeout,
            allow_failure=allow_failure,
            point_of_no_return=point_of_no_return,
            on_interrupt=on_interrupt,
            effect=effect,
            isolation=isolation,
            locks=locks,
            inputs=inputs,
        )

    def add_recovery(
        self,
        task: TaskRef,
        fn: Function,
        *,
        then: Literal["retry", "continue"] | None = None,
        on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        times: int = 1,
        retry: Retry | None = None,
        timeout: Span | None = None,
    ) -> None:
        """Say how the effect of *task* is taken back, or how its failure is repaired.

        Without *then*, *fn* is the task's undo, of which it has at most one:
        it runs in a rollback if the task was started, receives the task's
        output by name (None where it has none), and must check before it
        acts, because after a crash it runs again.

        With *then*, it is a repair: it runs when the task has failed, before
        the failure counts.

        Args:
            task: The task, by name or by function.
            fn: What to call, plain or async.
            then: `retry` to try the task once more, `continue` to take what
                *fn* returns for the task's output.
            on: The failures that a repair is for.
            times: How often a repair may run for one task.
            retry: How often an undo is tried; once, unless this says otherwise.
            timeout: How long one call may take.
        """
        where = _caller()
        self._plan = None
        subject = f"the recovery added at {where}"
        self._options.check_recovery(subject, then, on, times)
        retry = self._options.retry(subject, retry)
        timeout_s = self._options.span(subject, timeout)
        name = self._options.name_of(subject, task)
        if name is not None:
            self.recoveries.append(
                Recovery(name, fn, then or "undo", on, times, retry, timeout_s, where)
            )

    def add_finalizer(self, name: str, fn: Function, *, timeout: Span | None = None) -> None:
        """Have *fn* run once the outcome is decided, whatever it is.

        Finalizers run one after another, in the order of declaration, before
        the run's last record; never while the run is held. Their failures are
        reported and change nothing else.
        """
        where = _caller()
        self._plan = None
        self._options.check_name("finalizer", name)
        timeout_s = self._options.span(f"finalizer {shown(name)}", timeout)
        self.finalizers.append(Finalizer(as_text(name), fn, "", timeout_s, where))

    def include(
        self,
        other: Workflow,
        *,
        prefix: str,
        depends_on: TaskRef | Iterable[TaskRef] = (),
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Add everything in *other* as it is now, each name with ``prefix.`` before it.

        Names resolve inside the prefix first, then outwards. A parameter of
        *other* that has to be given comes from *params*, or from the
        parameter or task of the same name out here. Depending on *prefix*
        means depending on every task of *other* that none of it waits for.

        Args:
            other: The workflow to include. It is read and left as it was.
            prefix: What its names begin with here.
            depends_on: Tasks that all of it waits for.
            params: Values for its parameters; `pyflow.Ref("name")` takes the
                value of a parameter or the output of a task out here.
        """
        where = _caller()
        self._plan = None
        subject = f"include {shown(prefix)}"
        self._options.check_name("prefix", prefix)
        prefix = as_text(prefix)
        if prefix in self.includes:
            self.problems.append(DuplicateName(prefix, self.includes[prefix].defined_at, where))
            return
        before = self._options.refs(subject, depends_on)
        given = self._options.mapping(subject, "params", params)
        self.includes[prefix] = Include(before, "", where)
        if not isinstance(other, Workflow) or other is self:  # pyright: ignore[reportUnnecessaryIsInstance]
            close_coroutine(other)
            expected = "give another Workflow; a function that returns one has to be called"
            self._options.wrong(subject, "other", other, expected)
            return
        self.problems.extend(InIncluded(prefix, problem) for problem in other.problems)
        if not other.tasks:
            self.problems.append(EmptyInclude(prefix))
        self._include_policies(other, prefix)
        self._include_params(other, f"{prefix}.", given)
        self._include_tasks(other, f"{prefix}.")

    @overload
    def task(self, fn: F, /) -> F: ...
    @overload
    def task(
        self, /, *, name: str | None = None, **options: Unpack[TaskOptions]
    ) -> Callable[[F], F]: ...
    def task(
        self, fn: Function | None = None, /, *, name: str | None = None, **options: Any
    ) -> Any:
        """Add the decorated function as a task, and return the function itself.

        Takes the options of `add_task`; *name* is the function's own unless
        given. Works with and without parentheses.
        """

        def add(function: F) -> F:
            own = getattr(function, "__name__", "")
            self.add_task(own if name is None else name, function, **options)
            return function

        if isinstance(fn, str):
            expected = "write @workflow.task, or @workflow.task(name=...)"
            self._options.wrong("@workflow.task", "function", fn, expected)
            return add
        return add if fn is None else add(fn)

    def recovery(self, task: TaskRef, /, **options: Unpack[RecoveryOptions]) -> Callable[[F], F]:
        """Register the decorated function with `add_recovery`, and return the function itself."""

        def add(function: F) -> F:
            self.add_recovery(task, function, **options)
            return function

        return add

    def check(self) -> Plan:
        """Return the plan of this workflow: checked, ordered, frozen.

        Raises:
            DefinitionError: The workflow cannot be run; the error lists every
                problem, not only the first.
        """
        if self._plan is None:
            self._plan = compile_plan(self)
        return self._plan

    # Inside -------------------------------------------------------------------------------

    def _add(self, name: str, fn: Function, over: MapOver | None, **options: Any) -> None:
        where = _caller()
        self._plan = None
        subject = f"task {shown(name)}"
        self._options.check_name("task", name)
        self._options.check_task(subject, options)
        name = as_text(name)
        self.tasks.append(
            Task(
                name=name,
                fn=fn,
                depends_on=self._options.refs(subject, options["depends_on"]),
                join=options["join"],
                when=options["when"],
                retry=self._options.retry(subject, options["retry"]),
                timeout_s=self._options.span(subject, options["timeout"]),
                allow_failure=options["allow_failure"],
                point_of_no_return=options["point_of_no_return"],
                on_interrupt=options["on_interrupt"],
                effect=options["effect"],
                isolation=options["isolation"],
                locks=self._options.locks(subject, options.get("locks", ())),
                inputs=self._options.inputs(subject, options["inputs"]),
                map=over,
                approval=options.get("approval"),
                skippable=options.get("skippable", False),
                skip_on_promotion=options.get("skip_on_promotion", False),
                background=options.get("background", False),
                defined_at=where,
            )
        )
        self._options.note_function(fn, name)

    def _include_policies(self, other: Workflow, prefix: str) -> None:
        if other.on_failure in ON_FAILURE and other.on_failure != self.on_failure:
            self.problems.append(
                PolicyConflict(prefix, "on_failure", other.on_failure, self.on_failure)
            )
        if other.locks and other.on_locked in ON_LOCKED and other.on_locked != self.on_locked:
            self.problems.append(
                PolicyConflict(prefix, "on_locked", other.on_locked, self.on_locked)
            )
        if other.max_parallel not in (None, self.max_parallel):
            self.problems.append(
                PolicyConflict(prefix, "max_parallel", other.max_parallel, self.max_parallel)
            )
        self._locks = tuple(dict.fromkeys((*self.locks, *other.locks)))

    def _include_params(self, other: Workflow, dot: str, given: Mapping[str, Any]) -> None:
        for name, param in other.params.items():
            inner = replace(param, name=dot + name)
            if name in given:
                value = given[name]
                ref = value if isinstance(value, Ref) else None
                default = MISSING if ref else self._options.default(dot + name, value)
                inner = replace(inner, default=default, bound=ref)
            if inner.default is not MISSING or inner.bound is not None:
                self.params[dot + name] = inner
        source, known = f"include(prefix={dot[:-1]!r}, params=)", tuple(other.params)
        self.problems.extend(
            UnknownParam(name, source, known) for name in given if name not in known
        )

    def _include_tasks(self, other: Workflow, dot: str) -> None:
        self.tasks += [
            replace(
                task,
                name=dot + task.name,
                depends_on=tuple(dot + name for name in task.depends_on),
                scope=dot + task.scope,
                skippable=dot + step if isinstance(step := task.skippable, str) else step,
            )
            for task in other.tasks
        ]
        self.recoveries += [replace(r, task=dot + r.task) for r in other.recoveries]
        self.finalizers += [
            replace(f, name=dot + f.name, scope=dot + f.scope) for f in other.finalizers
        ]
        for prefix, include in other.includes.items():
            self.includes[dot + prefix] = replace(
                include,
                depends_on=tuple(dot + name for name in include.depends_on),
                scope=dot + include.scope,
            )
        self._options.note_included(other._options, dot)


def _caller() -> str:
    """Return file and line of the code outside this module that is adding something."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way, and a tenth of inspect's cost
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}"


def _program() -> str:
    """Return the file of the code outside of pyflow that is making a workflow, as Python knows it."""
    frame = sys._getframe(1)  # noqa: SLF001 - as above
    while frame.f_back is not None and OURS.match(str(frame.f_globals.get("__name__"))):
        frame = frame.f_back
    return frame.f_code.co_filename

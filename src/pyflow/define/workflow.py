"""`Workflow`: where a deployment is written down.

Nothing is refused while it is being written; `check` looks at the whole and
reports every problem together.
"""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutine
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar, cast, overload

from pyflow.define.approvals import ON_EXPIRY, Approval, OnExpiry, answered
from pyflow.define.plan import compile_plan
from pyflow.define.policies import (
    ISOLATIONS,
    JOINS,
    ON_FAILURE,
    ON_LOCKED,
    Isolation,
    Join,
    OnFailure,
    OnLocked,
    Retry,
    is_exception_types,
    is_whole,
)
from pyflow.define.problems import (
    BadName,
    BadOption,
    BadParam,
    DuplicateName,
    EmptyInclude,
    InIncluded,
    PolicyConflict,
    UnknownFunction,
    UnknownParam,
)
from pyflow.define.task import (
    MISSING,
    PLAIN,
    Finalizer,
    Function,
    Include,
    MapOver,
    Param,
    Recovery,
    Ref,
    Task,
)
from pyflow.errors import CodecError, DefinitionError, Problem, shown
from pyflow.frozen import replace
from pyflow.record.values import decoder, encode
from pyflow.secrets import Secret
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from typing import Unpack

    from pyflow.define.plan import Plan

__all__ = ["Workflow"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
RESERVED = ("ctx", "item")
OURS = re.compile(r"pyflow(\.|$)")
DEVICE = re.compile(r"con|prn|aux|nul|com[1-9]|lpt[1-9]", re.IGNORECASE)
LIMIT_MAX = 100_000
TIMES_MAX = 1_000
LOCK_CHARS_MAX = 200
SPAN_RULE = (
    'give seconds (90), text with units ("90s", "5m", "1h30m") or a timedelta, '
    "more than nothing and at most a hundred years"
)

F = TypeVar("F", bound=Function)
TaskRef: TypeAlias = "str | Function"


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
        self.problems: list[Problem | str] = []
        self._functions: dict[object, list[str]] = {}
        self._plan: Plan | None = None
        self._locks = self._list_locks("workflow", locks)
        self._check_options()
        for key, declared in self._mapping("workflow", "params", params).items():
            self._declare(key, declared)

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
            approval=self._approval(f"approval {shown(name)}", given),
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
        self._check_limit(subject, "max_parallel", max_parallel)
        if not is_whole(tolerate, 0, LIMIT_MAX):
            expected = f"give a whole number from 0 to {LIMIT_MAX}"
            self.problems.append(BadOption(subject, "tolerate", tolerate, expected))
        self._add(
            name,
            fn,
            MapOver(self._items(subject, over), max_parallel, tolerate),
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
        for option, value, good, expected in (
            (
                "then",
                then,
                then in (None, "retry", "continue"),
                'leave it out, or "retry" or "continue"',
            ),
            ("on", on, is_exception_types(on), "give an exception class or a tuple of them"),
            (
                "times",
                times,
                is_whole(times, 1, TIMES_MAX),
                f"give a whole number from 1 to {TIMES_MAX}",
            ),
        ):
            if not good:
                self.problems.append(BadOption(subject, option, value, expected))
        retry = self._retry(subject, retry)
        timeout_s = self._span(subject, timeout)
        name = self._name_of(subject, task)
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
        self._check_name("finalizer", name)
        timeout_s = self._span(f"finalizer {shown(name)}", timeout)
        self.finalizers.append(Finalizer(_text(name), fn, "", timeout_s, where))

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
        self._check_name("prefix", prefix)
        prefix = _text(prefix)
        if prefix in self.includes:
            self.problems.append(DuplicateName(prefix, self.includes[prefix].defined_at, where))
            return
        before = self._refs(subject, depends_on)
        given = self._mapping(subject, "params", params)
        self.includes[prefix] = Include(before, "", where)
        if not isinstance(other, Workflow) or other is self:  # pyright: ignore[reportUnnecessaryIsInstance]
            _close(other)
            expected = "give another Workflow; a function that returns one has to be called"
            self.problems.append(BadOption(subject, "other", other, expected))
            return
        self.problems += [InIncluded(prefix, problem) for problem in other.problems]
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
            self.problems.append(BadOption("@workflow.task", "function", fn, expected))
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

    def _approval(self, subject: str, given: Mapping[str, Any]) -> Approval:
        """Return the question of an approval; what is wrong with it joins the problems."""
        question, approvers, quorum = given["question"], given["approvers"], given["quorum"]
        people = _people(approvers)
        checks = [
            ("question", isinstance(question, str) and question.strip(), "ask in words"),
            ("approvers", approvers is None or people, "give a list of different names, or None"),
            ("quorum", is_whole(quorum, 1, LIMIT_MAX), "give a whole number from 1"),
            ("on_expiry", given["on_expiry"] in ON_EXPIRY, f"choose from {', '.join(ON_EXPIRY)}"),
            ("not_initiator", isinstance(given["not_initiator"], bool), "give True or False"),
        ]
        if people and is_whole(quorum, 1, LIMIT_MAX) and quorum > len(people):
            checks.append(("quorum", False, f"there are {len(people)} approvers; ask for no more"))
        self.problems += [
            BadOption(subject, option, given[option], expected)
            for option, good, expected in checks
            if not good
        ]
        return Approval(
            question=_text(question),
            approvers=people,
            quorum=quorum,
            expires_s=self._span(subject, given["expires"]),
            on_expiry=given["on_expiry"],
            not_initiator=given["not_initiator"],
        )

    def _add(self, name: str, fn: Function, over: MapOver | None, **options: Any) -> None:
        where = _caller()
        self._plan = None
        subject = f"task {shown(name)}"
        self._check_name("task", name)
        self._check_task(subject, options)
        name = _text(name)
        self.tasks.append(
            Task(
                name=name,
                fn=fn,
                depends_on=self._refs(subject, options["depends_on"]),
                join=options["join"],
                when=options["when"],
                retry=self._retry(subject, options["retry"]),
                timeout_s=self._span(subject, options["timeout"]),
                allow_failure=options["allow_failure"],
                point_of_no_return=options["point_of_no_return"],
                on_interrupt=options["on_interrupt"],
                effect=options["effect"],
                isolation=options["isolation"],
                locks=self._list_locks(subject, options.get("locks", ())),
                inputs=self._inputs(subject, options["inputs"]),
                map=over,
                approval=options.get("approval"),
                skippable=options.get("skippable", False),
                skip_on_promotion=options.get("skip_on_promotion", False),
                background=options.get("background", False),
                defined_at=where,
            )
        )
        self._functions.setdefault(_key(fn), []).append(name)

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
                default = MISSING if ref else self._default(dot + name, value)
                inner = replace(inner, default=default, bound=ref)
            if inner.default is not MISSING or inner.bound is not None:
                self.params[dot + name] = inner
        source, known = f"include(prefix={dot[:-1]!r}, params=)", tuple(other.params)
        self.problems += [UnknownParam(name, source, known) for name in given if name not in known]

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
        for key, names in other._functions.items():
            self._functions.setdefault(key, []).extend(dot + name for name in names)

    # What an option may be; each adds to `problems` what is wrong, and returns what can be used.

    def _check_name(self, what: str, name: object) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.problems.append(BadName(what, name))
        elif name in RESERVED and what in ("task", "parameter"):
            rule = "a function's parameter of that name gets something else; choose another"
            self.problems.append(BadName(what, name, rule))
        elif DEVICE.fullmatch(name):
            rule = "Windows keeps it for a device, and names end up in file names; choose another"
            self.problems.append(BadName(what, name, rule))

    def _check_task(self, subject: str, options: Mapping[str, Any]) -> None:
        rules = (*TASK_RULES, *PASSING_RULES) if "skippable" in options else TASK_RULES
        for option, is_good, expected in rules:  # maps say nothing of how people pass a task over
            if not is_good(options.get(option, False)):
                self.problems.append(BadOption(subject, option, options[option], expected))

    def _check_options(self) -> None:
        self._check_name("workflow", self.name)
        if self.on_failure not in ON_FAILURE:
            expected = f"choose from {', '.join(ON_FAILURE)}"
            self.problems.append(BadOption("workflow", "on_failure", self.on_failure, expected))
        if self.on_locked not in ON_LOCKED:
            expected = f"choose from {', '.join(ON_LOCKED)}"
            self.problems.append(BadOption("workflow", "on_locked", self.on_locked, expected))
        self._check_limit("workflow", "max_parallel", self.max_parallel)

    def _check_limit(self, subject: str, option: str, value: object) -> None:
        if value is not None and not is_whole(value, 1, LIMIT_MAX):
            expected = f"give a whole number from 1 to {LIMIT_MAX}, or None"
            self.problems.append(BadOption(subject, option, value, expected))

    def _list_locks(self, subject: str, locks: object) -> tuple[str, ...]:
        if locks == ():  # as most have none
            return ()
        expected = f"name resources in printable text, 1 to {LOCK_CHARS_MAX} long"
        several = (locks,) if isinstance(locks, str) else locks
        if not isinstance(several, Iterable):
            self.problems.append(BadOption(subject, "locks", locks, expected))
            return ()
        names: list[str] = []
        for lock in cast("Iterable[object]", several):
            if _is_lock(lock):
                names.append(cast("str", lock))
            else:
                self.problems.append(BadOption(subject, "locks", lock, expected))
        return tuple(dict.fromkeys(names))

    def _mapping(self, subject: str, option: str, value: object) -> dict[Any, Any]:
        if value is not None and not isinstance(value, Mapping):
            self.problems.append(BadOption(subject, option, value, "give a dict"))
            return {}
        return dict(cast("Mapping[Any, Any]", value or {}))

    def _inputs(self, subject: str, value: object) -> tuple[tuple[str, str], ...]:
        pairs = self._mapping(subject, "inputs", value)
        if all(isinstance(text, str) for pair in pairs.items() for text in pair):
            return tuple(pairs.items())
        expected = "give a dict from parameters to names of tasks or of parameters"
        self.problems.append(BadOption(subject, "inputs", value, expected))
        return ()

    def _items(self, subject: str, over: str | Ref | Iterable[Any]) -> Ref | tuple[Any, ...]:
        """Return what a map runs over; fixed items as JSON data, a copy of their own."""
        if isinstance(over, Ref):
            return over
        if isinstance(over, str) and over:
            return Ref(over)
        expected = (
            f"give a list of at most {LIMIT_MAX} items, or the name of a parameter or task that "
            "supplies one"
        )
        if isinstance(over, Iterable) and not isinstance(over, (str, bytes, set, frozenset)):  # pyright: ignore[reportUnnecessaryIsInstance]
            items = list(islice(over, LIMIT_MAX + 1))
            try:
                if len(items) <= LIMIT_MAX:
                    return tuple(encode(items, "over"))
            except CodecError as error:
                expected = f"each item goes into the record: {error}"
        _close(over)
        self.problems.append(BadOption(subject, "over", over, expected))
        return ()

    def _declare(self, name: object, declared: Any) -> None:
        self._check_name("parameter", name)
        text = _text(name)
        if _is_type(declared):
            self.params[text] = Param(text, declared, MISSING)
        else:
            default = self._default(text, declared)
            self.params[text] = Param(text, _type_of(declared), default)

    def _default(self, name: str, value: Any) -> Any:
        """Return a copy of *value* as JSON data, or *value* itself where it is an object."""
        if isinstance(value, Secret):
            return value
        try:
            return encode(value, name)
        except CodecError as error:
            if isinstance(value, PLAIN):
                self.problems.append(BadParam(name, f"the default cannot be stored: {error}"))
            return cast("object", value)

    def _refs(self, subject: str, refs: TaskRef | Iterable[TaskRef]) -> tuple[str, ...]:
        if type(refs) in (list, tuple) and all(type(ref) is str for ref in cast("Any", refs)):
            return tuple(dict.fromkeys(cast("Iterable[str]", refs)))  # as most are given
        if isinstance(refs, str) or callable(refs) or iscoroutine(refs):
            refs = (refs,)
        if not isinstance(refs, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            expected = "name tasks, or give their functions"
            self.problems.append(BadOption(subject, "depends_on", refs, expected))
            return ()
        named = [self._name_of(subject, ref) for ref in refs]
        names = [name for name in named if name is not None]
        if isinstance(refs, (set, frozenset)):  # whose order is another one in each process
            names.sort()
        return tuple(dict.fromkeys(names))

    def _name_of(self, subject: str, ref: TaskRef) -> str | None:
        if isinstance(ref, str):
            return ref
        names = self._functions.get(_key(ref), [])
        if len(names) == 1:
            return names[0]
        _close(ref)
        label = getattr(ref, "__qualname__", None) or shown(ref)
        self.problems.append(UnknownFunction(subject, label, tuple(names)))
        return None

    def _retry(self, subject: str, retry: object) -> Retry | None:
        if retry is None or isinstance(retry, Retry):
            return retry
        self.problems.append(BadOption(subject, "retry", retry, "give pyflow.Retry(...)"))
        return None

    def _span(self, subject: str, value: Span | None) -> float | None:
        if value is None:
            return None
        try:
            return seconds(value)
        except DefinitionError:
            self.problems.append(BadOption(subject, "timeout", value, SPAN_RULE))
            return None


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_interrupt_policy(value: object) -> bool:
    return not isinstance(value, str) or value in ("ask", "rerun")


def _is_skippable(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and bool(NAME.fullmatch(value)))


TASK_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("join", JOINS.__contains__, f"choose from {', '.join(JOINS)}"),
    (
        "isolation",
        (None, *ISOLATIONS).__contains__,
        f"choose from {', '.join(ISOLATIONS)}, or leave it out",
    ),
    ("on_interrupt", _is_interrupt_policy, 'choose "ask", "rerun" or a function that finds out'),
    ("allow_failure", _is_bool, "give True or False"),
    ("point_of_no_return", _is_bool, "give True or False"),
    ("effect", _is_bool, "give True or False"),
)
"""What an option of a task may be, and what to write otherwise."""
PASSING_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "skippable",
        _is_skippable,
        "give True, False, or the name of a step, in letters, digits, _ and -",
    ),
    ("skip_on_promotion", _is_bool, "give True or False"),
    ("background", _is_bool, "give True or False"),
)


def _is_lock(value: object) -> bool:
    return (
        isinstance(value, str)
        and value.isprintable()
        and value.strip() == value
        and 0 < len(value) <= LOCK_CHARS_MAX
    )


def _is_type(declared: object) -> bool:
    return isinstance(declared, (type, typing.NewType)) or typing.get_origin(declared) is not None


def _type_of(default: object) -> Any:
    """Return the type of a parameter with *default*: the nearest that stored data can become."""
    if default is None:
        return Any
    return next(cls for cls in type(default).__mro__ if _is_decodable(cls))


def _is_decodable(cls: type) -> bool:
    try:
        decoder(cls)
    except CodecError:
        return False
    return True  # `object` always is


def _people(names: object) -> tuple[str, ...] | None:
    """Return *names* if they are different names of people, else None."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        return None
    people = tuple(cast("Iterable[Any]", names))
    good = all(isinstance(name, str) and name.strip() for name in people)
    return people if people and good and len(set(people)) == len(people) else None


def _close(value: object) -> None:
    """Close *value* if it is a coroutine, so that Python does not warn of it besides."""
    if iscoroutine(value):
        value.close()


def _text(name: object) -> str:
    """Return *name*, or how it shows where it is no text, so that later checks can go on."""
    return name if isinstance(name, str) else shown(name)


def _key(fn: object) -> object:
    """Return what tells one function from another; a bound method is made anew at each look."""
    if isinstance(fn, types.MethodType):
        return id(fn.__self__), id(fn.__func__)
    return id(fn)


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

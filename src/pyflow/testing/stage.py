"""Put a plan on stage: its functions, or fakes in their place, with faults around them.

The plan keeps its shape, and the engine runs it as it runs any other. Only
the functions are wrapped: each call is noted, may meet a fault as it begins
or ends, and goes to a fake where one is given.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pyflow.define.problems import MissingInput
from pyflow.define.task import MISSING
from pyflow.define.wiring import (
    Callee,
    Input,
    Names,
    Wirer,
    callee_of,
    read_signature,
    unusable,
)
from pyflow.errors import nearest, shown
from pyflow.frozen import replace
from pyflow.run.calls import make_context, not_awaitable
from pyflow.testing.behaviour import Act, Behaviour
from pyflow.testing.errors import SimulationError
from pyflow.testing.faults import NO_FAULTS, FaultKind, Faults, act_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from pyflow.define.plan import Node, Plan
    from pyflow.define.task import Function
    from pyflow.errors import Problem
    from pyflow.run.context import AsyncContext, Call, Context
    from pyflow.testing.strands import SimulatedExecutor

__all__ = ["CURRENT", "Fake", "Stage", "StagedCall", "take_time"]

Fake: TypeAlias = "Behaviour | Callable[..., Any]"
"""What stands in for a function: a behaviour, or another function, wired by its parameters."""

STAGED = Input("_staged", "call", "call", None, MISSING)
NAMES = {
    "task": "{}",
    "undo": "undo of {}",
    "repair": "repair of {}",
    "when": "when= of {}",
    "finalizer": "finalizer {}",
    "interrupt": "on_interrupt= of {}",
}


class StagedCall:
    """One call of a function of the simulated run."""

    __slots__ = (
        "_counts",
        "answer",
        "attempt",
        "heard",
        "label",
        "name",
        "outcome",
        "role",
        "task",
    )

    def __init__(self, call: Call, number: int) -> None:
        self.task = call.task
        self.role = call.role
        self.attempt = call.attempt
        self.name = NAMES[call.role].format(call.task)
        self.label = f"{self.name}#{number}"
        self.outcome: Literal["under way", "returned", "raised"] = "under way"
        self.answer: object = None  # of a when= and an on_interrupt=, what it returned
        self.heard: list[object] = []  # what the world has answered it so far
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<StagedCall {self.label}>"

    def __enter__(self) -> None:
        self.outcome = "under way"

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.outcome = "returned" if kind is None else "raised"

    def progress(self) -> object:
        """Return how far the call has got: what it did, and what it was answered."""
        return self.label, tuple(self._counts.items()), tuple(map(repr, self.heard))

    def point(self, op: str) -> str:
        """Return the name of the point at which this call does *op*."""
        count = self._counts[op] = self._counts.get(op, 0) + 1
        return f"{self.label} {op}#{count}"


CURRENT: contextvars.ContextVar[StagedCall | None] = contextvars.ContextVar("call", default=None)
"""The call on whose behalf the present code runs."""


class Stage:
    """Where the functions of one simulated run are called."""

    def __init__(
        self,
        executor: SimulatedExecutor,
        *,
        fakes: Mapping[str, Fake] | None = None,
        faults: Faults = NO_FAULTS,
        on_enter: Callable[[StagedCall], None] | None = None,
    ) -> None:
        self.calls: list[StagedCall] = []
        self.executor = executor
        self._fakes = dict(fakes or {})
        self._faults = faults
        self._on_enter = on_enter
        self._numbers: dict[str, int] = {}
        self._called: dict[tuple[str, str], int] = {}

    # The plan -----------------------------------------------------------------------------

    def bind(self, faults: Faults, on_enter: Callable[[StagedCall], None]) -> None:
        """Have the next run meet *faults*, and have every call of it reported to *on_enter*."""
        self._faults = faults
        self._on_enter = on_enter

    def clear(self) -> None:
        """Forget every call, for another run of the same plan."""
        self.calls.clear()
        self._numbers.clear()
        self._called.clear()

    def put_on(self, plan: Plan) -> Plan:
        """Return *plan* with every function on this stage.

        Raises:
            SimulationError: A fake is for a function that the plan does not have,
                or asks for what its task does not get.
        """
        self._check_fakes(plan)
        nodes = {name: self._node(plan, node) for name, node in plan.nodes.items()}
        finalizers = tuple(
            (finalizer, self._callee(plan, "finalizer", finalizer.name, callee, None))
            for finalizer, callee in plan.finalizers
        )
        return dataclasses.replace(plan, nodes=nodes, finalizers=finalizers)

    def _check_fakes(self, plan: Plan) -> None:
        if not self._fakes:
            return
        known = tuple(_names(plan))
        for name in self._fakes:
            if name not in known:
                near = nearest(name, known)
                hint = f"; did you mean {near!r}?" if near is not None else "."
                raise SimulationError(
                    f"fakes= has {name!r}, and the workflow has no such function{hint} "
                    f"It has: {', '.join(known)}"
                )

    def _node(self, plan: Plan, node: Node) -> Node:
        task = node.task
        stopped = task.isolation == "process"

        def staged(role: str, callee: Callee | None) -> Any:
            if callee is None:
                return None
            made = self._callee(plan, role, task.name, callee, node)
            return self._killable(made) if stopped and role != "when" else made

        return replace(
            node,
            task=replace(task, isolation=None) if stopped else task,
            call=staged("task", node.call),
            when=staged("when", node.when),
            undo=staged("undo", node.undo),
            repairs=tuple(staged("repair", repair) for repair in node.repairs),
            on_interrupt=staged("interrupt", node.on_interrupt),
        )

    def _callee(
        self, plan: Plan, role: str, name: str, callee: Callee, node: Node | None
    ) -> Callee:
        original, fake = callee.fn, None
        what = NAMES[role].format(name) if self._fakes else ""
        if what in self._fakes:
            fake = self._fakes[what]
            if not isinstance(fake, Behaviour):
                callee, fake = _wired(plan, role, name, fake, node), None
        if callee.asynchronous:
            fn = self._staged_async(callee.fn, fake)
        else:
            inline = node is not None and node.task.isolation == "inline"
            fn = self._staged_plain(callee.fn, fake, may_wait=role != "when" and not inline)
        # Records and errors name the function that was meant, whatever stands around it.
        fn.__qualname__ = getattr(original, "__qualname__", type(original).__qualname__)
        return Callee(fn, (*callee.wiring, STAGED), callee.asynchronous, callee.waits)

    def _killable(self, callee: Callee) -> Callee:
        """Return *callee* as a process that a timeout ends runs it: as something to cancel."""
        if callee.asynchronous:
            return callee
        run, contexts = self.executor.run, [w.argument for w in callee.wiring if w.kind == "ctx"]

        async def isolated(**arguments: Any) -> Any:
            for name in contexts:
                if name in arguments:
                    arguments[name] = _blocking(arguments[name])

            def call() -> Any:
                return not_awaitable(callee.fn(**arguments))

            call.__qualname__ = callee.fn.__qualname__
            return await run(call, waits=callee.waits)

        isolated.__qualname__ = callee.fn.__qualname__
        return Callee(isolated, callee.wiring, True)

    # The calls ----------------------------------------------------------------------------

    def _staged_async(self, fn: Function, fake: Behaviour | None) -> Function:
        async def staged(_staged: Call, **arguments: Any) -> Any:
            call = self._enter(_staged)
            CURRENT.set(call)  # every call has a task of its own, and so a context of its own
            with call:
                act = self._begin(call, fake)
                if act.delay_s:
                    await take_time(act.delay_s)
                value = await cast("Awaitable[Any]", fn(**arguments)) if act.does else act.value
                return self._end(call, act, value)

        return staged

    def _staged_plain(self, fn: Function, fake: Behaviour | None, *, may_wait: bool) -> Function:
        def staged(_staged: Call, **arguments: Any) -> Any:
            call = self._enter(_staged)
            with call:
                act = self._begin(call, fake, may_wait=may_wait)

            def perform() -> Any:
                token = CURRENT.set(call)
                try:
                    with call:
                        if act.delay_s:
                            self.executor.wait(lambda: take_time(act.delay_s))
                        value = fn(**arguments) if act.does else act.value
                        return self._end(call, act, value)
                finally:
                    CURRENT.reset(token)

            if not act.delay_s:
                return perform()
            return self.executor.later(lambda: not_awaitable(perform()))

        return staged

    def _enter(self, made: Call) -> StagedCall:
        name = made.role, made.task
        # As a rule the number of the attempt; what is called again after a crash goes on from there.
        number = self._called[name] = max(made.attempt, self._called.get(name, 0) + 1)
        call = StagedCall(made, number)
        self.calls.append(call)
        if self._on_enter is not None:
            self._on_enter(call)
        return call

    def _begin(self, call: StagedCall, fake: Behaviour | None, *, may_wait: bool = True) -> Act:
        act: Act | None = None
        if fake is not None:
            number = self._numbers[call.name] = self._numbers.get(call.name, 0) + 1
            act = fake.act(number) or Act(does=False)
            if act.does is None:
                act = dataclasses.replace(act, does=False)
        if self._faults is not NO_FAULTS:
            kinds: tuple[FaultKind, ...] = ("fails", "hangs") if may_wait else ("fails",)
            kind = self._faults.choose(f"{call.label} begins", kinds)
            act = act_of(kind) if kind is not None else act
        act = act or ORIGINAL
        if act.delay_s and not may_wait:
            raise SimulationError(
                f"{call.name} runs on the loop itself, so it cannot take time there; it would hold "
                "up the whole run"
            )
        if not act.does and act.error is not None and not act.delay_s:
            raise act.error
        return act

    def _end(self, call: StagedCall, act: Act, value: Any) -> Any:
        if act.error is not None:
            raise act.error
        if self._faults is not NO_FAULTS and call.role != "when":
            kind = self._faults.choose(f"{call.label} ends", ("applied_then_fails",))
            if kind is not None:
                raise act_of(kind).error or AssertionError(kind)
        call.answer = value if call.role in ("when", "interrupt") else None
        return value


ORIGINAL = Act(does=True)


async def take_time(delay_s: float) -> None:
    """Wait *delay_s* of virtual time; for ever if it is infinite."""
    # For ever as well: the loop holds the timer, and with it who waits. Of a bare future nobody
    # else holds anything, and the garbage collector would end the wait at any time.
    await asyncio.sleep(delay_s)


def _names(plan: Plan) -> Iterator[str]:
    """Yield the name of every function of *plan*."""
    for name, node in plan.nodes.items():
        yield name
        if node.undo is not None:
            yield NAMES["undo"].format(name)
        if node.repairs:
            yield NAMES["repair"].format(name)
        if node.when is not None:
            yield NAMES["when"].format(name)
        if node.on_interrupt is not None:
            yield NAMES["interrupt"].format(name)
    for finalizer, _ in plan.finalizers:
        yield NAMES["finalizer"].format(finalizer.name)


def _wired(plan: Plan, role: str, name: str, fake: Any, node: Node | None) -> Callee:
    """Return the function *fake*, wired to what the function that it stands for may ask for."""
    what = NAMES[role].format(name)
    reason = unusable(fake)
    if reason is not None:
        raise SimulationError(
            f"fakes[{what!r}] is {shown(fake)}; give returns(...), fails(...), takes(...), hangs() "
            f"or a function: {reason}"
        )
    try:
        signatures = {id(fake): read_signature(fake)}
    except (ValueError, TypeError):
        raise SimulationError(
            f"fakes[{what!r}] is {shown(fake)}, whose signature cannot be read; wrap it in a def"
        ) from None
    sources: Iterable[str] = plan.nodes  # what takes back may ask for any output
    if node is not None and role in ("task", "when"):
        sources = node.depends_on
    ctx, item = role != "when", role != "when" and node is not None and node.task.map is not None
    types = {s: _output_type(plan.nodes[s], whole=s != name) for s in sources}
    names = Names(types, plan.params)
    wiring, problems = Wirer(signatures, names, tuple).wire(
        fake,
        task=name,
        role="fake",
        scope=node.task.scope if node is not None else _scope(plan, name),
        inputs=dict(node.task.inputs) if node is not None else {},
        item=item,
        ctx=ctx,
    )
    if problems:
        known = (*sources, *plan.params, *(["ctx"] if ctx else []), *(["item"] if item else []))
        raise SimulationError(
            f"fakes[{what!r}]: {'; '.join(_said(problem, known) for problem in problems)}"
        )
    return callee_of(fake, wiring)


def _output_type(node: Node, *, whole: bool) -> Any:
    """Return what the output of *node* is; of a map as a *whole*, or of one item."""
    if whole and node.task.map is not None:
        return list[Any]
    return read_signature(node.task.fn).returns


def _scope(plan: Plan, finalizer: str) -> str:
    return next(one.scope for one, _ in plan.finalizers if one.name == finalizer)


def _said(problem: Problem, known: tuple[str, ...]) -> str:
    if not isinstance(problem, MissingInput):
        return str(problem)
    return (
        f"it asks for {problem.parameter!r}, which {problem.task} does not get; it can have "
        f"{', '.join(known) or 'nothing'}"
    )


def _blocking(context: AsyncContext) -> Context:
    """Return the context of the same call for a plain function."""
    made = make_context(context._desk, context._call, asynchronous=False)  # noqa: SLF001
    return cast("Context", made)

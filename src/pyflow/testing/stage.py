"""Put calls on stage: of a plan's functions, or of fakes in their place, with faults around them.

The engine runs the plan as it runs any other. Only when it is about to call a
function does it ask the stage what to call: each call is noted, may meet a
fault as it begins or ends, and goes to a fake where one is given.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from pyflow.define.problems import MissingInput
from pyflow.define.wiring import (
    Callee,
    Names,
    Wirer,
    callee_of,
    read_signature,
    unusable,
)
from pyflow.errors import nearest, shown
from pyflow.polling import LOOK
from pyflow.run.calls import make_context, not_awaitable
from pyflow.testing.behaviour import Act, Behaviour, remedy
from pyflow.testing.errors import SimulationError
from pyflow.testing.faults import NO_FAULTS, FaultKind, Faults, act_of
from pyflow.testing.where import name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

    from pyflow.define.plan import Node, Plan
    from pyflow.define.task import Function, Task
    from pyflow.errors import Problem
    from pyflow.polling import Look
    from pyflow.run.context import AsyncContext, Call, Context
    from pyflow.testing.strands import SimulatedExecutor

__all__ = ["CURRENT", "Fake", "Stage", "StagedCall", "take_time"]

Fake: TypeAlias = "Behaviour | Callable[..., Any]"
"""What stands in for a function: a behaviour, or another function, wired by its parameters."""

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
        "awaited",
        "name",
        "number",
        "outcome",
        "role",
        "task",
        "told",
    )

    def __init__(self, call: Call, number: int) -> None:
        self.task = call.task
        self.role = call.role
        self.attempt = call.attempt
        self.name = call.task if call.role == "task" else NAMES[call.role].format(call.task)
        self.number = number
        self.outcome: Literal["under way", "returned", "raised"] = "under way"
        self.answer: object = None  # of a when= and an on_interrupt=, what it returned
        self.told: list[tuple[Look | None, object]] = []  # the answers so far, and why none came
        self.awaited = 0  # answers that take their time, or never come
        self._counts: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<StagedCall {self.label}>"

    @property
    def label(self) -> str:
        """What it is called where faults and people speak of it."""
        return f"{self.name}#{self.number}"

    def __enter__(self) -> None:
        self.outcome = "under way"

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.outcome = "returned" if kind is None else "raised"

    def progress(self) -> object:
        """Return how far the call has got: what it did, what it was answered, and what it waits for."""
        told = tuple(repr(what) for _, what in self.told)
        return self.label, tuple(self._counts.items()), told, self.awaited

    def hear(self, answer: object) -> None:
        """Note what it was answered, and forget what an earlier look of the same poll was."""
        look = LOOK.get()
        if look is not None:
            while self.told and _is_before(self.told[-1][0], look):
                self.told.pop()
        self.told.append((look, answer))

    def point(self, op: str) -> str:
        """Return the name of the point at which this call does *op*."""
        count = self._counts[op] = self._counts.get(op, 0) + 1
        return f"{self.label} {op}#{count}"


def _is_before(one: Look | None, look: Look) -> bool:
    """Return whether *one* is an earlier look of the poll that *look* belongs to."""
    return one is not None and one is not look and one.first is look.first


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
        self._stand_ins: dict[str, Callee] = {}  # fakes that are functions, wired
        self._numbers: dict[str, int] = {}
        self._called: dict[tuple[str, str], int] = {}

    # The runs -----------------------------------------------------------------------------

    def bind(self, faults: Faults, on_enter: Callable[[StagedCall], None]) -> None:
        """Have the next run meet *faults*, and have every call of it reported to *on_enter*."""
        self._faults = faults
        self._on_enter = on_enter

    def clear(self) -> None:
        """Forget every call, for another run of the same plan."""
        self.calls.clear()
        self._numbers.clear()
        self._called.clear()

    def prepare(self, plan: Plan) -> None:
        """Make sure that every fake has a function of *plan* that it can stand for.

        Raises:
            SimulationError: A fake is for a function that the plan does not have,
                or asks for what its task does not get.
        """
        if self._fakes:
            self._check_fakes(plan)
            self._stand_ins = dict(self._wired(plan))

    def _check_fakes(self, plan: Plan) -> None:
        known = tuple(_names(plan))
        for name in self._fakes:
            if name not in known:
                near = nearest(str(name), known)
                hint = f"; did you mean {near!r}?" if near is not None else "."
                raise SimulationError(
                    f"fakes= has {name!r}, and the workflow has no such function{hint} "
                    f"It has: {', '.join(known)}"
                )
        for name, fake in self._fakes.items():
            reason = _unfit(fake)
            if reason is not None:
                raise SimulationError(f"fakes[{name!r}] {reason}")

    def _wired(self, plan: Plan) -> Iterator[tuple[str, Callee]]:
        """Yield every fake that is a function, wired as the one that it stands for."""
        for role, name, node in _roles(plan):
            what = NAMES[role].format(name)
            if what in self._fakes and not isinstance(self._fakes[what], Behaviour):
                yield what, _wired(plan, role, name, self._fakes[what], node)

    def staged(self, callee: Callee, call: Call, task: Task | None) -> Callee:
        """Return what the engine calls in the place of *callee*, which *call* is a call of."""
        original, fake = callee.fn, None
        if self._fakes:
            what = NAMES[call.role].format(task.name if task is not None else call.task)
            callee = self._stand_ins.get(what, callee)
            given = self._fakes.get(what)
            fake = given if isinstance(given, Behaviour) else None
        if callee.asynchronous and fake is None and self._is_quiet:
            return Callee(self._noted(callee.fn, call), callee.wiring, True)
        isolation = task.isolation if task is not None else None
        if callee.asynchronous:
            fn = self._staged_async(callee.fn, fake, call)
        else:
            may_wait = call.role != "when" and isolation != "inline"
            fn = self._staged_plain(callee.fn, fake, call, may_wait=may_wait)
        # Records and errors name the function that was meant, whatever stands around it.
        fn.__qualname__ = getattr(original, "__qualname__", type(original).__qualname__)
        made = Callee(fn, callee.wiring, callee.asynchronous, callee.waits)
        return self._killable(made) if isolation == "process" and call.role != "when" else made

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

    @property
    def _is_quiet(self) -> bool:
        """Whether nothing is to go wrong, and nobody hears of calls."""
        return self._faults is NO_FAULTS and self._on_enter is None

    def _noted(self, fn: Function, made: Call) -> Function:
        """Return *fn* as it is, but for a note of the call, of which nobody asks what became of it."""

        def staged(**arguments: Any) -> Any:
            CURRENT.set(self._enter(made))  # as below
            return fn(**arguments)

        return staged

    def _staged_async(self, fn: Function, fake: Behaviour | None, made: Call) -> Function:
        async def staged(**arguments: Any) -> Any:
            call = self._enter(made)
            CURRENT.set(call)  # every call has a task of its own, and so a context of its own
            with call:
                act = self._begin(call, fake)
                if act.delay_s:
                    await take_time(act.delay_s)
                value = await cast("Awaitable[Any]", fn(**arguments)) if act.does else act.value
                return self._end(call, act, value)

        return staged

    def _staged_plain(
        self, fn: Function, fake: Behaviour | None, made: Call, *, may_wait: bool
    ) -> Function:
        def staged(**arguments: Any) -> Any:
            call = self._enter(made)
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
        if fake is None and self._faults is NO_FAULTS:
            return ORIGINAL
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
    """Have the present call wait *delay_s* of virtual time; for ever if it is infinite."""
    call = CURRENT.get()
    if call is not None:
        call.awaited += 1
    try:
        # For ever as well: the loop holds the timer, and with it who waits. Of a bare future nobody
        # else holds anything, and the garbage collector would end the wait at any time.
        await asyncio.sleep(delay_s)
    finally:
        if call is not None:
            call.awaited -= 1


def _names(plan: Plan) -> Iterator[str]:
    """Yield the name of every function of *plan*."""
    for role, name, _ in _roles(plan):
        yield NAMES[role].format(name)


def _roles(plan: Plan) -> Iterator[tuple[str, str, Node | None]]:
    """Yield every role for which *plan* has a function, and of which task or finalizer."""
    for name, node in plan.nodes.items():
        yield "task", name, node
        if node.undo is not None:
            yield "undo", name, node
        if node.repairs:
            yield "repair", name, node
        if node.when is not None:
            yield "when", name, node
        if node.on_interrupt is not None:
            yield "interrupt", name, node
    for finalizer, _ in plan.finalizers:
        yield "finalizer", finalizer.name, None


def _unfit(fake: Any) -> str | None:
    """Return why *fake* cannot stand for any function, or None."""
    if isinstance(fake, Behaviour):
        return _unanswered(fake) if fake.twists else None
    how = remedy(fake)
    if how is not None:
        what = f"the function {name_of(fake)}" if inspect.isfunction(fake) else shown(fake)
        return f"is {what}; {how}"
    if callable(fake) or inspect.iscoroutine(fake):
        return unusable(fake)
    return (
        f"is {shown(fake)}; give a behaviour, such as returns(...), fails(...), takes(...) or "
        "hangs(), or a function"
    )


def _unanswered(fake: Behaviour) -> str:
    return (
        f"is {fake!r}, which is about what a port of a World answers, and says nothing of a function; "
        f"give returns(...) with what it returns, or ask it of a port: "
        f'world.metrics.on("query", {fake!r})'
    )


def _wired(plan: Plan, role: str, name: str, fake: Any, node: Node | None) -> Callee:
    """Return the function *fake*, wired to what the function that it stands for may ask for."""
    what = NAMES[role].format(name)
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

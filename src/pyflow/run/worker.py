"""Calls the user's functions: attempts, repairs, undos, finalizers, conditions.

Each method makes one call, catches whatever comes of it, and reports what
happened, at its end with the slot that it had. None decides anything.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from pyflow.define.interrupts import NOT_APPLIED, UNKNOWN, Applied
from pyflow.define.task import MISSING
from pyflow.errors import CodecError, TaskTimeout, shown
from pyflow.record.values import copied, encode
from pyflow.run import inputs as on
from pyflow.run.calls import make_context, not_awaitable
from pyflow.run.context import Call
from pyflow.run.failures import failure
from pyflow.run.result import task_error
from pyflow.tracing import enter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyflow.define.environment import Parameters
    from pyflow.define.plan import Callee
    from pyflow.define.task import Task
    from pyflow.define.wiring import Input
    from pyflow.errors import TaskError
    from pyflow.run.calls import Caller
    from pyflow.run.desk import RunDesk
    from pyflow.run.state import RunState, TaskState
    from pyflow.secrets import Redactor

__all__ = ["Worker", "item_names"]


class Worker:
    """Makes the calls of one run."""

    def __init__(
        self,
        state: RunState,
        *,
        desk: RunDesk,
        caller: Caller,
        parameters: Parameters,
        redactor: Redactor,
        default_timeout_s: float | None,
        post: Callable[[on.Happening], None],
        call_over: Callable[[str | None, on.Happening], None],
        cause: Callable[[], TaskError | None],
    ) -> None:
        self.errors: dict[tuple[str, str], BaseException] = {}
        self._may_end: dict[str, Call] = {}  # attempts under way that people may pass over
        self._state = state
        self._desk = desk
        self._caller = caller
        self._parameters = parameters
        self._redactor = redactor
        self._default_timeout_s = default_timeout_s
        self._post = post
        self._call_over = call_over
        self._cause = cause
        self._time = desk.loop.time

    # Calls that hold a slot ---------------------------------------------------------------

    async def attempt(self, state: TaskState, attempt: int) -> None:
        """Make an attempt of a task."""
        node, started = state.node, self._time()
        callee, task = node.call, node.task
        timeout_s = task.timeout_s or self._default_timeout_s
        happening: on.Happening
        try:
            if callee.wiring or timeout_s is not None or not self._caller.is_direct(callee, task):
                call = Call(state.name, attempt, item=state.item)
                if task.skippable or task.skip_on_promotion:
                    self._may_end[state.name] = call
                value = await self._call(callee, call, state, timeout_s)
            else:  # nothing to hand over and nothing to watch
                enter(self._desk.trace, ("attempt", state.name, attempt))
                value = await callee.fn()
            output = None if value is None else self._stored(value)
        except StillRunning as still:
            await self._leave_behind(state, still, started)
            return
        except BaseException as error:
            if _is_teardown(error):
                raise
            failed = self._failed("task", state.name, error)
            happening = on.AttemptRaised(state.name, self._since(started), failed)
        else:
            happening = on.AttemptReturned(state.name, self._since(started), output)
        self._call_over(state.name, happening)

    def end(self, name: str) -> None:
        """Cut short whatever the attempt of the task *name*, which was passed over, waits for."""
        call = self._may_end.pop(name, None)
        if call is not None:
            call.is_over = True
            self._desk.cut_waits(call)

    async def _leave_behind(self, state: TaskState, still: StillRunning, started: float) -> None:
        """Report a timeout, and stay with the thread that does not know of it."""
        error = still.as_timeout(state.name)
        failed = self._failed("task", state.name, error, leftover=True)
        self._post(on.AttemptRaised(state.name, self._since(started), failed))
        await still.ended()
        self._call_over(state.name, on.LeftoverReturned(state.name))

    async def repair(self, state: TaskState, number: int) -> None:
        """Run a repair of a task."""
        started, recovery = self._time(), state.node.task.repairs[number]
        cause = self._recorded("task", state)
        call = Call(state.name, state.attempt, role="repair", item=state.item, cause=cause)
        happening: on.Happening
        try:
            value = await self._call(state.node.repairs[number], call, state, recovery.timeout_s)
            output = self._stored(value) if recovery.then == "continue" else None
        except BaseException as error:
            if _is_teardown(error):
                raise
            failed = self._failed("repair", state.name, error)
            happening = on.RepairRaised(state.name, self._since(started), failed)
        else:
            happening = on.RepairReturned(state.name, self._since(started), output)
        self._call_over(state.name, happening)

    async def undo(self, state: TaskState, attempt: int) -> None:
        """Try to take a task back."""
        node, started = state.node, self._time()
        assert node.undo is not None
        assert node.task.undo is not None
        call = Call(
            state.name, attempt, role="undo", item=state.item, cause=self._cause(), shielded=True
        )
        happening: on.Happening
        try:
            await self._call(node.undo, call, state, node.task.undo.timeout_s)
        except BaseException as error:
            if _is_teardown(error):
                raise
            failed = self._failed("undo", state.name, error)
            happening = on.UndoRaised(state.name, self._since(started), failed)
        else:
            happening = on.UndoReturned(state.name, self._since(started))
        self._call_over(state.name, happening)

    # Calls that hold none -----------------------------------------------------------------

    async def finalize(self, name: str) -> None:
        """Run a finalizer."""
        started = self._time()
        pairs = self._state.plan.finalizers
        finalizer, callee = next(pair for pair in pairs if pair[0].name == name)
        outcome = self._state.outcome
        call = Call(
            name,
            1,
            role="finalizer",
            cause=self._cause(),
            outcome=outcome.status if outcome is not None else None,
            shielded=True,
        )
        info = None
        try:
            await self._call(callee, call, None, finalizer.timeout_s)
        except BaseException as error:
            if _is_teardown(error):
                raise
            info = self._failed("finalizer", name, error).error
        self._call_over(None, on.FinalizerReturned(name, self._since(started), info))

    async def ask(self, state: TaskState) -> None:
        """Ask a task's ``when=``."""
        callee = state.node.when
        assert callee is not None
        call = Call(state.name, 1, role="when")
        try:
            if self._caller.stage is not None:
                callee = self._caller.stage(callee, call, state.node.task)
            answer = callee.fn(**self._arguments(callee, call, state))
            if inspect.isawaitable(answer):
                answer = await answer
            happening = on.ConditionAnswered(state.name, bool(answer))
        except BaseException as error:
            if _is_teardown(error):
                raise
            info = self._failed("task", state.name, error).error
            happening = on.ConditionAnswered(state.name, False, info)
        self._call_over(None, happening)

    async def ask_interrupt(self, state: TaskState) -> None:
        """Ask a task's ``on_interrupt=`` whether its interrupted attempt took effect."""
        callee = state.node.on_interrupt
        assert callee is not None
        call = Call(state.name, state.attempt, role="interrupt", item=state.item)
        source = getattr(callee.fn, "__qualname__", type(callee.fn).__qualname__)
        try:
            answer = await self._call(callee, call, state, state.node.task.timeout_s)
            happening = self._understood(state.name, source, answer)
        except BaseException as error:
            if _is_teardown(error):
                raise
            info = self._failed("interrupt", state.name, error).error
            reason = f"{info.type}: {info.message}"
            happening = on.InterruptAnswered(state.name, "unknown", source, None, reason)
        self._call_over(None, happening)

    def _understood(self, name: str, source: str, answer: object) -> on.InterruptAnswered:
        if isinstance(answer, Applied):
            return on.InterruptAnswered(name, "applied", source, self._stored(answer.output))
        if answer is NOT_APPLIED:
            return on.InterruptAnswered(name, "not_applied", source)
        reason = None
        if answer is not UNKNOWN:
            reason = (
                f"{source} answered {shown(answer)}; expected pyflow.Applied(output), "
                "pyflow.NOT_APPLIED or pyflow.UNKNOWN"
            )
        return on.InterruptAnswered(name, "unknown", source, None, reason)

    def list_items(self, state: TaskState) -> None:
        """Find the items of a map."""
        try:
            items = self._items(state)
            names = item_names(state.name, items)
            if self._redactor.find(names) is not None:  # masked, nobody could tell them apart
                names = tuple(f"{state.name}[{number}]" for number in range(len(items)))
            happening = on.ItemsListed(state.name, names, tuple(items))
        except CodecError as error:
            info = self._failed("task", state.name, error).error
            happening = on.ItemsListed(state.name, error=info)
        self._post(happening)

    def _items(self, state: TaskState) -> list[Any]:
        over, path = state.node.task.map, f"{state.name}.over"
        assert over is not None
        if state.node.over is None:
            return self._stored(over.over)
        kind, source = state.node.over
        if kind == "output":
            data = self._state.tasks[source].output
        else:
            data = self._parameters.data.get(source)
        if not isinstance(data, list):
            raise CodecError(path, f"a map runs over a list, and {source!r} gave {data!r:.100}")
        return data  # pyright: ignore[reportUnknownVariableType] - JSON data

    # How a call is made -------------------------------------------------------------------

    async def _call(
        self, callee: Callee, call: Call, state: TaskState | None, timeout_s: float | None
    ) -> Any:
        """Call a user's function with its arguments, and end its context whatever happens."""
        enter(self._desk.trace, call.part)
        task = state.node.task if state is not None else None
        try:
            if self._caller.stage is not None:
                callee = self._caller.stage(callee, call, task)
            arguments = self._arguments(callee, call, state)
            if self._caller.is_isolated(task, call.role):
                return await self._caller.isolated(callee, arguments, call, self._desk, timeout_s)
            if callee.asynchronous:
                coroutine = callee.fn(**arguments)
                if timeout_s is None:
                    return await coroutine
                return await _within(timeout_s, coroutine, call)
            return await self._call_plain(callee, arguments, task, timeout_s)
        finally:
            call.is_over = True
            self._desk.cut_waits(call)

    async def _call_plain(
        self, callee: Callee, arguments: dict[str, Any], task: Task | None, timeout_s: float | None
    ) -> Any:
        def run() -> Any:
            try:
                return not_awaitable(callee.fn(**arguments))
            except StopIteration as error:  # no future can hold one; coroutines do the same
                raise RuntimeError("the function raised StopIteration") from error

        run.__qualname__ = getattr(callee.fn, "__qualname__", run.__qualname__)
        if task is not None and task.isolation == "inline":
            return run()
        calling = self._caller.executor.run(run, waits=callee.waits)
        if timeout_s is None:
            return await calling
        running = asyncio.ensure_future(_outcome_of(calling))
        scope = asyncio.timeout(timeout_s)
        try:
            async with scope:
                value, error = await asyncio.shield(running)
        except TimeoutError:
            if scope.expired() and not running.done():
                raise StillRunning(_took(timeout_s), running) from None
            raise
        if error is not None:
            raise error
        return value

    def _arguments(self, callee: Callee, call: Call, state: TaskState | None) -> dict[str, Any]:
        """Return what *callee* asked for.

        Raises:
            CodecError: A recorded value does not fit the annotation that asks for it.
        """
        return {w.argument: self._argument(w, callee, call, state) for w in callee.wiring}

    def _argument(self, wire: Input, callee: Callee, call: Call, state: TaskState | None) -> Any:
        if wire.kind == "ctx":
            return make_context(self._desk, call, asynchronous=callee.asynchronous)
        if wire.kind == "param" and wire.source in self._parameters.objects:
            return self._parameters.objects[wire.source]
        decode = wire.decode or _as_it_is
        if wire.kind == "param":
            return decode(self._parameters.data[wire.source], wire.source)
        if wire.kind == "item":
            return decode(call.item, "item")
        source = self._state.tasks[wire.source]
        if state is not None and state.parent is source:
            source = state  # a recovery of an item asks for the item's own output
        if source.status == "succeeded" or source.output is not None:
            return decode(source.output, wire.source)
        return None if wire.default is MISSING else wire.default

    def _stored(self, value: object) -> Any:
        """Return *value* as the record will hold it; a secret in plain text is refused."""
        output = encode(value)
        if self._redactor:
            path = self._redactor.find(output, root="output")
            if path is not None:
                raise CodecError(path, "holds a secret in plain text; return the Secret itself")
        return output

    def part(self) -> None:
        """Let the driver go: no call is under way, and none will be made."""
        del self._post, self._call_over, self._cause

    # What is reported ---------------------------------------------------------------------

    def _since(self, started: float) -> float:
        return round(self._time() - started, 6)

    def _failed(
        self, role: str, name: str, error: BaseException, *, leftover: bool = False
    ) -> on.Failure:
        if isinstance(error, StillRunning):
            error, leftover = error.as_timeout(name), True
        self.errors[role, name] = error
        return failure(
            error, redactor=self._redactor, chance=self._desk.rng.random(), leftover=leftover
        )

    def _recorded(self, role: str, state: TaskState) -> TaskError | None:
        return task_error(state, self.errors.get((role, state.name)))


class StillRunning(Exception):
    """A plain function has outlived its timeout on a thread."""

    def __init__(self, message: str, running: asyncio.Future[Any]) -> None:
        self._running = running
        super().__init__(message)

    def as_timeout(self, name: str) -> TaskTimeout:
        """Return the error that is recorded."""
        return TaskTimeout(name, "TaskTimeout", f"{self} and is still running on its thread")

    async def ended(self) -> None:
        """Wait until the thread is done, whatever comes of it."""
        await asyncio.wait([self._running])
        if not self._running.cancelled():
            self._running.exception()


async def _outcome_of(calling: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Return what came of a call, where an exit counts as a failure like any other.

    A task that ends by one would take the loop down with it.
    """
    try:
        return await calling, None
    except (SystemExit, KeyboardInterrupt) as error:
        return None, error


async def _within(timeout_s: float, coroutine: Any, call: Call) -> Any:
    """Await *coroutine* for *timeout_s* seconds at most."""
    scope = asyncio.timeout(timeout_s)
    try:
        async with scope:
            call.deadline = scope.when()
            value = await coroutine
    except TimeoutError as error:
        if scope.expired():
            raise TaskTimeout(call.task, "TaskTimeout", _took(timeout_s)) from error
        raise
    if scope.expired():
        late = f"{_took(timeout_s)}; it was cancelled then, and went on all the same"
        raise TaskTimeout(call.task, "TaskTimeout", late)
    return value


def item_names(task: str, items: list[Any]) -> tuple[str, ...]:
    """Return a stable name for each item: ``task[item]`` where that is plain and tells them apart.

    Elsewhere it is the item's index.
    """
    labels = [_label(item) for item in items]
    if not all(labels) or len(set(labels)) != len(labels):
        labels = [str(number) for number in range(len(items))]
    return tuple(f"{task}[{label}]" for label in labels)


def _label(item: object) -> str:
    text = str(item) if isinstance(item, (str, int)) and not isinstance(item, bool) else ""
    plain = text.isprintable() and len(text) <= 100 and not set(text) & set("[]/\\ ")
    return text if plain else ""


def _took(timeout_s: float) -> str:
    return f"took longer than its timeout of {timeout_s:g} s"


def _as_it_is(data: Any, path: str) -> Any:  # noqa: ARG001 - it stands in for a decoder
    return copied(data)


def _is_teardown(error: BaseException) -> bool:
    """Return whether the loop is taking the call down, rather than the task failing."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    if isinstance(error, GeneratorExit):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return True
    return False

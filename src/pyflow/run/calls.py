"""How user functions are called: where they run, and with which context."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any

from pyflow.run.context import AsyncContext, AsyncRecoveryContext, Context, RecoveryContext
from pyflow.tracing import traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyflow.define.plan import Callee
    from pyflow.define.policies import Isolation
    from pyflow.define.task import Task
    from pyflow.protocols import Executor
    from pyflow.run.context import Call, Desk

__all__ = ["Caller", "make_context", "not_awaitable"]


class Caller:
    """Knows where each call runs; one for all runs of an engine."""

    def __init__(
        self, executor: Executor, isolation: Isolation | None, variables: Iterable[str]
    ) -> None:
        self.executor = executor
        self.stage: Callable[[Callee, Call, Task | None], Callee] | None = None
        """Returns what is called in the place of a function; in a simulation."""
        self._isolation = isolation
        self._variables = tuple(variables)  # of the environment, for whom a process is made

    def is_direct(self, callee: Callee, task: Task) -> bool:
        """Return whether *callee* of *task* may simply be awaited on the loop."""
        if self.stage is not None or not callee.asynchronous:
            return False
        return (task.isolation or self._isolation) != "process"

    def is_isolated(self, task: Task | None, role: str) -> bool:
        """Return whether a call for *task* gets a process of its own."""
        if role in ("finalizer", "interrupt") or task is None or self.stage is not None:
            return False
        return (task.isolation or self._isolation) == "process"

    async def isolated(
        self,
        callee: Callee,
        arguments: dict[str, Any],
        call: Call,
        desk: Desk,
        timeout_s: float | None,
    ) -> Any:
        """Call *callee* in a fresh interpreter; its timeout really stops it."""
        from pyflow.run.process import run_in_process  # noqa: PLC0415 - only where it is used

        known = {name: os.environ[name] for name in self._variables if name in os.environ}
        environ = {**known, **(traced({}) or {})}
        return await run_in_process(
            callee, arguments, call, desk, environ=environ, timeout_s=timeout_s
        )


def make_context(desk: Desk, call: Call, *, asynchronous: bool) -> AsyncContext | Context:
    """Return the context for *call*: its waits are awaited, or they block."""
    if call.role == "task":
        return AsyncContext(desk, call) if asynchronous else Context(desk, call)
    return AsyncRecoveryContext(desk, call) if asynchronous else RecoveryContext(desk, call)


def not_awaitable(value: Any) -> Any:
    """Return *value*, which a plain function returned.

    Raises:
        TypeError: It is something to await.
    """
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(
            "a plain function returned something to await, and nobody would; make it async, or "
            "wrap it in an async def that awaits it"
        )
    return value

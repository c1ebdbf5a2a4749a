"""Ask a function of the user's own."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from pyflow.errors import shown
from pyflow.probes._checks import refuse, span_problems, text_problems, unknown
from pyflow.protocols import Reading
from pyflow.spans import Span, seconds

if TYPE_CHECKING:
    from collections.abc import Callable as Function

__all__ = ["Callable"]


@dataclass(frozen=True, slots=True, repr=False)
class Callable:
    """Healthy if a function without arguments returns True.

    | the function returns | reading |
    |---|---|
    | True, False | healthy, unhealthy |
    | a `Reading` | that reading |
    | None, or anything else | unknown |
    | nothing, because it raises or takes too long | unknown |

    An async function runs on the loop; a plain one runs on a thread, with the
    caller's context variables. A thread cannot be stopped: while a call that
    timed out is still running, further readings are `unknown` at once and no
    second thread is started.
    """

    fn: Function[[], Any]
    """The function, plain or async."""

    _: KW_ONLY

    name: str | None = None
    """What evidence and reprs call it; by default the function's own name."""

    timeout: Span = "5s"
    """Span for one call."""

    _late: list[_Call] = field(default_factory=list["_Call"], init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        problems = [
            *_function_problems(self.fn),
            *text_problems("name", self.name),
            *span_problems("timeout", self.timeout),
        ]
        refuse("Callable", problems)
        if self.name is None:
            object.__setattr__(self, "name", getattr(self.fn, "__qualname__", shown(self.fn)))

    async def read(self) -> Reading:
        """Call the function once, and say what it answered."""
        timeout_s = seconds(self.timeout)
        self._late[:] = [call for call in self._late if call.is_running]
        if self._late:
            return unknown("an earlier call that timed out is still running", probe=self.name)
        try:
            async with asyncio.timeout(timeout_s):
                return self._meant(await self._called())
        except TimeoutError:
            return unknown(f"no answer within {timeout_s:g} s", probe=self.name)

    async def _called(self) -> _Answer:
        if _is_async(self.fn):
            return await _awaited(self.fn)
        call = _Call(self.fn)
        answer = await self._on_thread(call)
        if inspect.isawaitable(answer.value):
            return await _awaited(lambda: answer.value)
        return answer

    async def _on_thread(self, call: _Call) -> _Answer:
        # A pool of one, so that a call that hangs takes no place in the loop's own pool.
        pool = ThreadPoolExecutor(1, thread_name_prefix="pyflow-probe")
        run = contextvars.copy_context().run
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, run, call)
        finally:
            pool.shutdown(wait=False)
            if call.is_running:
                self._late.append(call)

    def _meant(self, answer: _Answer) -> Reading:
        value = answer.value
        if answer.error is not None:
            return unknown(answer.error, probe=self.name)
        if isinstance(value, Reading):
            return value
        if isinstance(value, bool):
            return Reading("healthy" if value else "unhealthy", {"probe": self.name})
        return unknown(
            f"it returned {shown(value)}; expected True, False or a Reading", probe=self.name
        )

    def __repr__(self) -> str:
        return f"Callable({self.name}, timeout={self.timeout!r})"


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any = None
    error: BaseException | None = None


class _Call:
    """One call on a thread, which knows whether it is under way."""

    def __init__(self, fn: Function[[], Any]) -> None:
        self.fn = fn
        self.is_running = False

    def __call__(self) -> _Answer:
        self.is_running = True
        try:
            return _Answer(self.fn())
        except BaseException as error:  # noqa: BLE001 - SystemExit would end the loop
            return _Answer(error=error)
        finally:
            self.is_running = False


async def _awaited(fn: Function[[], Any]) -> _Answer:
    try:
        return _Answer(await fn())
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _Answer(error=error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - SystemExit would end the loop
        return _Answer(error=error)


def _is_async(fn: Function[[], Any]) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - an object with `async def __call__`
    )


def _function_problems(fn: object) -> list[str]:
    if inspect.iscoroutine(fn):
        fn.close()
        return ["it was given a coroutine; pass the function itself, without calling it"]
    if not callable(fn):
        return [f"{shown(fn)} is not a function"]
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        return [f"{shown(fn)} is a generator; return the answer instead of yielding it"]
    try:
        inspect.signature(fn).bind()
    except TypeError as error:
        return [f"{shown(fn)} must work without arguments ({error}); wrap it in a lambda"]
    except ValueError:
        pass  # A builtin that does not tell its parameters.
    return []

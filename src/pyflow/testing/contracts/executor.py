"""What every `Executor` has to keep."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from pyflow.errors import shown
from pyflow.testing.contracts.rules import GUARD_S, check_async_rules, check_make, give_up, same

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from pyflow.protocols import Executor

__all__ = ["check_executor"]

CALLS = 5
PAUSE_S = 0.001


class _Stop(BaseException):
    """What a function may raise that is no `Exception`, as `KeyboardInterrupt` is not."""


async def check_executor(make: Callable[[], Executor]) -> None:
    """Check that an executor keeps what `Executor` promises.

    Each call runs its function once and ends as the function does, also with
    others under way, after a cancellation, and around `close`; a function may
    wait for the loop. Whether the loop goes on while a function runs is not
    checked: an executor in virtual time may let it stand still.

    Args:
        make: Returns a new executor at each call; each is closed in the end.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the executor.
    """
    check_make(make)
    made: list[Executor] = []

    def make_and_keep() -> Executor:
        made.append(make())
        return made[-1]

    try:
        await check_async_rules(_RULES, make_and_keep)
    finally:
        for executor in made:
            with suppress(Exception):  # what is wrong with `close` is for its rule to say
                executor.close()


async def _returns(executor: Executor) -> None:
    """`run` returns what the function returned."""
    for value in (None, False, {"ports": [80, 443]}):
        same(await executor.run(lambda value=value: value), value)


async def _raises(executor: Executor) -> None:
    """`run` raises what the function raised, the same object."""
    await _expect_error(executor, ValueError("no"))


async def _raises_what_is_no_exception(executor: Executor) -> None:
    """`run` raises even what is no `Exception`, the same object."""
    await _expect_error(executor, _Stop("stop"))


async def _runs_once(executor: Executor) -> None:
    """The function runs exactly once, whether it returns or raises."""
    calls: list[str] = []

    def fail() -> NoReturn:
        calls.append("fails")
        raise ValueError("no")

    await executor.run(lambda: calls.append("returns"))
    with suppress(Exception):
        await executor.run(fail)
    same(calls, ["returns", "fails"])


async def _runs_several(executor: Executor) -> None:
    """Calls that are under way at once all return, each its own value."""
    numbers = list(range(CALLS))
    calls = [executor.run(lambda number=number: number) for number in numbers]

    same(await asyncio.gather(*calls, return_exceptions=True), numbers)


async def _cancels(executor: Executor) -> None:
    """A call that is cancelled raises `CancelledError`."""
    work = _Work()
    async with _under_way(executor, work) as call:
        if not call.cancel():
            return  # It was over before it could be cancelled.
        work.go.set()
        await asyncio.wait([call])
        if not call.cancelled():
            raise AssertionError(f"the call {_ending(call)}")


async def _begins_nothing_again(executor: Executor) -> None:
    """The function of a call that is cancelled runs at most once."""
    work = _Work()
    async with _under_way(executor, work) as call:
        call.cancel()
        work.go.set()
        await asyncio.wait([call])
        await executor.run(lambda: None)
    if work.calls > 1:
        raise AssertionError(f"it ran {work.calls} times")


async def _closes_idle(executor: Executor) -> None:
    """`close` may be called before the first call, and twice."""
    executor.close()
    executor.close()


async def _closes_busy(executor: Executor) -> None:
    """Calls that are under way go on when `close` is called."""
    work = _Work()
    async with _under_way(executor, work) as call:
        executor.close()
        work.go.set()
        same(await call, 1)


async def _runs_after_close(executor: Executor) -> None:
    """`close` lets go of what is idle, no more: later calls run as before."""
    same(await executor.run(lambda: "before"), "before")
    executor.close()
    same(await executor.run(lambda: "after"), "after")


async def _waits(executor: Executor) -> None:
    """`wait` returns what the coroutine on the loop returned, or raises what it raised."""
    loop = asyncio.get_running_loop()
    error = ValueError("no")

    async def answer() -> bool:
        await asyncio.sleep(PAUSE_S)
        return asyncio.get_running_loop() is loop

    async def fail() -> None:
        raise error

    def ask() -> tuple[bool, BaseException | None]:
        answered = executor.wait(answer)
        try:
            executor.wait(fail)
        except BaseException as caught:  # noqa: BLE001 - whichever it is, it is looked at
            return answered, caught
        return answered, None

    same(await executor.run(ask, waits=True), (True, error))


class _Work:
    """A function that is under way until `go` is set, unless it runs on the loop's thread."""

    def __init__(self) -> None:
        self.calls = 0
        self.go = threading.Event()
        self._home = threading.get_ident()

    def __call__(self) -> int:
        self.calls += 1
        if threading.get_ident() != self._home:
            self.go.wait(GUARD_S)
        return self.calls


@asynccontextmanager
async def _under_way(executor: Executor, work: _Work) -> AsyncGenerator[asyncio.Task[Any], None]:
    async def run() -> Any:
        return await executor.run(work)

    call = asyncio.get_running_loop().create_task(run())
    await asyncio.sleep(0)
    try:
        yield call
    finally:
        work.go.set()
        await give_up(call)


async def _expect_error(executor: Executor, error: BaseException) -> None:
    def fail() -> NoReturn:
        raise error

    try:
        value = await executor.run(fail)
    except BaseException as caught:
        if caught is not error:
            raise AssertionError(f"found {shown(caught)}, expected the same object") from caught
    else:
        raise AssertionError(f"it returned {shown(value)}, where {shown(error)} was raised")


def _ending(call: asyncio.Task[Any]) -> str:
    error = call.exception()
    return f"returned {shown(call.result())}" if error is None else f"raised {shown(error)}"


_RULES: tuple[Callable[[Executor], Coroutine[Any, Any, None]], ...] = (
    _returns,
    _raises,
    _raises_what_is_no_exception,
    _runs_once,
    _runs_several,
    _cancels,
    _begins_nothing_again,
    _closes_idle,
    _closes_busy,
    _runs_after_close,
    _waits,
)

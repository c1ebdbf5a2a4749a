"""The contract of an executor, over what keeps it and over what breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pyflow.run.executors import ThreadExecutor
from pyflow.testing.contracts import check_executor
from pyflow.testing.contracts import executor as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken

Fn = Callable[[], Any]


class Inline(ThreadExecutor):
    """Runs on the loop itself what cannot wait."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        return await super().run(fn, waits=True) if waits else fn()


class Prints(ThreadExecutor):
    """Makes text of what it cannot carry over."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        value = await super().run(fn, waits=waits)
        return str(value) if isinstance(value, dict) else value


class Copies(ThreadExecutor):
    """Raises an error that only looks like the one that was raised."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        try:
            return await super().run(fn, waits=waits)
        except Exception as error:
            raise type(error)(*error.args) from None


class Narrow(ThreadExecutor):
    """Knows no errors but `Exception`s."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        def careful() -> Any:
            try:
                return fn()
            except Exception:
                raise
            except BaseException as error:
                raise RuntimeError("the thread died") from error

        return await super().run(careful, waits=waits)


class Retries(ThreadExecutor):
    """Tries again what has failed."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        try:
            return await super().run(fn, waits=waits)
        except Exception:
            return await super().run(fn, waits=waits)


class Single(ThreadExecutor):
    """Takes one call at a time."""

    busy = False

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        try:
            return await super().run(fn, waits=waits)
        finally:
            self.busy = False


class Shrugs(ThreadExecutor):
    """Takes a cancelled call for one that returned."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        try:
            return await super().run(fn, waits=waits)
        except asyncio.CancelledError:
            return None


class Insists(ThreadExecutor):
    """Runs again what was cancelled, to see it through."""

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        try:
            return await super().run(fn, waits=waits)
        except asyncio.CancelledError:
            await super().run(fn, waits=waits)
            raise


class ClosesOnce(ThreadExecutor):
    """Takes a second `close` for a mistake."""

    closed = False

    def close(self) -> None:
        super().close()
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class CutsShort(ThreadExecutor):
    """Cancels what is under way when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: set[asyncio.Task[Any] | None] = set()

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        self.calls.add(asyncio.current_task())
        try:
            return await super().run(fn, waits=waits)
        finally:
            self.calls.discard(asyncio.current_task())

    def close(self) -> None:
        super().close()
        for call in self.calls:
            if call is not None:
                call.cancel()


class Ends(ThreadExecutor):
    """Takes no call once it has been closed."""

    closed = False

    async def run(self, fn: Fn, /, *, waits: bool = False) -> Any:
        if self.closed:
            raise RuntimeError("closed")
        return await super().run(fn, waits=waits)

    def close(self) -> None:
        super().close()
        self.closed = True


class Deaf(ThreadExecutor):
    """Waits for nothing."""

    def wait(self, make: Any, /) -> Any:
        return None


class Muffles(ThreadExecutor):
    """Wraps what the coroutine raised."""

    def wait(self, make: Any, /) -> Any:
        try:
            return super().wait(make)
        except Exception as error:
            raise RuntimeError("the wait failed") from error


BROKEN: list[Broken] = [
    (Prints, ["returns what the function returned"]),
    (Copies, ["raises what the function raised"]),
    (Narrow, ["what is no `Exception`"]),
    (Retries, ["runs exactly once"]),
    (Single, ["under way at once all return"]),
    (Shrugs, ["raises `CancelledError`"]),
    (Insists, ["runs at most once"]),
    (ClosesOnce, ["before the first call, and twice"]),
    (CutsShort, ["go on when `close` is called"]),
    (Ends, ["later calls run as before"]),
    (Deaf, ["the coroutine on the loop"]),
    (Muffles, ["the coroutine on the loop"]),
]


class TestCheckExecutor:
    @pytest.mark.parametrize("run", [asyncio.run, run_virtual], ids=ids)
    @pytest.mark.parametrize("make", [ThreadExecutor, Inline], ids=ids)
    def test_passes(self, make: Any, run: Any) -> None:
        """Threads keep the contract, in real and in virtual time; the loop's own may do as well."""
        run(check_executor(make))

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """An executor that breaks a rule is caught, and the rule is named."""
        assert_breaks(lambda: run_virtual(check_executor(broken)), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the executors above."""
        assert never_broken(suite._RULES, BROKEN) == []

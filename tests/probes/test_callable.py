"""The probe that asks a function."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.probes import Callable
from pyflow.protocols import Probe, Reading

SOON = 0.05
colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour")


def read(fn: Any, **options: Any) -> Reading:
    return asyncio.run(Callable(fn, **options).read())


def returns(value: Any) -> Any:
    return lambda: value


def raises(error: BaseException) -> Any:
    def fn() -> None:
        raise error

    return fn


def as_async(fn: Any) -> Any:
    async def check() -> Any:
        return fn()

    return check


def make_coroutine() -> Any:
    return as_async(returns(True))()


class Checker:
    async def __call__(self) -> bool:
        return True


both = pytest.mark.parametrize("kind", [lambda fn: fn, as_async], ids=["plain", "async"])


class TestCallable:
    @both
    @pytest.mark.parametrize(
        ("value", "health"),
        [
            (True, "healthy"),
            (False, "unhealthy"),
            (None, "unknown"),
            (1, "unknown"),
            ("ok", "unknown"),
        ],
    )
    def test_answers(self, kind: Any, value: Any, health: str) -> None:
        """True and False decide; anything else is unknown, never healthy."""
        assert read(kind(returns(value))).health == health

    @both
    def test_reading(self, kind: Any) -> None:
        """A reading is passed on as it is."""
        reading = Reading("unhealthy", {"lag_s": 7})

        assert read(kind(returns(reading))) is reading

    @both
    @pytest.mark.parametrize(
        "error",
        [ValueError("no route"), SystemExit(3), StopIteration(), asyncio.CancelledError("own")],
    )
    def test_raises(self, kind: Any, error: BaseException) -> None:
        """An error, even one that would end the program, is unknown and its evidence."""
        reading = read(kind(raises(error)), name="lag")

        assert reading.health == "unknown"
        assert reading.evidence["probe"] == "lag"
        assert type(error).__name__ in reading.evidence["error"]

    @pytest.mark.parametrize(
        "fn",
        [functools.partial(as_async(returns(True))), make_coroutine, Checker()],
        ids=["partial", "lambda", "object"],
    )
    def test_async_shapes(self, fn: Any) -> None:
        """A coroutine is awaited however it comes about."""
        assert read(fn).health == "healthy"

    def test_context(self) -> None:
        """A plain function runs on a thread of its own, with the caller's context."""

        async def run() -> Reading:
            colour.set("green")
            here = threading.get_ident()
            return await Callable(
                lambda: colour.get() == "green" and threading.get_ident() != here
            ).read()

        assert asyncio.run(run()).health == "healthy"

    def test_slow_async(self) -> None:
        """An async function that takes too long is cut and unknown."""
        cut: list[bool] = []

        async def never() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cut.append(True)
                raise

        reading = read(never, timeout=SOON)

        assert reading.health == "unknown"
        assert "0.05 s" in reading.evidence["error"]
        assert cut == [True]

    def test_slow_plain(self) -> None:
        """A thread that hangs is not joined by a second one; once it ends, all is well."""
        calls: list[int] = []
        go_on = threading.Event()

        def slow() -> bool:
            calls.append(1)
            go_on.wait(10)
            return True

        async def run() -> list[Reading]:
            probe = Callable(slow, timeout=SOON)
            first, second = await probe.read(), await probe.read()
            go_on.set()
            await asyncio.to_thread(thread_of(probe).join)
            return [first, second, await probe.read()]

        first, second, third = asyncio.run(run())

        assert first.health == second.health == "unknown"
        assert "still running" in second.evidence["error"]
        assert third.health == "healthy"
        assert len(calls) == 2

    @both
    def test_cancelled(self, kind: Any) -> None:
        """A cancellation from outside passes through."""
        go_on = threading.Event()
        asked = asyncio.Event()

        async def never() -> None:
            asked.set()
            await asyncio.get_running_loop().create_future()

        async def run() -> None:
            loop = asyncio.get_running_loop()

            def plain() -> None:
                loop.call_soon_threadsafe(asked.set)
                go_on.wait(10)

            fn = never if kind is as_async else plain
            task = asyncio.create_task(Callable(fn).read())
            await asked.wait()
            task.cancel()
            await asyncio.wait([task])
            go_on.set()
            assert task.cancelled()

        asyncio.run(run())

    def test_is_value(self) -> None:
        """It is a `Probe`, named after its function."""
        assert isinstance(Callable(read_ok), Probe)
        assert Callable(read_ok) == Callable(read_ok)
        assert repr(Callable(read_ok)) == "Callable(read_ok, timeout='5s')"
        assert repr(Callable(read_ok, name="lag", timeout=3)) == "Callable(lag, timeout=3)"
        assert "Checker" in repr(Callable(Checker()))

    @pytest.mark.parametrize(
        ("fn", "options", "words"),
        [
            (7, {}, "not a function"),
            (None, {}, "not a function"),
            (lambda host: True, {}, "without arguments"),
            ((lambda: (yield)), {}, "generator"),
            (returns(True), {"name": ""}, "name"),
            (returns(True), {"timeout": 0}, "timeout"),
            (7, {"name": 7, "timeout": -1}, "3 problems"),
        ],
    )
    def test_refuses(self, fn: Any, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the probe is made."""
        with pytest.raises(DefinitionError, match=words):
            Callable(fn, **options)

    def test_called_coroutine(self) -> None:
        """A coroutine in the function's place is refused, and closed."""
        with pytest.raises(DefinitionError, match="without calling it"):
            Callable(as_async(returns(True))())

    def test_unsigned_builtin(self) -> None:
        """A builtin that does not tell its parameters is taken at its word."""
        assert read(dict).health == "unknown"


def thread_of(probe: Callable) -> threading.Thread:
    """Return the thread of the call that hangs; there is one."""
    assert len(probe._late) == 1
    (thread,) = [t for t in threading.enumerate() if t.name.startswith("pyflow-probe")]
    return thread


def read_ok() -> bool:
    return True

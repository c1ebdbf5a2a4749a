"""Promises: kept once, for any number of those who wait, on any thread and loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from typing import Any

import pytest

from pyflow.run.promises import Promise

WAIT_S = 20


async def awaited(promise: Promise) -> str:
    """Return what comes of waiting for *promise*."""
    try:
        await promise
    except ValueError as error:
        return f"raised {error}"
    return "kept"


def waited(promise: Promise, found: list[str]) -> threading.Thread:
    """Return a thread that blocks until *promise* is kept, and says so."""

    def wait() -> None:
        promise.wait(WAIT_S)
        found.append("kept")

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


class TestPromise:
    def test_lets_all_go_on(self) -> None:
        """Threads and coroutines that wait go on when it is kept, and so does who comes later."""
        promise, found = Promise(), list[str]()

        async def main() -> list[str]:
            threads = [waited(promise, found) for _ in range(2)]
            tasks = [asyncio.create_task(awaited(promise)) for _ in range(2)]
            await asyncio.sleep(0)
            await asyncio.to_thread(promise.keep)
            for thread in threads:
                await asyncio.to_thread(thread.join)
            return [*await asyncio.gather(*tasks), await awaited(promise)]

        assert asyncio.run(main()) == ["kept"] * 3
        assert found == ["kept"] * 2
        assert promise.is_kept

    def test_raises_everywhere(self) -> None:
        """What it is kept with is raised for everybody who waits, before and after."""
        promise = Promise()

        async def main() -> list[str]:
            before = asyncio.create_task(awaited(promise))
            await asyncio.sleep(0)
            promise.keep(ValueError("no"))
            return [await before, await awaited(promise)]

        assert asyncio.run(main()) == ["raised no"] * 2
        with pytest.raises(ValueError, match="no"):
            promise.wait()

    def test_times_out(self) -> None:
        """Who has waited for long enough hears so, and leaves nothing behind."""
        promise = Promise()

        for _ in range(3):
            with pytest.raises(TimeoutError):
                promise.wait(0.0)

        assert promise._heirs == []
        assert not promise.is_kept

    def test_cancelled_wait(self) -> None:
        """Who stops waiting changes nothing, and leaves nothing behind."""
        promise = Promise()

        async def main() -> None:
            task = asyncio.create_task(awaited(promise))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        asyncio.run(main())
        assert promise._heirs == []
        promise.keep()
        promise.wait()

    def test_closed_loop(self) -> None:
        """A loop that was closed while somebody waited there is nobody to be told."""
        promise, loop = Promise(), asyncio.new_event_loop()

        async def begin() -> Generator[Any, None, None]:
            waiting = promise.__await__()
            next(waiting)
            return waiting

        waiting = loop.run_until_complete(begin())
        loop.close()

        promise.keep()

        assert promise.is_kept
        waiting.close()

    def test_heirs(self) -> None:
        """Heirs are called in order as it is kept, and at once afterwards; a forgotten one never."""
        promise, called = Promise(), list[str]()

        def forgotten() -> None:
            called.append("forgotten")

        promise.then(lambda: called.append("one"))
        promise.then(forgotten)
        promise.then(lambda: called.append("two"))
        promise.forget(forgotten)
        promise.forget(forgotten)
        assert called == []

        promise.keep()
        promise.then(lambda: called.append("late"))

        assert called == ["one", "two", "late"]
        assert repr(promise) == "<Promise kept>"
        with pytest.raises(AssertionError, match="once"):
            promise.keep()

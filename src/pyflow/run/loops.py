"""Loops and threads around a run: one to live on, one to wait on, one for each blocking call."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["LoopThread", "at_once", "call_in", "run_aside", "run_here"]

T = TypeVar("T")


class LoopThread:
    """An event loop on a daemon thread, for runs that are started outside of any loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="pyflow-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def stop(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what *coroutine* returns, which never waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    coroutine.close()
    raise AssertionError("it waits")


def run_here(
    coroutine: Coroutine[Any, Any, T], *, on_closing: Callable[[], object] | None = None
) -> T:
    """Run *coroutine* on a loop of its own, on this thread; *on_closing* is called before it closes."""
    try:
        with asyncio.Runner() as runner:
            try:
                return runner.run(coroutine)
            finally:
                if on_closing is not None:
                    on_closing()
    except RuntimeError as error:
        # A loop that was interrupted as it was about to stop stops once more while its runner
        # closes it, and asyncio complains. It is the interruption that counts.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        raise


def run_aside(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* on a loop of its own, on a thread of its own, in this context, and wait.

    Interrupting the wait cancels the run, which drains before this returns.
    """
    outcome: Future[T] = Future()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def note_and_run() -> T:
        task = asyncio.current_task()
        assert task is not None
        started.set_result((asyncio.get_running_loop(), task))
        return await coroutine

    def work() -> None:
        try:
            outcome.set_result(run_here(note_and_run()))
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            outcome.set_exception(error)

    here = contextvars.copy_context().run  # a thread begins without the context variables
    thread = threading.Thread(target=here, args=(work,), name="pyflow-execute", daemon=True)
    thread.start()
    try:
        return outcome.result()
    except KeyboardInterrupt:
        loop, task = started.result()
        if not outcome.done():
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()


def call_in(loop: asyncio.AbstractEventLoop, fn: Callable[[], T]) -> T:
    """Call *fn* on *loop*'s thread, and return what it returned."""
    outcome: Future[T] = Future()

    def call() -> None:
        try:
            outcome.set_result(fn())
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            outcome.set_exception(error)

    loop.call_soon_threadsafe(call)
    return outcome.result()

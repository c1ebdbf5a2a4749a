"""Where plain functions run: on daemon threads that the engine owns.

A thread cannot be stopped, so nothing here pretends to. The pool never keeps
a process from ending, which the pools of the standard library do.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from contextlib import nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from pyflow.errors import OutsideExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["DaemonPool", "ThreadExecutor", "wait_from_thread"]

T = TypeVar("T")
_LOOP: contextvars.ContextVar[asyncio.AbstractEventLoop] = contextvars.ContextVar("pyflow_loop")
"""The loop that a thread works for."""

Job = tuple["concurrent.futures.Future[Any]", "Callable[[], Any]"]


class DaemonPool(concurrent.futures.Executor):
    """A pool of daemon threads, started when needed and ended when idle ones are let go.

    It has no limit of its own: the engine's slots bound what is under way, and
    a thread that is stuck must not keep an undo from running.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._idle = 0  # threads that wait for a job that is not promised to them yet
        self._started = 0
        self._released = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """Run *fn* on an idle thread, or on a new one."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._guard:
            self._released = False
            new = self._idle == 0
            if new:
                self._started += 1
            else:
                self._idle -= 1
        self._jobs.put((future, lambda: fn(*args, **kwargs)))
        if new:
            name = f"pyflow-{self._started}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def release(self) -> None:
        """Let idle threads end; busy ones end after their work, unless more is submitted."""
        with self._guard:
            self._released = True
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            _run(*job)
            del job
            with self._guard:
                if self._released:
                    return
                self._idle += 1


def _run(future: concurrent.futures.Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whatever it raised is the caller's
        future.set_exception(error)
    else:
        future.set_result(result)


class ThreadExecutor:
    """Runs plain functions on the engine's threads, with the caller's context variables."""

    def __init__(self) -> None:
        self._pool = DaemonPool()

    async def run(self, fn: Callable[[], Any], /, *, waits: bool = False) -> Any:
        """Run *fn* on a thread. Cancelling the wait does not stop the thread."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        if waits:
            context.run(_LOOP.set, loop)
        return await loop.run_in_executor(self._pool, lambda: context.run(fn))

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Block this thread until the loop that it works for has carried the coroutine out.

        Raises:
            OutsideExecutor: It works for none.
        """
        loop = _LOOP.get(None)
        if loop is None:
            raise OutsideExecutor("wait() was called on a thread that this executor does not run")
        return wait_from_thread(loop, make)

    def close(self) -> None:
        """Let idle threads end."""
        self._pool.release()


def wait_from_thread(
    loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]
) -> T:
    """Block this thread until *loop*, which runs on another, has carried the coroutine out."""
    return asyncio.run_coroutine_threadsafe(_parked(loop, make), loop).result()


async def _parked(loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Serve a thread that waits; a loop in virtual time may let time pass meanwhile."""
    parked = getattr(loop, "parked", nullcontext)
    with parked():
        return await make()

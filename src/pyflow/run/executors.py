"""Where plain functions run: on daemon threads that the engine owns.

A thread cannot be stopped, so nothing here pretends to. The pool never keeps
a process from ending, which the pools of the standard library do.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DaemonPool", "ThreadExecutor"]

Job = tuple["concurrent.futures.Future[Any]", "Callable[[], Any]"]


class DaemonPool(concurrent.futures.Executor):
    """A pool of daemon threads, started when needed and ended when idle ones are let go.

    It has no limit of its own: the engine's slots bound what is under way, and
    a thread that is stuck must not keep an undo from running.
    """

    def __init__(self) -> None:
        self._threads = 0
        self._idle = 0
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._draining = False

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[Any]:
        """Run *fn* on a thread, as soon as one is free."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        with self._changed:
            self._jobs.append((future, lambda: fn(*args, **kwargs)))
            self._draining = False
            if self._idle >= len(self._jobs):
                self._changed.notify()
            else:
                self._threads += 1
                name = f"pyflow-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def release(self) -> None:
        """Let idle threads end; busy ones end after their work."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._jobs and not self._draining:
                    self._changed.wait()
                self._idle -= 1
                if not self._jobs:
                    self._threads -= 1
                    return
                future, call = self._jobs.popleft()
            _run(future, call)
            del future, call


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

    async def run(self, fn: Callable[[], Any], /) -> Any:
        """Run *fn* on a thread. Cancelling the wait does not stop the thread."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: context.run(fn))

    def close(self) -> None:
        """Let idle threads end."""
        self._pool.release()

"""Run real work on threads beside a loop whose time is virtual, and count it.

Real work that has to be done goes to a thread, where the loop can see it begin
and end. A thread that the loop knows nothing of is refused when it calls in:
time could not have waited for it, and when it came would differ from run to run.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

from pyflow.testing.clock import VirtualTime
from pyflow.testing.where import name_of
from pyflow.testing.work import Work, WorkInFlight, stays_here

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable
    from concurrent.futures import Executor, Future
    from contextlib import AbstractContextManager

__all__ = ["WorkingLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WorkingLoop(VirtualTime):
    """The part of a `VirtualLoop` that runs real work, and knows what is in flight."""

    # asyncio's own state, under the names that it has in every version.
    _default_executor: Executor | None
    _executor_shutdown_called: bool
    _thread_id: int | None

    def __init__(self, *, start_s: float) -> None:
        self._works = WorkInFlight()
        self._home = threading.get_ident()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        super().__init__(start_s=start_s)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run *func* on a thread; virtual time stands still until it returns.

        It counts until *func* has really returned, also when the future has
        been cancelled meanwhile.
        """
        pool = executor or self._default_pool()
        work = self._works.begin(name_of(func), executor=pool)
        try:
            if stays_here(pool):
                call = functools.partial(self._works.run, work, func, *args)
                real: Future[T] = pool.submit(cast("Callable[[], T]", call))
            else:
                real = pool.submit(cast("Callable[..., T]", func), *args)
        except BaseException:
            self._works.end(work)
            raise
        future = asyncio.wrap_future(real, loop=self)
        # After `wrap_future`, so that the result is queued before the clock is let go.
        real.add_done_callback(functools.partial(self._end_from_thread, work))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads of the default executor to end.

        Args:
            timeout: Not used. `asyncio.Runner` hands in 300 s, which virtual
                time would use up at once; `stall_s` bounds the wait instead.
        """
        del timeout
        self._executor_shutdown_called = True
        pool = self._default_executor
        if pool is None:
            return
        if self._works.lost:  # a thread that did not come back would not come back now either
            pool.shutdown(wait=False)
            return
        done = self.create_future()

        def shut_down() -> None:
            pool.shutdown(wait=True)
            self.call_soon_threadsafe(done.set_result, None)

        with self.external("shutdown of the default executor"):
            thread = threading.Thread(target=shut_down, daemon=True)
            thread.start()
            await done
        thread.join()

    def external(self, name: str = "external work") -> AbstractContextManager[None]:
        """Declare real work that the loop cannot see: time stands still inside.

        For threads that `run_in_executor` did not start::

            with loop.external("reader thread"):
                thread.start()
                await answered

        Args:
            name: What to call it in a `SimulationStalled`.
        """
        return self._works.external(name)

    def parked(self) -> AbstractContextManager[None]:
        """Let time move although a thread is in flight, because it waits for this coroutine.

        For the coroutine that serves a wait of a plain function::

            async def serve() -> None:  # by run_coroutine_threadsafe, from the thread
                with loop.parked():
                    await asyncio.sleep(60)

        The thread that asked counts as waiting, however deeply such blocks are
        nested. Time still stands while any other work is in flight. Where the
        coroutine does not stem from a call of a thread, as in a task that
        serves a queue, it speaks for the oldest work that is not yet parked.

        Raises:
            SimulationError: No work is in flight that could be waiting.
        """
        return self._works.parked()

    def call_soon_threadsafe(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Queue *callback*, from this thread or from one whose work is in flight.

        Raises:
            SimulationError: Another thread calls while no work is in flight,
                so the loop could not have waited for it.
        """
        home = self._thread_id or self._home
        if threading.get_ident() != home and not self.is_closed():
            caller = self._works.context_of_caller()
            context = caller if context is None else context
        return super().call_soon_threadsafe(cast("Any", callback), *args, context=context)

    def _write_to_self(self) -> None:
        # asyncio calls this, from any thread and from handlers of signals, when it has queued a
        # callback. Only for work in flight does the loop ever wait.
        if self._works:
            self._bell.put(None)

    def _listen(self, stall_s: float) -> bool:
        """Wait for real until somebody calls in, and return whether anybody did."""
        try:
            self._bell.get(timeout=stall_s)
        except queue.Empty:
            return False
        while not self._bell.empty():
            self._bell.get_nowait()
        return True

    def _default_pool(self) -> Executor:
        if self._executor_shutdown_called:
            raise RuntimeError("Executor shutdown has been called")
        if self._default_executor is None:
            self._default_executor = ThreadPoolExecutor(thread_name_prefix="virtual")
        return self._default_executor

    def _end_from_thread(self, work: Work, _: object) -> None:
        if not self.is_closed() and work in self._works:
            self.call_soon_threadsafe(self._works.end, work)

"""What a test leaves behind: threads, event loops, and tasks or timers of a loop that was closed.

`asyncio.Runner` cancels whatever tasks are left before it closes its loop, and
says nothing. So a loop is looked at twice: before a runner cancels, and when
it is closed.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from asyncio import runners
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from pyflow.testing.where import where_task, where_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

JOIN_S = 20.0
"""How long threads that are about to end may take for it, all together."""


@dataclass(frozen=True, slots=True)
class Left:
    """One thing that was left behind."""

    kind: Literal["thread", "loop", "task", "timer"]
    """What it is. Tasks and timers are gone by now, with their loop; the others are not."""

    what: str
    """Which one it is, and where."""

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"


class Watch:
    """Sees what is left between `begin` and `end`."""

    def __init__(self, *, join_s: float = JOIN_S) -> None:
        self.join_s = join_s
        self._open: dict[asyncio.AbstractEventLoop, None] = {}
        self._left: list[Left] = []
        self._threads: set[threading.Thread] = set()

    def begin(self) -> None:
        """Look at what is there already, and so is not left by what comes next."""
        self._open.clear()
        self._left.clear()
        self._threads = set(threading.enumerate())

    def end(self) -> list[Left]:
        """Return what was left since `begin`, and close the loops among it."""
        threads = [Left("thread", _thread(thread)) for thread in self._still_there()]
        loops = list(self._open)  # after the threads, some of which close theirs
        left = threads + [Left("loop", repr(loop)) for loop in loops]
        for loop in loops:
            if not loop.is_running():
                loop.close()  # which says what else is left
        left += self._left
        self.begin()
        return left

    @contextmanager
    def installed(self) -> Generator[None, None, None]:
        """See every loop that is made, and everything that a loop is closed with."""
        base: Any = asyncio.BaseEventLoop
        module: Any = runners
        init, close, cancel = base.__init__, base.close, module._cancel_all_tasks
        base.__init__ = self._around(init, after=self._made)
        base.close = self._around(close, before=self._closes)
        module._cancel_all_tasks = self._around(cancel, before=self._note_tasks)
        try:
            yield
        finally:
            base.__init__, base.close, module._cancel_all_tasks = init, close, cancel

    def _around(
        self,
        real: Callable[..., Any],
        *,
        before: Callable[[Any], None] | None = None,
        after: Callable[[Any], None] | None = None,
    ) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(loop: Any, *args: Any, **kw: Any) -> Any:
            if before is not None:
                before(loop)
            answer = real(loop, *args, **kw)
            if after is not None:
                after(loop)
            return answer

        return call

    def _made(self, loop: asyncio.AbstractEventLoop) -> None:
        self._open[loop] = None

    def _closes(self, loop: asyncio.BaseEventLoop) -> None:
        if loop.is_closed() or loop.is_running():
            return
        self._open.pop(loop, None)
        self._note_tasks(loop)
        timers = cast("list[asyncio.TimerHandle]", getattr(loop, "_scheduled"))  # noqa: B009
        self._left += [Left("timer", repr(t)) for t in timers if not t.cancelled()]

    def _note_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left += [
            Left("task", f"{task.get_name()}: {where_task(task)}")
            for task in asyncio.all_tasks(loop)
        ]

    def _still_there(self) -> list[threading.Thread]:
        new = [thread for thread in threading.enumerate() if thread not in self._threads]
        until = time.monotonic() + self.join_s
        for thread in new:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))
        return [thread for thread in new if thread.is_alive()]


def _thread(thread: threading.Thread) -> str:
    return f"{thread.name}: {where_thread(thread.ident)}"

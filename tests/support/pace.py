"""How long something on a loop took, apart from what a busy machine added.

A deadline is kept to a quarter of a second, which is less than a busy machine
may have a thread wait for its turn. So two things are counted: how long the
loop chose to wait, which is never more than it asked for, and how long its
thread had a processor.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["timed"]

T = TypeVar("T")


def timed(
    ask: Callable[[], Awaitable[T]], *, then: Callable[[], object] = lambda: None
) -> tuple[T, float]:
    """Await what *ask* returns, in a loop of its own; return what came of it, and its seconds.

    *then* is called while the loop still runs.
    """
    waits = _Waits()

    async def run() -> tuple[T, float]:
        began = waits.now()
        try:
            found = await ask()
            return found, waits.now() - began
        finally:
            then()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(waits)) as runner:
        return runner.run(run())


class _Waits(selectors.SelectSelector):
    """Adds up for how long a loop waits."""

    def __init__(self) -> None:
        super().__init__()
        self._waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as selectors do; what comes on top of *timeout* is not the loop's doing."""
        began = time.monotonic()
        found = super().select(timeout)
        passed = time.monotonic() - began
        self._waited_s += passed if timeout is None else min(passed, max(timeout, 0.0))
        return found

    def now(self) -> float:
        """Return an instant in seconds, for the loop's own thread."""
        return self._waited_s + time.thread_time()

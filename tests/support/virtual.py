"""What tests of virtual time share: the loop that runs, and threads that wait for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self, cast

from pyflow.testing.loop import VirtualLoop

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
GUARD_S = 10.0
"""How long a thread of a test waits at most, so that a broken loop fails and does not hang."""


def this_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def set_when_waiting(loop: VirtualLoop, event: threading.Event) -> None:
    """Set *event* at the moment when the loop begins to wait for real.

    A loop that let time jump instead would never set it, so what the event
    releases can only come after that jump.
    """
    hooked = cast("Any", loop)
    listen = hooked._listen

    def watched(stall_s: float) -> bool:
        event.set()
        return listen(stall_s)

    hooked._listen = watched


async def serve(seconds: float) -> None:
    with this_loop().parked():
        await asyncio.sleep(seconds)


def ask(loop: VirtualLoop, seconds: float) -> None:
    """Sleep on a thread as a plain task function does, served by the loop."""
    asyncio.run_coroutine_threadsafe(serve(seconds), loop).result(GUARD_S)


class Stuck:
    """Something that a thread waits for; the thread is let go and joined at the end."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        for thread in self._threads:
            thread.join()

    def wait(self) -> None:
        self._threads.append(threading.current_thread())
        self._go.wait(GUARD_S)

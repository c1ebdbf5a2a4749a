"""Do blocking work on a thread that nobody waits for longer than agreed.

`asyncio.to_thread` would wait for a thread that hangs when the program ends;
this one is a daemon, and whoever gives up on it may say how to wake it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["aside"]

T = TypeVar("T")


async def aside(
    work: Callable[[], T], *, timeout_s: float, give_up: Callable[[], None] | None = None
) -> T:
    """Return what *work* returns, or raise what it raises.

    Args:
        work: Runs on a thread of its own.
        timeout_s: How long to wait for it, in seconds.
        give_up: Called once nobody waits any more, so that the thread can end.

    Raises:
        TimeoutError: It took longer. The thread may still run.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except BaseException as raised:  # noqa: BLE001 - it belongs to the caller
            error = raised
        try:
            loop.call_soon_threadsafe(settle, value, error)
        except RuntimeError:  # the loop is closed, and nobody waits
            return

    threading.Thread(target=run, name="pyflow-notifier", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            return await outcome
    finally:
        if give_up is not None:
            give_up()

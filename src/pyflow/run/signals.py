"""Signals during `Engine.execute`: stop starting, let what is under way end, leave the run to a resume.

A CI system that cancels a job sends a signal, waits some seconds, and kills.
The first signal is answered within the grace period; the second one at once.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pyflow.run.handle import Run
    from pyflow.run.result import Result

__all__ = ["SIGNALS", "OnCancel", "attended", "free_signals"]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

OnCancel: TypeAlias = Literal["pause", "rollback"]
"""What a signal leads to."""


async def attended(
    run: Run, signals: Sequence[signal.Signals], *, on_cancel: OnCancel, grace_s: float
) -> Result:
    """Wait for *run* to rest, unless a signal comes first.

    Raises:
        KeyboardInterrupt: SIGINT came; the run is left paused, or is rolled back.
        SystemExit: SIGTERM or SIGHUP came, likewise; its code is 128 and the signal's number.
    """
    loop = asyncio.get_running_loop()
    came: asyncio.Queue[signal.Signals] = asyncio.Queue()
    with _caught(loop, signals, came):
        rest = asyncio.ensure_future(_rest(run))
        first = await _unless(rest, came, None)
        if first is None:
            return rest.result()
        _stop(run, first, on_cancel)
        await _unless(rest, came, None if on_cancel == "rollback" else grace_s)
        rest.cancel()
    run.let_go()
    raise error_for(first)


def error_for(number: signal.Signals) -> BaseException:
    """Return what a program that was sent the signal *number* ends with."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def free_signals() -> list[signal.Signals]:
    """Return the signals that come to this thread and that nobody else handles or ignores."""
    if threading.current_thread() is not threading.main_thread():
        return []
    known = [signal.Signals[name] for name in SIGNALS if hasattr(signal, name)]
    free = (signal.SIG_DFL, signal.default_int_handler)
    return [number for number in known if signal.getsignal(number) in free]


async def _rest(run: Run) -> Result:
    return await run


async def _unless(
    rest: asyncio.Future[Result], came: asyncio.Queue[signal.Signals], within_s: float | None
) -> signal.Signals | None:
    """Wait until *rest* is done, a signal comes, or time is up; return the signal."""
    signalled = asyncio.ensure_future(came.get())
    await asyncio.wait([rest, signalled], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    if signalled.done():
        return signalled.result()
    signalled.cancel()
    return None


def _stop(run: Run, number: signal.Signals, on_cancel: OnCancel) -> None:
    with suppress(EngineError):  # it has just ended
        if on_cancel == "rollback":
            run.roll_back(by=number.name, reason="signal")
        else:
            run.pause(by=number.name, reason="signal")


@contextmanager
def _caught(
    loop: asyncio.AbstractEventLoop,
    numbers: Sequence[signal.Signals],
    came: asyncio.Queue[signal.Signals],
) -> Generator[None]:
    """Have the signals *numbers* put into *came* while the block lasts."""
    for number in numbers:
        loop.add_signal_handler(number, came.put_nowait, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)

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

    A signal is never lost: one that comes while the run ends by itself stops
    the program all the same, and what came of the run is in its record.

    Raises:
        KeyboardInterrupt: SIGINT came; the run is left paused, or is rolled back.
        SystemExit: SIGTERM or SIGHUP came, likewise; its code is 128 and the signal's number.
    """
    with _caught(signals) as caught:
        rest = asyncio.ensure_future(_rest(run))
        await caught.unless(rest, number=1, within_s=None)
        if caught.came and not rest.done():
            _stop(run, caught.came[0], on_cancel)
            within_s = None if on_cancel == "rollback" else grace_s
            await caught.unless(rest, number=2, within_s=within_s)
    if not caught.came:
        return rest.result()
    rest.cancel()
    run.let_go()
    raise error_for(caught.came[0]) from _failure(rest)


def _failure(rest: asyncio.Future[Result]) -> BaseException | None:
    """Return what *rest* failed with, if it did."""
    return rest.exception() if rest.done() and not rest.cancelled() else None


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


def _stop(run: Run, number: signal.Signals, on_cancel: OnCancel) -> None:
    with suppress(EngineError):  # it has just ended
        if on_cancel == "rollback":
            run.roll_back(by=number.name, reason="signal")
        else:
            run.pause(by=number.name, reason="signal")


class _Caught:
    """The signals that have come."""

    def __init__(self) -> None:
        self.came: list[signal.Signals] = []
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def note(self, number: int, frame: object) -> None:  # noqa: ARG002 - what a handler is called with
        """Take note of a signal, between any two steps of this thread."""
        self.came.append(signal.Signals(number))
        self._loop.call_soon_threadsafe(self._news.set)

    async def unless(
        self, rest: asyncio.Future[Result], *, number: int, within_s: float | None
    ) -> None:
        """Wait until *rest* is done, so many signals have come, or time is up."""
        self._news.clear()
        if len(self.came) >= number:
            return
        told = asyncio.ensure_future(self._news.wait())
        await asyncio.wait([rest, told], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()


@contextmanager
def _caught(numbers: Sequence[signal.Signals]) -> Generator[_Caught]:
    """Take note of the signals *numbers* while the block lasts.

    The loop only wakes up for them. What comes of them is noted by Python's
    own handlers: what the loop has been told, and has not read when its
    handler is removed, is lost.
    """
    loop, caught = asyncio.get_running_loop(), _Caught()
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, _awake)
        signal.signal(number, caught.note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _awake() -> None: ...

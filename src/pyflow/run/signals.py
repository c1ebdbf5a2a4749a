"""Signals during `Engine.execute`: stop starting, let what is under way end, leave the run to a resume.

A CI system that cancels a job sends a signal, waits some seconds, and kills.
The first signal is answered within the grace period; the second one at once.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pyflow.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from pyflow.run.handle import Run
    from pyflow.run.result import Result

__all__ = ["SIGNALS", "Caught", "OnCancel", "attended", "catching", "free_signals"]

NEVER = math.inf
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

OnCancel: TypeAlias = Literal["pause", "rollback"]
"""What a signal leads to."""


async def attended(run: Run, caught: Caught, *, on_cancel: OnCancel, grace_s: float) -> Result:
    """Wait for *run* to rest, unless a signal comes first.

    A signal is never lost: one that comes while the run ends by itself stops
    the program all the same, and what came of the run is in its record.

    Raises:
        KeyboardInterrupt: SIGINT came; the run is left paused, or is rolled back.
        SystemExit: SIGTERM or SIGHUP came, likewise; its code is 128 and the signal's number.
    """
    with caught.waking():
        rest = asyncio.ensure_future(_rest(run))
        await caught.unless(rest, number=1, within_s=None)
        if caught.came and not rest.done():
            _stop(run, caught.came[0], on_cancel)
            within_s = None if on_cancel == "rollback" else grace_s
            await caught.unless(rest, number=2, within_s=within_s)
    if not caught.came:
        return rest.result()
    await _ended(rest)
    run.let_go()
    raise error_for(caught.came[0]) from _failure(rest)


async def _ended(task: asyncio.Future[Any]) -> None:
    """Cancel *task*, and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


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


class Caught:
    """The signals that have come, from before there is a loop until it is closed."""

    def __init__(self) -> None:
        self.came: list[signal.Signals] = []
        self.raises_at = NEVER
        """How many signals it takes for the last of them to raise where it comes."""
        self._enough = 1
        self._news = asyncio.Event()
        self._tell: Callable[[], object] = _nobody

    def note(self, number: int, frame: object) -> None:  # noqa: ARG002 - what a handler is called with
        """Take note of a signal, between any two steps of this thread.

        While the loop runs nothing is raised: that could come between a
        callback that the loop has taken out of its queue, and its being
        called. Whoever waits for it would wait for ever.

        Raises:
            KeyboardInterrupt: `raises_at` is reached, and the first was SIGINT.
            SystemExit: It is reached, and the first was another one.
        """
        self.came.append(signal.Signals(number))
        if len(self.came) >= self.raises_at:
            raise error_for(self.came[0])
        self._tell()

    def begin(self, start: Callable[[], Run]) -> Run:
        """Call *start*, which the second signal cuts short; the loop itself is not at work there."""
        self.raises_at = 2
        try:
            return start()
        finally:
            self.raises_at = NEVER

    def close(self) -> None:
        """Have any signal cut short what follows: only the loop is left to be closed."""
        self.raises_at = 0

    @contextmanager
    def waking(self) -> Generator[None]:
        """Wake the loop up for signals while the block lasts, whichever thread they come to."""
        loop = asyncio.get_running_loop()
        read, write = socket.socketpair()
        with read, write:
            read.setblocking(False)
            write.setblocking(False)
            before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
            loop.add_reader(read, _hand_on, read, before)
            self._tell = partial(loop.call_soon_threadsafe, self._look)
            try:
                yield
            finally:
                self._tell = _nobody
                loop.remove_reader(read)
                since = signal.set_wakeup_fd(before)
                if since not in (write.fileno(), -1):  # a task has the loop listen to signals
                    signal.set_wakeup_fd(since)

    async def unless(
        self, rest: asyncio.Future[Result], *, number: int, within_s: float | None
    ) -> None:
        """Wait until *rest* is done, so many signals have come, or time is up."""
        self._enough = number
        self._news.clear()
        self._look()
        told = asyncio.ensure_future(self._news.wait())
        await asyncio.wait([rest, told], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        await _ended(told)

    def _look(self) -> None:
        if len(self.came) >= self._enough:
            self._news.set()


@contextmanager
def catching(numbers: Sequence[signal.Signals]) -> Generator[Caught]:
    """Take note of the signals *numbers* while the block lasts: a loop, from its making to its end.

    Raises:
        KeyboardInterrupt: SIGINT came first; what the block has failed with is its cause.
        SystemExit: SIGTERM or SIGHUP did, likewise.
    """
    caught, before = Caught(), [(number, signal.getsignal(number)) for number in numbers]
    try:
        for number in numbers:
            signal.signal(number, caught.note)
        yield caught
    except Exception as error:
        if caught.came:
            raise error_for(caught.came[0]) from error
        raise
    finally:
        caught.raises_at = NEVER
        for number, handler in reversed(before):  # SIGINT, whose own handler raises, is the last
            signal.signal(number, handler)
    if caught.came:
        raise error_for(caught.came[0])


def _hand_on(read: socket.socket, other: int) -> None:
    """Read which signals have come, and hand that on to whom it would have gone to."""
    data = read.recv(4096)
    if other != -1:
        with suppress(OSError):
            os.write(other, data)


def _nobody() -> None:
    """Tell nobody: no loop waits for signals."""

"""Virtual time, and the wall clock that tells it.

Whatever reads the date from a `Clock` and waits on the loop sees one time in
both: a run of 36 hours begins and ends 36 hours apart.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyflow.testing.errors import SimulationError

if TYPE_CHECKING:
    from collections import deque

__all__ = ["VirtualClock", "VirtualTime", "running_loop"]

running_loop = asyncio._get_running_loop  # noqa: SLF001 - there is none other that does not raise
"""Return the loop that runs on this thread, or None."""

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
RESOLUTION_MIN_S = 1e-9


class _Unwatched:
    """Makes what asyncio's own handles are without asking the loop whether it is being debugged."""

    __slots__ = ()

    def __init__(
        self,
        callback: Any,
        args: Any,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class Handle(_Unwatched, asyncio.Handle):
    """What is to be called soon."""

    __slots__ = ()


class Timer(_Unwatched, asyncio.TimerHandle):
    """What is to be called at a time; in the heap from the start."""

    __slots__ = ()

    def __init__(self, when: float, *rest: Any) -> None:
        super().__init__(*rest)
        self._when = when
        self._scheduled = True


class VirtualTime(asyncio.BaseEventLoop):
    """The part of a `VirtualLoop` that a clock reads: time that stands until it is moved."""

    # asyncio's own state, under the names that it has in every version.
    _clock_resolution: float
    _closed: bool
    _debug: bool
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]  # a heap: the next one comes first

    def __init__(self, *, start_s: float) -> None:
        self.start_s = self._now = start_s
        super().__init__()
        self._move_to(start_s)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def call_at(
        self,
        when: float,
        callback: Any,
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call *callback* at the virtual time *when*; infinity means never."""
        if math.isnan(when):
            raise ValueError("a timer was set for NaN; expected a time in seconds")
        if self._debug or self._closed or when is None:  # pyright: ignore[reportUnnecessaryComparison]
            return super().call_at(when, callback, *args, context=context)
        timer = Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        return timer

    def call_soon(
        self,
        callback: Any,
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call *callback* in the next turn."""
        if self._debug or self._closed:
            return super().call_soon(callback, *args, context=context)
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _move_to(self, now: float) -> None:
        # A timer fires if `when < now + resolution`, so the resolution must not
        # vanish in the sum; between large floats a nanosecond does.
        self._now = now
        self._clock_resolution = max(RESOLUTION_MIN_S, 2 * math.ulp(now))


class VirtualClock:
    """A `Clock` that tells an epoch plus the virtual time of the loop.

    Without a loop of its own it follows whichever `VirtualLoop` runs, and
    keeps to the last one once that has ended.
    """

    def __init__(self, loop: VirtualTime | None = None, *, epoch: datetime = EPOCH) -> None:
        """Make a clock.

        Args:
            loop: The loop whose time it tells; by default the running one.
            epoch: The instant at which the loop's time is 0.

        Raises:
            ValueError: *epoch* has no time zone.
        """
        self._loop = loop
        self._follows = loop is None
        self.epoch = epoch

    def __repr__(self) -> str:
        return f"<VirtualClock from {self._epoch.isoformat()}>"

    @property
    def epoch(self) -> datetime:
        """The instant at which the loop's time is 0; setting it steps the clock."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: datetime) -> None:
        if epoch.utcoffset() is None:
            raise ValueError(f"epoch={epoch!r} has no time zone; expected one, as in tzinfo=UTC")
        self._epoch = epoch.astimezone(UTC)

    def now(self) -> datetime:
        """Return the virtual instant in UTC, to the microsecond.

        Raises:
            SimulationError: The running loop keeps real time.
        """
        if self._follows:
            loop = running_loop()
            if loop is not None and loop is not self._loop:
                self._follow(loop)
        if self._loop is None:
            return self._epoch
        return self._epoch + timedelta(seconds=self._loop.time())

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        if not isinstance(loop, VirtualTime):
            raise SimulationError(
                f"VirtualClock was read under {type(loop).__name__}, whose time is real; run the "
                "code with run_virtual(), or give it a real clock"
            )
        self._loop = loop

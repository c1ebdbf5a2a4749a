"""The turn of a loop as asyncio takes it, but for the look at the outside world.

Callbacks and timers are kept and called in asyncio's own order, so a program
does in virtual time what it does in real time.
"""

# ruff: noqa: SLF001 - handles are asyncio's own, and what they keep has these names in every version

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections import deque

__all__ = ["drop_cancelled", "run_ready", "take_due"]

Timers: TypeAlias = "list[asyncio.TimerHandle]"
"""A heap: the next one comes first."""

KEPT_MAX = 100
"""How many timers are kept although more than half of them are cancelled."""


def take_due(timers: Timers, end_s: float, ready: deque[Any]) -> None:
    """Move every timer that is set for before *end_s* to *ready*."""
    while timers and timers[0]._when < end_s:
        timer: Any = heapq.heappop(timers)
        timer._scheduled = False
        ready.append(timer)


def run_ready(ready: deque[Any]) -> None:
    """Call what is in *ready*; what that adds is for the next turn."""
    for _ in range(len(ready)):
        handle = ready.popleft()
        if not handle._cancelled:
            handle._run()


def drop_cancelled(timers: Timers, count: int) -> int:
    """Drop timers that are cancelled: those that come first, or all where they are many.

    Args:
        timers: What is kept; changed in place.
        count: How many of them are cancelled, at most.

    Returns:
        How many cancelled ones are still kept, at most.
    """
    if len(timers) > KEPT_MAX and count / len(timers) > 1 / 2:
        kept: list[Any] = []
        for timer in timers:
            timer._scheduled = not timer._cancelled
            if timer._scheduled:
                kept.append(timer)
        timers[:] = kept
        heapq.heapify(timers)
        return 0
    while timers and timers[0]._cancelled:
        count -= 1
        heapq.heappop(timers)._scheduled = False
    return count

"""How long something on a loop took, and how much later than it should a test may find it.

A test says that a deadline ends what would go on for ever. By how much it is
late is measured where nothing else runs, in `benchmarks/deadlines.py`: a busy
machine may have a thread wait for seconds. For the same reason a deadline
within which something has to happen first is `LASTING_S`, and what has one is
run `together`, so that they last no longer than one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

__all__ = ["LASTING_S", "SLACK_S", "timed", "together"]

K = TypeVar("K")
T = TypeVar("T")

LASTING_S = 10.0
"""A deadline that is far enough for what has to happen before it."""
SLACK_S = 20.0
"""How late a test lets something be that would never end."""


def timed(
    ask: Callable[[], Awaitable[T]], *, then: Callable[[], object] = lambda: None
) -> tuple[T, float]:
    """Await what *ask* returns, in a loop of its own; return what came of it, and its seconds.

    *then* is called while the loop still runs.
    """

    async def run() -> tuple[T, float]:
        try:
            return await _clocked(ask)
        finally:
            then()

    return asyncio.run(run())


def together(asks: Mapping[K, Callable[[], Awaitable[T]]]) -> dict[K, tuple[T, float]]:
    """Await what all *asks* return at a time; return by key what came of each, and its seconds."""

    async def run() -> list[tuple[T, float]]:
        return await asyncio.gather(*map(_clocked, asks.values()))

    return dict(zip(asks, asyncio.run(run()), strict=True))


async def _clocked(ask: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    found = await ask()
    return found, loop.time() - began

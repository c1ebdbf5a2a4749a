"""Turns of a loop: what is called when, as asyncio itself would."""

from __future__ import annotations

import asyncio
import random
import selectors
from typing import TYPE_CHECKING, Any

import pytest

from pyflow.testing.loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable


class AsyncioTurns(asyncio.SelectorEventLoop):
    """asyncio's own turns, with a clock that jumps to the next timer."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = self.Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    class Selector(selectors.DefaultSelector):
        loop: Any

        def select(self, timeout: float | None = None) -> list[Any]:
            if timeout != 0:
                self.loop.now = self.loop._scheduled[0].when()
            return []


def story(loop: asyncio.AbstractEventLoop, seed: int) -> list[tuple[float, int]]:
    """Return when timers were called that set and cancel others at random."""
    rng = random.Random(seed)
    timers: list[asyncio.TimerHandle] = []
    called: list[tuple[float, int]] = []

    def fire(number: int) -> None:
        called.append((loop.time(), number))
        for timer in rng.sample(timers, len(timers) * 2 // 3):
            timer.cancel()
        if len(timers) < 2_000:
            add(rng.randrange(40))
        if rng.random() < 0.3:
            loop.call_soon(called.append, (loop.time(), -number))

    def add(count: int) -> None:
        timers.extend(
            loop.call_later(float(rng.randrange(30)), fire, len(timers) + n) for n in range(count)
        )

    add(300)
    loop.call_later(500.0, loop.stop)
    loop.run_forever()
    loop.close()
    return called


class TestTurns:
    @pytest.mark.parametrize("seed", range(20))
    def test_order(self, seed: int) -> None:
        """However many timers are cancelled, calls come as in asyncio's own turns."""
        makers: tuple[Callable[[], asyncio.AbstractEventLoop], ...] = (AsyncioTurns, VirtualLoop)

        expected, seen = (story(make(), seed) for make in makers)

        assert seen == expected
        assert len(seen) > 10

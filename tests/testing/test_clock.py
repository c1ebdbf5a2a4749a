"""The clock that tells virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from pyflow.testing.errors import SimulationError
from pyflow.testing.loop import VirtualClock, VirtualLoop, run_virtual
from support.virtual import HOUR_S, this_loop

if TYPE_CHECKING:
    from pyflow.protocols import Clock


class TestClock:
    def test_follows_loop(self) -> None:
        """The clock says its epoch plus the time of the running loop."""
        clock: Clock = VirtualClock()

        async def main() -> datetime:
            await asyncio.sleep(36 * HOUR_S)
            return clock.now()

        assert run_virtual(main()) == datetime(2026, 1, 2, 12, tzinfo=UTC)

    def test_microseconds(self) -> None:
        """The sum of many small sleeps reads as a whole number of microseconds."""
        clock = VirtualClock()

        async def main() -> datetime:
            for _ in range(1000):
                await asyncio.sleep(0.1)
            assert this_loop().time() != 100.0
            return clock.now()

        assert run_virtual(main()) == datetime(2026, 1, 1, 0, 1, 40, tzinfo=UTC)

    def test_before_and_after(self) -> None:
        """The clock says its epoch before any run, and the last instant after one."""
        clock = VirtualClock()

        async def main() -> None:
            clock.now()
            await asyncio.sleep(60)

        before = clock.now()
        run_virtual(main())
        after = clock.now()

        assert after - before == timedelta(seconds=60)

    def test_next_run(self) -> None:
        """A clock without a loop of its own starts again with the next run."""
        clock = VirtualClock()

        async def main() -> datetime:
            await asyncio.sleep(60)
            return clock.now()

        assert run_virtual(main()) == run_virtual(main())

    def test_given_loop(self) -> None:
        """A clock that was given a loop keeps to it."""
        loop = VirtualLoop(start_s=5.0)
        clock = VirtualClock(loop)
        loop.close()

        async def main() -> datetime:
            await asyncio.sleep(60)
            return clock.now()

        assert run_virtual(main()) == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)

    def test_steps(self) -> None:
        """Setting the epoch steps the clock, backwards too, and moves no timer."""
        clock = VirtualClock(epoch=datetime(2026, 3, 29, 3, tzinfo=timezone(timedelta(hours=2))))

        async def main() -> tuple[datetime, float]:
            await asyncio.sleep(60)
            clock.epoch -= timedelta(hours=1)
            return clock.now(), this_loop().time()

        assert run_virtual(main()) == (datetime(2026, 3, 29, 0, 1, tzinfo=UTC), 60.0)
        assert repr(clock) == "<VirtualClock from 2026-03-29T00:00:00+00:00>"

    def test_naive_epoch(self) -> None:
        """An epoch without a time zone is refused."""
        with pytest.raises(ValueError, match="time zone"):
            VirtualClock(epoch=datetime(2026, 1, 1))  # noqa: DTZ001

    def test_real_loop(self) -> None:
        """The clock refuses to pass off real time as virtual."""
        clock = VirtualClock()

        async def main() -> None:
            clock.now()

        with pytest.raises(SimulationError, match="time is real"):
            asyncio.run(main())

"""The contract of a clock, over what keeps it and over what breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from pyflow.run.engine import SystemClock
from pyflow.testing.clock import VirtualClock, running_loop
from pyflow.testing.contracts import check_clock
from pyflow.testing.contracts import clock as suite
from support.contracts import Broken, assert_breaks, ids, never_broken

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Fixed:
    """Stands still."""

    def now(self) -> Any:
        return NOW


class Stamp(Fixed):
    """Tells seconds."""

    def now(self) -> Any:
        return NOW.timestamp()


class Naive(Fixed):
    """Leaves the time zone out."""

    def now(self) -> Any:
        return NOW.replace(tzinfo=None)


class Local(Fixed):
    """Tells the time of another place."""

    def now(self) -> Any:
        return NOW.astimezone(timezone(timedelta(hours=1)))


class RunsOut(Fixed):
    """Has three instants, and no more."""

    def __init__(self) -> None:
        self.left = [NOW] * 3

    def now(self) -> Any:
        return self.left.pop()


class NeedsLoop(Fixed):
    """Tells the time of the loop that runs."""

    def now(self) -> Any:
        return NOW + timedelta(seconds=asyncio.get_running_loop().time())


class ShunsLoop(Fixed):
    """Blocks, and so refuses to be read from a loop."""

    def now(self) -> Any:
        if running_loop() is not None:
            raise RuntimeError("it would block")
        return NOW


BROKEN: list[Broken] = [
    (
        Stamp,
        [
            "where no event loop runs",
            "aware, in UTC",
            "again and again",
            "where an event loop runs",
        ],
    ),
    (Naive, ["aware, in UTC"]),
    (Local, ["aware, in UTC"]),
    (RunsOut, ["again and again"]),
    (NeedsLoop, ["where no event loop runs", "aware, in UTC", "again and again"]),
    (ShunsLoop, ["where an event loop runs"]),
]


class TestCheckClock:
    @pytest.mark.parametrize("make", [Fixed, SystemClock, VirtualClock], ids=ids)
    def test_passes(self, make: Any) -> None:
        """The machine's clock and the virtual one keep the contract."""
        check_clock(make)

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """A clock that breaks a rule is caught, and the rule is named."""
        assert_breaks(lambda: check_clock(broken), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the clocks above."""
        assert never_broken(suite._RULES, BROKEN) == []

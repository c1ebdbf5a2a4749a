"""How the suites check and report."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest

from pyflow.testing import contracts
from pyflow.testing.contracts.rules import check_async_rules, check_rules, expect_refusal, settled
from pyflow.testing.loop import run_virtual
from support.contracts import broken_rules


def is_empty(thing: list[int]) -> None:
    """It is empty."""
    thing.append(1)
    assert thing == [1]


def breaks(thing: list[int]) -> None:
    """It does not break."""
    raise OSError("no\nroute")


def fails(thing: list[int]) -> None:
    """It holds two."""
    raise AssertionError(f"found {thing}")


async def ends(thing: list[int]) -> None:
    """It ends."""


async def hangs(thing: list[int]) -> None:
    """It does not hang."""
    await asyncio.Event().wait()


async def is_cancelled(thing: list[int]) -> None:
    """It is not cancelled."""
    raise asyncio.CancelledError


class TestCheckRules:
    def test_report(self) -> None:
        """The report numbers the rules that are broken, and says how, each on a line."""
        with pytest.raises(AssertionError) as caught:
            check_rules([is_empty, breaks, is_empty, fails], list[int])

        assert str(caught.value).splitlines() == [
            "2 broken rules:",
            "  1. It does not break.",
            r"     OSError('no\nroute')",
            "  2. It holds two.",
            "     found []",
        ]

    def test_making(self) -> None:
        """What cannot even be made breaks every rule."""

        def make() -> NoReturn:
            raise OSError("no route")

        assert broken_rules(lambda: check_rules([is_empty, fails], make)) == [
            "It is empty.",
            "It holds two.",
        ]


class TestCheckAsyncRules:
    def test_guard(self) -> None:
        """A rule that does not end is broken, and the others are checked."""
        with pytest.raises(AssertionError, match=r"1\. It does not hang\.\n +.* after 30 s$"):
            run_virtual(check_async_rules([ends, hangs, ends], list[int]))

    def test_cancelled(self) -> None:
        """A rule that is cancelled from within is broken, and the others are checked."""
        with pytest.raises(AssertionError, match=r"nobody had cancelled it\n  2\. It does not"):
            run_virtual(check_async_rules([is_cancelled, hangs], list[int]))

    def test_cancelled_from_outside(self) -> None:
        """A suite that is cancelled ends with the rule that it was at."""

        async def main() -> bool:
            suite = asyncio.ensure_future(check_async_rules([hangs, ends], list[int]))
            await asyncio.sleep(1)
            suite.cancel()
            await asyncio.wait([suite])
            return suite.cancelled()

        assert run_virtual(main())


class TestExpectRefusal:
    def test_taken(self) -> None:
        """What is taken is named."""
        with pytest.raises(AssertionError, match="it took -1 instances"):
            run_virtual(expect_refusal(asyncio.sleep(0), "-1 instances"))


class TestSettled:
    def test_in_time(self) -> None:
        """The first look that shows no problem is returned, be it the one at the deadline."""

        async def main(come_true_s: float) -> float:
            now = asyncio.get_running_loop().time

            async def look() -> float:
                return now()

            def problem(at_s: float) -> str | None:
                return None if at_s >= come_true_s else f"it was {at_s:g}"

            return await settled(look, problem, settle_s=100)

        assert [run_virtual(main(at_s)) for at_s in (0, 1.5, 100)] == [0, 2, 100]
        with pytest.raises(AssertionError, match="after 100 s it was 100"):
            run_virtual(main(101))


class TestTheFrontDoor:
    def test_has_a_suite_for_every_port(self) -> None:
        """There is a suite for each of the nine ports."""
        from pyflow import protocols

        ports = [
            name
            for name in protocols.__all__
            if (port := getattr(protocols, name)) and getattr(port, "_is_protocol", False)
        ]
        words: Any = {"LockManager": "lock_manager", "MetricSource": "metric_source"}

        assert contracts.__all__ == sorted(f"check_{words.get(p, p.lower())}" for p in ports)

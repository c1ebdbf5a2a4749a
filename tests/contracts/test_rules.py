"""How the suites check and report."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest

from pyflow.errors import DefinitionError
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

    def test_one(self) -> None:
        """One broken rule is one rule."""
        with pytest.raises(AssertionError, match=r"^1 broken rule:\n  1"):
            check_rules([is_empty, fails], list[int])

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


async def make_later() -> list[int]:
    raise AssertionError("nobody awaits it")


MISTAKES: dict[str, tuple[Any, str]] = {
    "thing": ([1], "make: is [1], which cannot be called; pass a function"),
    "async": (make_later, "make: returns a coroutine, which nobody awaits; make it a plain func"),
    "coroutine": (lambda: make_later(), "make: returns a coroutine, which nobody awaits; make it"),
    "argument": (lambda root: [root], "make: cannot be called without arguments: "),
}


class TestMake:
    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_is_the_callers(self, mistake: str) -> None:
        """What cannot make a thing is the caller's mistake, and breaks no rule."""
        make, text = MISTAKES[mistake]

        for check in (
            lambda: check_rules([is_empty, fails], make),
            lambda: run_virtual(check_async_rules([ends, ends], make)),
            lambda: run_virtual(contracts.check_executor(make)),
            lambda: contracts.check_clock(make),
        ):
            with pytest.raises(DefinitionError) as caught:
                check()
            assert str(caught.value).startswith(text)


class TestArguments:
    @pytest.mark.parametrize(
        ("check", "options", "text"),
        [
            ("platform", {"most": 0}, "most=: 0 instances; give a whole number from 1"),
            ("platform", {"most": 2.5}, "most=: 2.5 instances; give a whole number from 1"),
            ("platform", {"service": None}, "service=: None is no name; give text"),
            ("platform", {"version": ""}, "version=: '' is no name; give text"),
            ("metric_source", {"known": ["rps"]}, "known=: ['rps'] is no name; give text"),
            ("metric_source", {"known": "rps", "unknown": ""}, "unknown=: '' is no name"),
            ("notifier", {"delivered": ["1"]}, "delivered=: ['1'] cannot be called; give a func"),
        ],
    )
    def test_are_the_callers(self, check: str, options: dict[str, Any], text: str) -> None:
        """An argument that makes no sense is the caller's mistake, and breaks no rule."""
        suite: Any = getattr(contracts, f"check_{check}")
        given: dict[str, Any] = {"service": "shop", "version": "1"} if check == "platform" else {}

        with pytest.raises(DefinitionError) as caught:
            run_virtual(suite(object, **{**given, **options}))

        assert str(caught.value).startswith(text)


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

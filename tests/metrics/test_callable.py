"""The source that asks a function."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

import pytest

from pyflow.errors import DefinitionError, MetricError
from pyflow.metrics import Callable
from pyflow.protocols import Sample
from pyflow.testing import check_metric_source
from support.sources import HOUR, MINUTE, NOON, Standing, ask, sample, values


def make(fn: Any, **options: Any) -> Callable:
    return Callable(fn, clock=Standing(), **options)


class TestCallable:
    def test_number(self) -> None:
        """A number is a sample of this instant, and is remembered."""
        clock, numbers = Standing(), iter((1, 2.5, 3))
        source = Callable(lambda query: next(numbers), clock=clock)

        ask(source)
        clock.at += MINUTE

        assert values(ask(source)) == [1, 2.5]
        assert values(ask(source, at=NOON)) == [1]

    def test_remembers_so_much(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is remembered has a limit, and the oldest goes."""
        monkeypatch.setattr("pyflow.metrics._series.KEPT_MAX", 2)
        clock, numbers = Standing(), iter((1, 2, 3))
        source = Callable(lambda query: next(numbers), clock=clock)

        for _ in range(2):
            ask(source)
            clock.at += MINUTE

        assert values(ask(source)) == [2, 3]

    def test_samples(self) -> None:
        """Samples are taken as they are, within the window."""
        source = make(lambda query: [sample(7200, 1), sample(60, 2), sample(0, 3)])

        assert values(ask(source)) == [2, 3]

    def test_none(self) -> None:
        """None is no data."""
        assert values(ask(make(lambda query: None))) == []

    def test_query(self) -> None:
        """The function is given the query."""
        assert values(ask(make(lambda query: len(query)), "four")) == [4]

    def test_async(self) -> None:
        """An async function is awaited, and so is what a plain one returns."""

        async def fn(query: str) -> float:
            return 1.5

        assert values(ask(make(fn))) == [1.5]
        assert values(ask(make(lambda query: fn(query)))) == [1.5]

    @pytest.mark.parametrize(
        "answer", ["1", True, [1], {"a": 1}, (Sample(NOON.replace(tzinfo=None), 1),)]
    )
    def test_no_answer(self, answer: Any) -> None:
        """Anything else is an error."""
        with pytest.raises(MetricError, match="expected a number"):
            ask(make(lambda query: answer))

    def test_raises(self) -> None:
        """A function that raises is an error; one of ours passes as it is."""
        with pytest.raises(MetricError, match="ZeroDivisionError"):
            ask(make(lambda query: 1 / 0))

        def fn(query: str) -> float:
            raise MetricError("mine", query, "on strike")

        with pytest.raises(MetricError, match="mine cannot answer 'up': on strike"):
            ask(make(fn))

    def test_slow(self) -> None:
        """A function that takes too long is an error."""
        done = Event()

        async def run() -> None:
            try:
                await make(lambda query: done.wait(30), timeout=0.05).query("up", window=HOUR)
            finally:
                done.set()

        with pytest.raises(MetricError, match=r"within 0\.05 s"):
            asyncio.run(run())

    def test_contract(self) -> None:
        """It keeps the contract of a source."""
        samples = [sample(60 * n, n) for n in range(90, -1, -1)]
        source = make(lambda query: samples if query == "up" else None)

        asyncio.run(check_metric_source(lambda: source, known="up", unknown="down"))

    @pytest.mark.parametrize(
        ("options", "words"),
        [({"fn": 7}, "function"), ({"name": ""}, "name"), ({"timeout": 0}, "timeout")],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the source is made."""
        with pytest.raises(DefinitionError, match=words):
            Callable(**dict[str, Any](fn=len) | options)

    def test_repr(self) -> None:
        """The repr names the function."""
        assert repr(Callable(len)) == "Callable(len)"
        assert repr(Callable(len, name="size")) == "Callable(size)"

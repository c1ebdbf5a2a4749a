"""The contract of a source of metrics, over what keeps it and over what breaks it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pyflow.errors import PyflowError
from pyflow.protocols import MetricSource, Sample
from pyflow.testing.contracts import check_metric_source
from pyflow.testing.contracts import metric_source as suite
from pyflow.testing.loop import run_virtual
from support.contracts import Broken, assert_breaks, ids, never_broken

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STEP = timedelta(seconds=10)
SERIES = tuple(Sample(NOW - STEP * n, n / 2) for n in reversed(range(120)))


class Series:
    """Has a sample every ten seconds, for twenty minutes up to now."""

    async def query(
        self, query: str, /, *, window: timedelta, at: datetime | None = None
    ) -> list[Any]:
        return self.answer(query, window, at or NOW)

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return [s for s in SERIES if query == "up" and at - window < s.at <= at]


class Refuses(Series):
    """Takes no query that it does not know."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        if query != "up":
            raise PyflowError(f"there is no {query!r}")
        return super().answer(query, window, at)


class Silent(Series):
    """Never has any data."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return []


class Raw(Series):
    """Hands out what only looks like a sample."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return [SimpleNamespace(at=s.at, value=s.value) for s in super().answer(query, window, at)]


class Gaps(Series):
    """Takes a gap for a value."""

    gap: Any = math.nan

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return [Sample(s.at, s.value or self.gap) for s in super().answer(query, window, at)]


class Unbounded(Gaps):
    """Divides by zero."""

    gap = math.inf


class Textual(Gaps):
    """Hands out a value as it came over the wire."""

    gap = "0"


class Naive(Series):
    """Leaves the time zone out."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        found = super().answer(query, window, at.replace(tzinfo=UTC))
        return [Sample(s.at.replace(tzinfo=None), s.value) for s in found]


class Backwards(Series):
    """Begins with the latest."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return super().answer(query, window, at)[::-1]


class Early(Series):
    """Takes the beginning of the window in."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return [s for s in SERIES if query == "up" and at - window <= s.at <= at]


class Present(Series):
    """Asks about now, whatever it is asked."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return super().answer(query, window, NOW)


class Late(Series):
    """Leaves the end of the window out."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return [s for s in super().answer(query, window, at) if s.at < at]


class Forgets(Series):
    """Gives each answer once."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        self.asked.append((query, window, at))
        once = self.asked.count(self.asked[-1]) < 3  # The first question asks about now.
        return super().answer(query, window, at) if once else []


class Thins(Series):
    """Leaves samples out where there are many."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        found = super().answer(query, window, at)
        step = len(found) // 10 or 1
        return found[::-step][::-1]


class Invents(Series):
    """Takes no data for zero."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return super().answer(query, window, at) or [Sample(at, 0.0)]


class Stumbles(Series):
    """Looks a query up without a thought of its absence."""

    def answer(self, query: str, window: timedelta, at: datetime) -> list[Any]:
        return {"up": super().answer(query, window, at)}[query]


BROKEN: list[Broken] = [
    (Silent, [rule.__doc__ or "" for rule in suite._RULES]),
    (Raw, ["answered with `Sample`s"]),
    (Gaps, ["a finite number"]),
    (Unbounded, ["a finite number"]),
    (Textual, ["a finite number"]),
    (Naive, ["instant is aware"]),
    (Backwards, ["ascending order"]),
    (Early, ["inside the window"]),
    (Present, ["inside the window"]),
    (Late, ["belongs to the window"]),
    (Forgets, ["gives the same samples"]),
    (Thins, ["A wider window"]),
    (Invents, ["A query without data"]),
    (Stumbles, ["A query without data"]),
]


class TestCheckMetricSource:
    @pytest.mark.parametrize("make", [Series, Refuses], ids=ids)
    def test_passes(self, make: Any) -> None:
        """A source keeps the contract whether it refuses what it does not know or not."""
        source: MetricSource = make()

        run_virtual(check_metric_source(lambda: source, known="up", unknown="down", window="10m"))

    @pytest.mark.parametrize(("broken", "rules"), BROKEN, ids=ids)
    def test_catches(self, broken: Any, rules: Sequence[str]) -> None:
        """A source that breaks a rule is caught, and the rule is named."""
        check = lambda: check_metric_source(broken, known="up", unknown="down", window="10m")  # noqa: E731

        assert_breaks(lambda: run_virtual(check()), rules)

    def test_every_rule(self) -> None:
        """Every rule is broken by one of the sources above, besides the one that has no data."""
        assert never_broken([*suite._RULES, suite._invents_nothing], BROKEN[1:]) == []

    def test_without_unknown(self) -> None:
        """Without a query that has no data, the rule about it is left out."""
        run_virtual(check_metric_source(Invents, known="up", window="10m"))

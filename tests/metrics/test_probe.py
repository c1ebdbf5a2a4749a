"""A source and a threshold as a probe."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyflow.errors import DefinitionError
from pyflow.metrics import Callable, MetricProbe
from pyflow.metrics.bounds import Bounds
from pyflow.protocols import Probe, Reading
from pyflow.testing import check_probe
from support.sources import Standing, sample


def source(*pairs: tuple[float, float]) -> Callable:
    samples = [sample(age_s, value) for age_s, value in pairs]
    return Callable(lambda query: samples, clock=Standing(), name="fake")


def read(*pairs: tuple[float, float], **options: Any) -> Reading:
    return asyncio.run(MetricProbe(source(*pairs), "p99", **options).read())


class TestRead:
    @pytest.mark.parametrize(
        ("value", "health"), [(0.3, "healthy"), (0.4, "unhealthy"), (0.5, "unhealthy")]
    )
    def test_below(self, value: float, health: str) -> None:
        """A value is healthy strictly below its bound."""
        assert read((0, value), below=0.4).health == health

    @pytest.mark.parametrize(("value", "health"), [(0.9, "unhealthy"), (0.95, "healthy")])
    def test_above(self, value: float, health: str) -> None:
        """A value is healthy strictly above its bound."""
        assert read((0, value), above=0.9).health == health

    @pytest.mark.parametrize(
        ("take", "value"), [("last", 3), ("mean", 4), ("least", 1), ("greatest", 8)]
    )
    def test_take(self, take: Any, value: float) -> None:
        """The value is what was asked for of the window."""
        reading = read((30, 1), (20, 8), (10, 3), below=9, take=take)

        assert reading.evidence["value"] == value

    def test_evidence(self) -> None:
        """The evidence is the value, its instant, and what was expected."""
        assert read((0, 0.5), above=0.1, below=0.4).evidence == {
            "query": "p99",
            "value": 0.5,
            "at": "2026-01-02T12:00:00+00:00",
            "expected": "above 0.1 and below 0.4",
        }

    @pytest.mark.parametrize("pairs", [(), ((400, 0.1),)])
    def test_no_data(self, pairs: Any) -> None:
        """No sample in the window is unknown, never healthy."""
        reading = read(*pairs, below=1)

        assert (reading.health, reading.evidence["reason"]) == ("unknown", "no sample in 5m")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_strange(self, value: float) -> None:
        """NaN and infinities are unknown, and the evidence says that they were there."""
        reading = read((0, value), above=-1)

        assert (reading.health, len(reading.evidence["notes"])) == ("unknown", 1)

    def test_error(self) -> None:
        """A source that fails is unknown."""
        broken = Callable(lambda query: 1 / 0)

        reading = asyncio.run(MetricProbe(broken, "p99", below=1).read())

        assert reading.health == "unknown"
        assert "ZeroDivisionError" in reading.evidence["error"]

    def test_contract(self) -> None:
        """It keeps the contract of a probe."""
        assert isinstance(MetricProbe(source(), "p99", below=1), Probe)
        asyncio.run(check_probe(lambda: MetricProbe(source((0, 1)), "p99", below=2)))


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({}, "no condition"),
            ({"below": "1"}, "below='1'"),
            ({"above": float("nan")}, "above=nan"),
            ({"below": True}, "below=True"),
            ({"above": 2, "below": 1}, "swap them"),
            ({"below": 1, "take": "median"}, "take"),
            ({"below": 1, "window": 0}, "window"),
            ({"below": 1, "source": 7}, "no source of metrics"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument, or no condition, is refused when the probe is made."""
        with pytest.raises(DefinitionError, match=words):
            MetricProbe(**dict[str, Any](source=source(), query="p99") | options)

    def test_repr(self) -> None:
        """The repr says what is expected of what."""
        probe = MetricProbe(source(), "p99", below=0.4)

        assert repr(probe) == "MetricProbe('p99' below 0.4, Callable(fake))"

    def test_bounds(self) -> None:
        """NaN lies within no bounds."""
        assert not Bounds(above=0).hold(float("nan"))

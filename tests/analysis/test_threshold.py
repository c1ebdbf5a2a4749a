"""Thresholds: Argo's measurement phases, bounds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyflow.analysis import Custom, Limits, Rate, Threshold, extend, retry
from pyflow.analysis.judges.sequential import Sequential
from pyflow.errors import DefinitionError, MetricError
from support.measured import analysed, failure, measurements, says, verdicts

VECTORS = json.loads((Path(__file__).parent / "data" / "argo_analysis_vectors.json").read_text())
PHASES = {"Successful": "pass", "Failed": "fail", "Inconclusive": "inconclusive", "Error": "error"}
PASSES = {"true": {"above": 0}, "false": {"above": 2}, "": {}}
FAILS = {"true": {"fails_above": 0}, "false": {"fails_above": 2}, "": {}}


def refusal(**options: Any) -> str:
    given: dict[str, Any] = {"source": says(1), "query": "up", "above": 0} | options
    with pytest.raises(DefinitionError) as caught:
        Threshold(**given)
    return str(caught.value)


def judged(value: Any, **bounds: Any) -> tuple[str, str]:
    """Return verdict and reason of one measurement."""
    (data,) = measurements(analysed(Threshold(says(value), "up", **bounds)))
    return data["verdict"], data["judgement"]["reason"]


class TestArgo:
    @pytest.mark.parametrize("vector", VECTORS["measurement_phase"])
    def test_phases(self, vector: dict[str, Any]) -> None:
        """A measurement comes to Argo's phase; the one without a condition cannot be made."""
        success, fail = vector["successCondition"], vector["failureCondition"]
        if success == fail == "":
            assert vector["expected"] == "Successful"
            assert "no condition" in refusal(above=None)
        elif "a == true" in (success, fail):  # a condition that raises
            result = analysed(Custom(lambda arms: 1 / 0, error="abort"))
            assert verdicts(result) == [PHASES[vector["expected"]]]
        else:
            found, _ = judged(1, **PASSES[success], **FAILS[fail])
            assert found == PHASES[vector["expected"]]


class TestJudge:
    @pytest.mark.parametrize(
        ("value", "bounds", "verdict", "reason"),
        [
            (0.3, {"below": 0.4}, "pass", "0.3 is below 0.4"),
            (0.4, {"below": 0.4}, "fail", "0.4 is not below 0.4"),
            (5, {"above": 1, "below": 4}, "fail", "5 is not above 1 and below 4"),
            (0.5, {"below": 0.4, "fails_above": 0.6}, "inconclusive", "0.5 is not below 0.4"),
            (0.7, {"below": 0.4, "fails_above": 0.6}, "fail", "0.7 is above 0.6"),
            (0.1, {"fails_below": 0.2}, "fail", "0.1 is below 0.2"),
            (0.3, {"fails_below": 0.2}, "pass", "0.3 is beyond no bound"),
        ],
    )
    def test_bounds(self, value: float, bounds: Any, verdict: str, reason: str) -> None:
        """A value is held against its bounds, and the reason has the numbers."""
        assert judged(value, **bounds) == (verdict, reason)

    @pytest.mark.parametrize(
        ("value", "verdict"),
        [
            (None, "no_data"),
            (MetricError("s", "q", "down"), "error"),
            (ZeroDivisionError(), "error"),
        ],
    )
    def test_nothing(self, value: Any, verdict: str) -> None:
        """No data and errors are what they are, and never a pass."""
        result = analysed(Threshold(says(value), "up", above=-1, error="abort", no_data="abort"))

        assert verdicts(result) == [verdict]
        assert failure(result).startswith(f"AnalysisFailed: up: {verdict}")

    def test_version(self) -> None:
        """`$version` stands for the canary."""
        source = says(1)

        analysed(Threshold(source, 'p99{v="$version"} ${version}', above=0))

        assert source.asked == [('p99{v="2.0"} 2.0', 0)]

    def test_notes(self) -> None:
        """What the source says besides is recorded."""
        (data,) = measurements(analysed(Threshold(says(None), "up", above=0)))

        assert data["notes"] == ["nothing there"]

    def test_take(self) -> None:
        """Every sample that the value was taken from is recorded."""
        (data,) = measurements(analysed(Threshold(says(3), "up", above=0, take="mean")))

        assert data["values"] == {"samples": [["2026-01-01T00:00:00+00:00", 3.0]]}
        assert data["settings"]["take"] == "mean"


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"source": 7}, "no source of metrics"),
            ({"source": Sequential}, "no source of metrics"),
            ({"query": ""}, "query=''"),
            ({"above": None}, "no condition, and would pass whatever is measured"),
            ({"above": "1"}, "above='1'"),
            ({"fails_below": float("inf")}, "fails_below=inf"),
            ({"above": 2, "below": 1}, "swap them"),
            ({"take": "median"}, "take='median'"),
            ({"window": 0}, "window"),
            ({"interval": "soon"}, "interval"),
            ({"initial_delay": -1}, "initial_delay"),
            ({"count": 0}, "count=0"),
            ({"count": 2}, "needs interval="),
            ({"weight": 0}, "weight=0"),
            ({"weight": True}, "weight=True"),
            ({"limits": 3}, "limits=3"),
            ({"name": ""}, "name=''"),
            ({"fail": "promote"}, "fail='promote' must be 'abort', 'hold', extend"),
            ({"inconclusive": "pass"}, "inconclusive='pass'"),
            ({"no_data": None}, "no_data=None"),
            ({"error": extend("5m")}, "error=extend(…) by a span needs interval="),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the check is made."""
        assert words in refusal(**options)

    def test_all_at_once(self) -> None:
        """All wrong arguments are reported together."""
        assert "3 problems" in refusal(source=7, above=None, count=0)

    def test_names(self) -> None:
        """A check is called what it asks, unless it is given a name."""
        assert Threshold(says(1), "up", above=0).name == "up"
        assert repr(Threshold(says(1), "up", above=0, name="alive")) == "<Threshold alive>"

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: Limits(failures=-1), "failures=-1"),
            (lambda: Limits(no_data=1.5), "no_data=1.5"),  # pyright: ignore[reportArgumentType]
            (lambda: Limits(successes=0), "pass without a measurement"),
            (lambda: Limits(failure_rate=3), "must be a Rate"),  # pyright: ignore[reportArgumentType]
            (lambda: Rate(3, among=3), "never more than 3 among 3"),
            (lambda: Rate(-1, among=True), "2 problems"),
            (lambda: extend(0), "budget 0"),
            (lambda: extend("soon"), "not a span"),
            (lambda: extend(1, then="pass"), "then='pass'"),  # pyright: ignore[reportArgumentType]
            (lambda: retry("5m"), "budget '5m'"),  # pyright: ignore[reportArgumentType]
            (lambda: retry(1, every=0), "more than zero"),
            (lambda: retry(True, then="go"), "2 problems"),  # pyright: ignore[reportArgumentType]
        ],
    )
    def test_parts(self, make: Any, words: str) -> None:
        """Wrong limits and policies are refused when they are made."""
        with pytest.raises(DefinitionError) as caught:
            make()

        assert words in str(caught.value)

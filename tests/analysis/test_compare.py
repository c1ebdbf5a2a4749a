"""Comparisons of counts and of values, look by look."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pyflow.analysis import Compare, CompareValues, Counts, FixedSample, Judgement, extend, retry
from pyflow.analysis.checks.compare import judged
from pyflow.analysis.checks.series import growth
from pyflow.analysis.judges.sequential import Sequential
from pyflow.errors import DefinitionError, MetricError
from support.measured import Told, analysed, failure, measurements, traffic, verdicts

NOON = "2026-01-01T12:00:{:02d}+00:00"
QUERIES = ("errors $version", "requests $version")


def compare(source: Any, **options: Any) -> Compare:
    given: dict[str, Any] = {
        "max_increase": 0.01,
        "interval": "1m",
        "count": 5,
        "name": "errors",
    } | options
    return Compare(source, *QUERIES, **given)


def latency(factor: float, *, seed: int = 1) -> Told:
    """Return a source of latencies of which those of the canary are *factor* times as high."""
    rng = random.Random(seed)
    return Told(
        lambda query, now_s: rng.lognormvariate(-1, 0.2) * (factor if "2.0" in query else 1)
    )


def values(source: Any, **options: Any) -> CompareValues:
    defaults: dict[str, Any] = {
        "max_increase": 0.2,
        "interval": "15s",
        "count": 40,
        "name": "latency",
    }
    return CompareValues(source, "p99 $version", **defaults | options)


class TestCompare:
    def test_worse(self) -> None:
        """A canary that fails more often is found, with its counts in the trail."""
        result = analysed(compare(traffic(0.06)))

        assert failure(result).startswith("AnalysisFailed: errors: fail: the canary is")
        assert verdicts(result) == ["inconclusive", "fail"]
        data = measurements(result)[1]
        assert data["judgement"]["samples"] == [1200, 1200]
        assert data["values"]["canary"]["requests"] == [["2026-01-01T00:01:00+00:00", 2200.0]]

    def test_no_worse(self) -> None:
        """A canary that is no worse passes, once enough was counted to know."""
        result = analysed(compare(traffic(0.01, per_s=200)))

        assert result.status == "succeeded"
        assert verdicts(result)[-1] == "pass"
        assert result.tasks["analyse"].output["checks"]["errors"]["measurements"] == 6

    def test_begins(self) -> None:
        """What was counted before the analysis began does not count."""
        result = analysed(compare(traffic(0.0, baseline_rate=0.0), inconclusive="abort"))

        reasons = [data["judgement"]["reason"] for data in measurements(result)]
        assert reasons[0] == "counting begins here"
        assert measurements(result)[-1]["judgement"]["samples"] == [6000, 6000]

    def test_too_little(self) -> None:
        """Too little traffic is inconclusive, which asks for a person; it never passes."""
        result = analysed(compare(traffic(0.01, per_s=0.5)))

        assert result.status == "held"
        assert failure(result).startswith("AnalysisHeld: errors: inconclusive")

    def test_extends(self) -> None:
        """An unsure end may be extended until there is enough."""
        result = analysed(compare(traffic(0.01, per_s=3), inconclusive=extend("1h")))

        assert result.status == "succeeded"
        assert verdicts(result)[5] == "inconclusive"
        assert verdicts(result)[-1] == "pass"

    def test_arms(self) -> None:
        """Errors are asked before requests, of either version."""
        source = traffic(0.06)

        analysed(compare(source))

        asked = [query for query, _ in source.asked]
        assert asked[:4] == ["errors 2.0", "errors 1.0", "requests 2.0", "requests 1.0"]

    @pytest.mark.parametrize("missing", ["errors 2.0", "requests 2.0", "requests 1.0"])
    def test_missing(self, missing: str) -> None:
        """A series that is missing is no data, and the reason says which."""
        told = traffic(0.01)
        source = Told(lambda query, now_s: None if query == missing else told.fn(query, now_s))

        result = analysed(compare(source))

        figure, version = missing.split()
        arm = "canary" if version == "2.0" else "baseline"
        assert failure(result) == (
            f"AnalysisHeld: errors: no_data: no new sample of the {figure} of the {arm}"
        )

    def test_error(self) -> None:
        """A source that fails is an error, and what was counted before still counts after."""
        told = traffic(0.06)
        source = Told(
            lambda query, now_s: (
                told.fn(query, now_s) if now_s != 60 else MetricError("s", "q", "x")
            )
        )

        result = analysed(compare(source, error=retry(1, every="1m")))

        assert verdicts(result) == ["inconclusive", "error", "fail"]
        assert measurements(result)[-1]["judgement"]["samples"] == [2400, 2400]

    def test_goes_missing(self) -> None:
        """A series that ends half-way is no data, though there was some before."""
        told = traffic(0.01)
        source = Told(lambda query, now_s: told.fn(query, now_s) if now_s < 90 else None)

        assert verdicts(analysed(compare(source))) == ["inconclusive", "pass", "no_data"]

    def test_appears(self) -> None:
        """A canary that is late is counted from when it is there."""
        told = traffic(0.06)
        source = Told(
            lambda query, now_s: None if "2.0" in query and now_s < 90 else told.fn(query, now_s)
        )

        result = analysed(compare(source, no_data=extend(3)))

        assert verdicts(result) == ["no_data", "no_data", "inconclusive", "fail"]
        assert measurements(result)[-1]["judgement"]["samples"] == [1200, 3600]

    def test_no_errors_yet(self) -> None:
        """Where a source has no series of errors until there are some, that may be said."""
        told = traffic(0.3, baseline_rate=0.0)

        def fn(query: str, now_s: float) -> Any:
            if query == "errors 1.0" or (query == "errors 2.0" and now_s < 30):
                return None
            return told.fn(query, now_s) - (300 if query == "errors 2.0" else 0)

        result = analysed(compare(Told(fn), missing_errors="zero"))

        assert verdicts(result) == ["inconclusive", "fail"]
        assert measurements(result)[-1]["judgement"]["effect"] == pytest.approx(0.3)

    def test_periods(self) -> None:
        """Counts of single periods are added up, those before the beginning left out."""
        source = Told(
            lambda query, now_s: {"requests": 1200, "errors": 72 if "2.0" in query else 12}[
                query.split()[0]
            ]
        )

        result = analysed(compare(source, counts="periods"))

        assert verdicts(result) == ["inconclusive", "fail"]
        assert measurements(result)[1]["judgement"]["samples"] == [1200, 1200]

    def test_once(self) -> None:
        """A judge that looks once looks at the last measurement, however often was measured."""
        result = analysed(compare(traffic(0.06), judge_with=FixedSample()))

        assert verdicts(result) == ["inconclusive"] * 5 + ["fail"]
        assert "judged once" in measurements(result)[1]["judgement"]["reason"]


class TestGrowth:
    @pytest.mark.parametrize(
        ("series", "totals", "grown"),
        [
            ([], True, 0),
            ([7], True, 0),
            ([7, 9, 12], True, 5),
            ([7, 9, 2, 5], True, 7),
            ([7, 0, 0], True, 0),
            ([7, 9, 12], False, 21),
            ([7], False, 0),
        ],
    )
    def test_growth(self, series: list[float], totals: bool, grown: float) -> None:
        """Totals grow from the opening one, from zero where they were reset; periods add up."""
        assert growth(series, totals=totals) == grown

    def test_failed_look(self) -> None:
        """A look that could not ask changes nothing of what is counted."""
        settings = compare(traffic(0)).settings
        row = lambda second, value: [[NOON.format(second), value]]  # noqa: E731
        look = lambda second, value: {  # noqa: E731
            arm: {"errors": row(second, 0), "requests": row(second, value)}
            for arm in ("canary", "baseline")
        }

        looks = [{"error": "down"}, look(1, 10), {"error": "down"}, look(2, 30)]
        found = judged(settings, looks, Sequential())

        assert found is not None
        assert found.samples == (20, 20)


class TestCompareValues:
    def test_worse(self) -> None:
        """A canary that is slower is found."""
        result = analysed(values(latency(2.0)))

        assert failure(result).startswith("AnalysisFailed: latency: fail")
        assert set(verdicts(result)[:-1]) == {"inconclusive"}

    def test_no_worse(self) -> None:
        """A canary that is no slower passes."""
        assert analysed(values(latency(1.0), count=120)).status == "succeeded"

    def test_less_is_worse(self) -> None:
        """Where less is worse, that is what is looked for."""
        check = values(latency(0.5), max_increase=None, max_decrease=0.1)

        assert failure(analysed(check)).startswith("AnalysisFailed: latency: fail")

    def test_error(self) -> None:
        """A source that fails is an error."""
        source = Told(lambda query, now_s: MetricError("s", "q", "down"))

        assert verdicts(analysed(values(source, error="abort"))) == ["error"]

    def test_missing(self) -> None:
        """An arm without new samples is no data."""
        source = Told(lambda query, now_s: None if "2.0" in query else 1)

        assert failure(analysed(values(source))) == (
            "AnalysisHeld: latency: no_data: no new sample of the canary"
        )

    def test_once(self) -> None:
        """A judge that looks once looks at the last measurement."""
        result = analysed(values(latency(2.0), judge_with=FixedSample(), count=30))

        assert verdicts(result) == ["inconclusive"] * 30 + ["fail"]


class TestTogether:
    def test_holm(self) -> None:
        """Among many comparisons, evidence that one alone would find enough is held back."""

        class Unlikely:
            """Fails with a p-value that is below its level, but not by much."""

            alpha = 0.05

            def judge_counts(self, canary: Counts, baseline: Counts, /, **limits: Any) -> Judgement:
                if not canary.total:
                    return Judgement("no_data", "empty", "none")
                return Judgement("fail", "worse", "test", p_value=0.03)

            def judge_values(self, *arms: Any, **limits: Any) -> Judgement:
                raise NotImplementedError

        one = compare(traffic(0), judge_with=Unlikely(), name="a")
        two = compare(traffic(0), judge_with=Unlikely(), name="b")

        assert verdicts(analysed(one))[-1] == "fail"
        assert verdicts(analysed(one, two), "a")[1] == "inconclusive"
        assert (
            "not enough beside another check"
            in measurements(analysed(one, two), "a")[1]["judgement"]["reason"]
        )


class TestMake:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"source": 7}, "no source of metrics"),
            ({"errors": "errors"}, "both arms would be the same"),
            ({"requests": ""}, "requests=''"),
            ({"max_increase": None}, "no condition; give max_increase="),
            ({"max_increase": "1%"}, "max_increase"),
            ({"judge_with": Sequential}, "no judge"),
            ({"counts": "sums"}, "counts='sums' must be 'totals' or 'periods'"),
            ({"missing_errors": "pass"}, "missing_errors='pass'"),
            ({"window": 0}, "window"),
            ({"window": "30s"}, "shorter than interval='1m'"),
            ({"interval": None, "count": 1}, "needs interval="),
            ({"judge_with": FixedSample(), "count": None}, "FixedSample looks once"),
        ],
    )
    def test_refuses(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the check is made."""
        given: dict[str, Any] = {
            "source": traffic(0),
            "errors": QUERIES[0],
            "requests": QUERIES[1],
            "max_increase": 0.01,
            "interval": "1m",
            "count": 3,
        }
        with pytest.raises(DefinitionError) as caught:
            Compare(**given | options)

        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"source": 7}, "no source of metrics"),
            ({"query": "p99"}, "both arms would be the same"),
            ({"query": " "}, "query=' '"),
            ({"max_increase": None}, "give max_increase= or max_decrease="),
            ({"max_increase": -1}, "max_increase"),
            ({"judge_with": 7}, "no judge"),
            ({"window": 0}, "window"),
            ({"window": "30s"}, "shorter than interval='1m'"),
            ({"interval": None, "count": 1}, "needs interval="),
            ({"judge_with": FixedSample(), "count": None}, "FixedSample looks once"),
        ],
    )
    def test_refuses_values(self, options: dict[str, Any], words: str) -> None:
        """A wrong argument is refused when the check is made."""
        given: dict[str, Any] = {
            "source": traffic(0),
            "query": "p99 $version",
            "max_increase": 0.2,
            "interval": "1m",
            "count": 3,
        }
        with pytest.raises(DefinitionError) as caught:
            CompareValues(**given | options)

        assert words in str(caught.value)

"""Judges on past releases, and on traffic that is drawn."""

from __future__ import annotations

import itertools
import random

import pytest

from pyflow.analysis import (
    Compare,
    CompareValues,
    Counts,
    FixedSample,
    Past,
    Points,
    Requests,
    Sequential,
    backtest,
    power,
    simulate_judge,
)
from pyflow.errors import DefinitionError
from pyflow.metrics import CSV

BAD = Past("2.0", "bad", ((Counts(2, 100), Counts(1, 100)), (Counts(90, 1_500), Counts(30, 1_500))))
GOOD = Past(
    "2.1", "good", ((Counts(20, 1_000), Counts(20, 1_000)), (Counts(99, 5_000), Counts(100, 5_000)))
)
ALARM = Past(
    "2.2", "good", ((Counts(50, 500), Counts(5, 500)), (Counts(50, 5_000), Counts(50, 5_000)))
)
MISSED = Past("2.3", "bad", ((Counts(1, 10), Counts(0, 10)),))
PASSED = Past("2.4", "bad", ((Counts(100, 5_000), Counts(100, 5_000)),))


class TestBacktest:
    def test_reports(self) -> None:
        """False alarms, misses and wrong passes are told apart, with the look that decided."""
        found = backtest(Sequential(), [BAD, GOOD, ALARM, MISSED, PASSED], max_increase=0.01)

        assert [tried.look for tried in found.tried] == [2, 2, 1, 1, 1]
        assert [tried.past for tried in found.false_alarms] == [ALARM]
        assert [tried.past for tried in found.misses] == [MISSED, PASSED]
        assert [tried.past for tried in found.wrong_passes] == [PASSED]
        assert found.false_alarm_rate == 1 / 2
        assert found.miss_rate == 2 / 3

    def test_of_values(self) -> None:
        """Measurements are judged as counts are."""
        slow = Past("3.0", "bad", (([1.5] * 30, [1.0] * 30),))

        found = backtest(Sequential(), [slow], max_increase=0.1)

        assert found.misses == ()
        assert found.miss_rate == 0.0
        assert found.false_alarm_rate is None

    def test_refuses(self) -> None:
        """A release without a look, or with arms of two kinds, is refused by its name."""
        with pytest.raises(DefinitionError, match=r"1\.0: a release without a look"):
            backtest(Sequential(), [Past("1.0", "good", ())], max_increase=0.1)
        mixed = Past("1.1", "good", ((Counts(1, 2), [1.0]),))
        with pytest.raises(DefinitionError, match=r"1\.1: look 1 compares"):
            backtest(Sequential(), [mixed], max_increase=0.1)


class TestTraffic:
    @pytest.mark.parametrize(
        ("trials", "chance"), [(50, 0.02), (1_000, 0.3), (20, 0.97), (7, 0.0), (7, 1.0)]
    )
    def test_requests(self, trials: int, chance: float) -> None:
        """Events come up as often as they should, and vary as much."""
        traffic = Requests(canary=trials, baseline=trials, rate=chance)
        drawn = traffic.drawing(looks=4_000, effect=0.0)(random.Random(1))
        upto = [one.events for one, _ in drawn]
        looks = [after - before for before, after in itertools.pairwise([0, *upto])]

        mean = sum(looks) / len(looks)
        variance = sum((k - mean) ** 2 for k in looks) / len(looks)
        assert mean == pytest.approx(trials * chance, rel=0.03)
        assert variance == pytest.approx(trials * chance * (1 - chance), rel=0.1)

    def test_effects(self) -> None:
        """An effect is added to a rate, within what a rate can be."""
        traffic = Requests(canary=1_000, baseline=1_000, rate=0.5)
        for effect, rate in ((0.2, 0.7), (0.9, 1.0), (-0.9, 0.0)):
            *_, (one, _) = traffic.drawing(looks=20, effect=effect)(random.Random(2))
            assert one.rate == pytest.approx(rate, abs=0.01)

    @pytest.mark.parametrize("shape", ["normal", "lognormal"])
    def test_points(self, shape: str) -> None:
        """Points come in the sizes that were planned, with their level, spread and memory."""
        traffic = Points(per_look=500, first=2_000, sd=0.1, correlation=0.6, shape=shape)  # type: ignore[arg-type]

        looks = list(traffic.drawing(looks=3, effect=0.5)(random.Random(1)))

        assert [(len(x), len(y)) for x, y in looks] == [(n, n) for n in (2_000, 2_500, 3_000)]
        x, y = looks[-1]
        assert looks[0][0] == x[:2_000]
        assert sum(x) / sum(y) == pytest.approx(1.5, abs=0.03)
        mean = sum(y) / len(y)
        squares = [(value - mean) ** 2 for value in y]
        products = [(a - mean) * (b - mean) for a, b in itertools.pairwise(y)]
        assert (sum(squares) / len(y)) ** 0.5 == pytest.approx(0.1, rel=0.1)
        assert sum(products) / sum(squares) == pytest.approx(0.6, abs=0.05)

    def test_constant_points(self) -> None:
        """Points that do not vary are all alike."""
        ((x, y),) = Points(per_look=3, sd=0).drawing(looks=1, effect=0.5)(random.Random(1))

        assert (x, y) == ([1.5] * 3, [1.0] * 3)

    def test_refuses(self) -> None:
        """Traffic that cannot be is refused, with everything that is wrong."""
        with pytest.raises(DefinitionError) as caught:
            Requests(canary=0, baseline=-1, rate=1.5)
        assert len(caught.value.problems) == 3
        with pytest.raises(DefinitionError) as caught:
            Points(per_look=0, first=0, sd=-1, correlation=1.0)
        assert len(caught.value.problems) == 4


class TestSimulateJudge:
    def test_counts_what_happened(self) -> None:
        """The shares of failed, passed and undecided comparisons, and when half had failed."""
        found = simulate_judge(
            Sequential(),
            Requests(canary=100, baseline=100, rate=0.02),
            looks=30,
            effect=0.06,
            max_increase=0.01,
            runs=60,
        )

        assert found.failed == 1.0
        assert found.undecided == 0.0
        assert len(found.looks) == 60
        assert found.median_look is not None
        assert 1 <= found.median_look <= 12
        assert found.error(0.5) == pytest.approx(0.0645, abs=1e-3)
        assert found.error(0.0) > 0

    def test_healthy(self) -> None:
        """Where nothing is wrong most pass, and there is no look by which half had failed."""
        found = simulate_judge(
            Sequential(), Points(per_look=20, sd=0.05), looks=2, max_increase=0.1, runs=50
        )

        assert found.passed == 1.0
        assert found.median_look is None

    def test_is_repeatable(self) -> None:
        """Equal arguments give equal results, another seed others."""
        traffic = Points(per_look=10, sd=0.3)

        def tried(seed: int) -> object:
            return simulate_judge(
                FixedSample(), traffic, looks=3, effect=0.3, max_increase=0.1, runs=80, seed=seed
            )

        assert tried(1) == tried(1)
        assert tried(1) != tried(2)

    def test_refuses(self) -> None:
        """No runs and no looks show nothing."""
        for wrong in ({"runs": 0}, {"looks": 0}):
            with pytest.raises(DefinitionError, match="must be 1 or more"):
                simulate_judge(Sequential(), Points(per_look=1, sd=1), max_increase=0.1, **wrong)


SLOW_TO_FORGET = Points(per_look=5, first=20, sd=0.2, correlation=0.4)


class TestPower:
    @pytest.mark.parametrize(
        ("judge", "traffic", "looks", "limit", "runs"),
        [
            (Sequential(), Requests(canary=100, baseline=100, rate=0.02), 10, 0.01, None),
            (Sequential(), Requests(canary=20, baseline=180, rate=0.3), 10, 0.05, None),
            (Sequential(), SLOW_TO_FORGET, 3, 0.1, None),
            (Sequential(horizon=30), SLOW_TO_FORGET, 3, 0.1, None),
            (Sequential(), Points(per_look=20, sd=0.1, shape="normal"), 1, 0.05, 600),
        ],
        ids=["rare", "common", "points", "to a horizon", "normal points"],
    )
    def test_agrees_with_simulation(
        self,
        judge: Sequential,
        traffic: Requests | Points,
        looks: int,
        limit: float,
        runs: int | None,
    ) -> None:
        """What is stated is what other draws show, within two points; with few runs, and their error."""
        stated = power(judge, traffic=traffic, looks=looks, max_increase=limit, runs=runs)
        assert stated.found_80 is not None
        assert stated.found_95 is not None
        assert limit < stated.found_80 < stated.found_95

        for effect, wanted in (
            (0.0, stated.false_abort),
            (stated.found_80, 0.8),
            (stated.found_95, 0.95),
        ):
            drawn = simulate_judge(
                judge,
                traffic,
                looks=looks,
                effect=effect,
                max_increase=limit,
                runs=runs or 4_000,
                seed=77,
            )
            assert abs(drawn.failed - wanted) <= 0.02 + (stated.error(wanted) if runs else 0.0)

    def test_of_one_look(self) -> None:
        """The fixed judge's power is simulated as it is."""
        found = power(
            FixedSample(alpha=0.02),
            traffic=Points(per_look=50, sd=0.3),
            looks=1,
            max_increase=0.1,
            runs=80,
        )

        assert found.false_abort <= 0.05
        assert found.found_80 == pytest.approx(0.19, abs=0.04)
        assert found.runs == 80
        assert str(found).startswith("aborts a healthy canary ")

    def test_too_little_traffic(self) -> None:
        """Where nothing could be found, it says so."""
        found = power(
            Sequential(),
            traffic=Requests(canary=1, baseline=1, rate=0.1),
            looks=2,
            max_increase=0.01,
            runs=50,
        )

        assert (found.false_abort, found.found_80, found.found_95) == (0.0, None, None)
        assert str(found).endswith("finds with 80 %: nothing, 95 %: nothing")

    def test_less_can_be_worse(self) -> None:
        """With max_decrease the regressions are negative."""
        for traffic in (
            Requests(canary=200, baseline=200, rate=0.95),
            Points(per_look=30, sd=0.1),
        ):
            found = power(Sequential(), traffic=traffic, looks=3, max_decrease=0.02, runs=200)
            assert found.found_80 is not None
            assert found.found_95 is not None
            assert found.found_95 < found.found_80 < -0.02

    def test_of_a_check(self) -> None:
        """A check brings its judge and its limit along."""
        source = CSV("latency.csv")
        points, requests = Points(per_look=30, sd=0.1), Requests(canary=90, baseline=90, rate=0.02)
        slower = CompareValues(source, "p99 of $version", max_increase=0.1, interval="1m")
        fewer = CompareValues(source, "sales of $version", max_decrease=0.1, interval="1m")
        failing = Compare(source, "e $version", "r $version", max_increase=0.1, interval="1m")

        assert [
            power(check, traffic=traffic, looks=2, runs=100)
            for check, traffic in ((slower, points), (fewer, points), (failing, requests))
        ] == [
            power(Sequential(), traffic=points, looks=2, max_increase=0.1, runs=100),
            power(Sequential(), traffic=points, looks=2, max_decrease=0.1, runs=100),
            power(Sequential(), traffic=requests, looks=2, max_increase=0.1, runs=100),
        ]

    @pytest.mark.parametrize(
        "wrong", [{"looks": 0}, {"runs": 0}, {"max_decrease": 0.1}, {"max_increase": None}]
    )
    def test_refuses(self, wrong: dict[str, float | None]) -> None:
        """A plan without a look, a run or one limit is refused."""
        with pytest.raises(DefinitionError):
            power(
                Sequential(),
                traffic=Points(per_look=30, sd=0.1),
                **{"looks": 2, "max_increase": 0.1, **wrong},  # type: ignore[arg-type]
            )

"""The judge for one look: ranks, shifts, and tables of two by two."""

from __future__ import annotations

import random

import pytest

from pyflow.analysis import Counts, FixedSample

JUDGE = FixedSample()


def points(size: int, *, seed: int = 1, sd: float = 0.3, level: float = 1.0) -> list[float]:
    draw = random.Random(seed)
    return [level * draw.lognormvariate(0, sd) for _ in range(size)]


class TestValues:
    def test_regression(self) -> None:
        """A third more fails, with shift, interval and effect size of ranks."""
        found = JUDGE.judge_values(points(50, seed=2, level=1.33), points(50), max_increase=0.1)

        assert found.verdict == "fail"
        assert found.p_value is not None
        assert found.p_value < 0.05
        assert found.shift is not None
        assert found.shift_interval is not None
        assert found.shift_interval[0] < found.shift < found.shift_interval[1]
        assert found.cles is not None
        assert found.cles > 0.6
        assert found.method == "Mann-Whitney, normal"
        assert found.evidence is None

    def test_healthy(self) -> None:
        """What is no different passes where points are many, and is left open where they are few."""
        assert (
            JUDGE.judge_values(points(200, seed=2), points(200), max_increase=0.15).verdict
            == "pass"
        )
        few = JUDGE.judge_values(points(8, seed=2), points(8), max_increase=0.05)
        assert few.verdict == "inconclusive"
        assert few.method == "Mann-Whitney, exact"

    @pytest.mark.parametrize("size", [1, 4])
    def test_few_points(self, size: int) -> None:
        """A point or two decide nothing."""
        found = JUDGE.judge_values([9.0] * size, [1.0] * size, max_increase=0.1)

        assert found.verdict == "inconclusive"

    def test_an_outlier_decides_nothing(self) -> None:
        """One wild point neither fails a canary nor lets it pass, in whichever arm it is."""
        calm, wild = points(60, seed=2), [*points(59), 1_000.0]

        assert JUDGE.judge_values(wild, calm, max_increase=0.2).verdict == "inconclusive"
        worse = [1.5 * value for value in calm]
        assert JUDGE.judge_values(worse, wild, max_increase=0.2).verdict == "fail"

    def test_bursts_against_zeros(self) -> None:
        """Errors in two minutes of five, against none, fail although the typical minute has none."""
        found = JUDGE.judge_values([1.0, 0.0, 0.0, 1.0, 0.0] * 12, [0.0] * 60, max_increase=0.1)

        assert found.verdict == "fail"
        assert found.shift == 0.0
        assert found.effect is None

    def test_constants(self) -> None:
        """Equal constants pass, others fail or pass by their difference."""
        for value, verdict in ((1.0, "pass"), (1.05, "pass"), (1.2, "fail")):
            assert JUDGE.judge_values([value] * 9, [1.0] * 9, max_increase=0.1).verdict == verdict

    def test_less_can_be_worse(self) -> None:
        """With max_decrease less fails; with both, either does."""
        low, high = points(60, seed=2, level=0.7), points(60)
        both = {"max_increase": 0.1, "max_decrease": 0.1}

        assert JUDGE.judge_values(low, high, max_decrease=0.1).verdict == "fail"
        assert JUDGE.judge_values(high, low, max_decrease=0.1).verdict == "pass"
        assert JUDGE.judge_values(low, high, **both).verdict == "fail"
        assert JUDGE.judge_values(high, low, **both).verdict == "fail"

    def test_spread(self) -> None:
        """An arm that varies far more is no pass."""
        draw = random.Random(4)
        calm, wild = ([draw.gauss(10, sd) for _ in range(300)] for sd in (0.3, 3))

        found = JUDGE.judge_values(wild, calm, max_increase=0.1)

        assert found.verdict == "inconclusive"
        assert "varies more" in found.reason
        assert found.spread is not None
        assert found.spread > 5


class TestCounts:
    @pytest.mark.parametrize(
        ("canary", "baseline", "verdict"),
        [
            (Counts(80, 2_000), Counts(40, 2_000), "fail"),
            (Counts(8, 1_000), Counts(0, 1_000), "fail"),
            (Counts(1, 100), Counts(0, 100), "inconclusive"),
            (Counts(0, 1_000), Counts(0, 1_000), "pass"),
            (Counts(0, 20), Counts(0, 20), "inconclusive"),
            (Counts(40, 2_000), Counts(42, 2_000), "pass"),
            (Counts(55, 2_000), Counts(40, 2_000), "inconclusive"),
        ],
    )
    def test_verdicts(self, canary: Counts, baseline: Counts, verdict: str) -> None:
        """Clear cases are decided, few requests are not."""
        found = JUDGE.judge_counts(canary, baseline, max_increase=0.005)

        assert found.verdict == verdict
        assert found.interval is not None
        assert found.effect == canary.rate - baseline.rate

    def test_less_can_be_worse(self) -> None:
        """With max_decrease fewer events fail."""
        found = JUDGE.judge_counts(Counts(900, 1_000), Counts(960, 1_000), max_decrease=0.01)

        assert found.verdict == "fail"
        assert "6 points lower" in found.reason

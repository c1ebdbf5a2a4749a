"""The judge for every look: what it fails, passes, and leaves open."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pyflow.analysis import Counts, Sequential
from pyflow.errors import DefinitionError

JUDGE = Sequential()


def points(size: int, *, seed: int = 1, sd: float = 0.1, level: float = 1.0) -> list[float]:
    """Return independent positive points around *level*."""
    draw = random.Random(seed)
    return [level * draw.lognormvariate(0, sd) for _ in range(size)]


class TestCounts:
    @pytest.mark.parametrize(
        ("canary", "baseline", "verdict"),
        [
            (Counts(60, 1_500), Counts(30, 1_500), "fail"),
            (Counts(60, 1_500), Counts(60, 1_500), "inconclusive"),
            (Counts(100, 5_000), Counts(100, 5_000), "pass"),
            (Counts(0, 1_000), Counts(0, 1_000), "pass"),
            (Counts(0, 30), Counts(0, 30), "inconclusive"),
            (Counts(30, 60), Counts(0, 60), "fail"),
            (Counts(60, 60), Counts(0, 60), "fail"),
            (Counts(1, 1), Counts(0, 1), "inconclusive"),
            (Counts(60, 60), Counts(60, 60), "inconclusive"),
            (Counts(500, 500), Counts(500, 500), "pass"),
            (Counts(40, 100), Counts(4_000, 10_000), "inconclusive"),
            (Counts(20, 200), Counts(40, 3_800), "fail"),
        ],
    )
    def test_verdicts(self, canary: Counts, baseline: Counts, verdict: str) -> None:
        """Clear cases are decided, few requests are not, whatever the rates are."""
        assert JUDGE.judge_counts(canary, baseline, max_increase=0.01).verdict == verdict

    def test_says_what_it_rests_on(self) -> None:
        """A judgement has effect, interval, evidence, p-value, samples and a sentence."""
        found = JUDGE.judge_counts(Counts(80, 2_000), Counts(40, 2_000), max_increase=0.01)

        assert found.effect == pytest.approx(0.02)
        assert found.interval is not None
        assert found.evidence is not None
        assert found.p_value == pytest.approx(1 / found.evidence)
        assert found.interval[0] is not None
        assert 0 <= found.interval[0] < 0.02
        assert found.samples == found.effective_samples == (2_000, 2_000)
        assert found.reason.startswith("the canary is 2 points higher than the baseline, where 1")

    def test_minimum_effect(self) -> None:
        """What is beyond doubt but within the limit does not fail, and passes once that is sure."""
        counts = Counts(24_000, 1_000_000), Counts(20_000, 1_000_000)

        assert JUDGE.judge_counts(*counts, max_increase=0.01).verdict == "pass"
        assert JUDGE.judge_counts(*counts, max_increase=0.001).verdict == "fail"

    def test_less_can_be_worse(self) -> None:
        """With max_decrease, fewer events fail and more pass, for rare and common events."""
        for high, low in ((4_900, 4_700), (3_000, 2_600), (300, 150)):
            one, other = Counts(low, 5_000), Counts(high, 5_000)
            assert JUDGE.judge_counts(one, other, max_decrease=0.01).verdict == "fail"
            assert JUDGE.judge_counts(other, one, max_decrease=0.01).verdict == "pass"

    def test_both_ways(self) -> None:
        """With both limits either way fails, on stronger evidence than one alone needs."""
        one, other = Counts(48, 1_000), Counts(22, 1_000)
        both = {"max_increase": 0.01, "max_decrease": 0.01}

        up, down = JUDGE.judge_counts(one, other, **both), JUDGE.judge_counts(other, one, **both)
        alone = JUDGE.judge_counts(one, other, max_increase=0.01)

        assert (up.verdict, down.verdict) == ("fail", "fail")
        assert up.effect == -(down.effect or 0)
        assert up.p_value == pytest.approx(2 * (alone.p_value or 0))

    def test_fractions(self) -> None:
        """Counts that a metrics server extrapolated are judged as they are."""
        found = JUDGE.judge_counts(Counts(61.7, 1_500.2), Counts(30.1, 1_499.9), max_increase=0.01)

        assert found.verdict == "fail"


class TestValues:
    @pytest.mark.parametrize("size", [1, 2, 19])
    def test_few_points(self, size: int) -> None:
        """Fewer points than are needed stay inconclusive, however far apart they are."""
        found = JUDGE.judge_values([9.0] * size, [1.0] * 50, max_increase=0.1)

        assert found.verdict == "inconclusive"
        assert "too few" in found.reason

    def test_regression(self) -> None:
        """A fifth more fails, with the estimate inside its interval."""
        found = JUDGE.judge_values(points(60, seed=2, level=1.2), points(60), max_increase=0.1)

        assert found.verdict == "fail"
        assert found.effect == pytest.approx(0.2, abs=0.05)
        assert found.interval is not None
        low, high = found.interval
        assert low is not None
        assert high is not None
        assert 0 < low < 0.2 < high
        assert found.cles is not None
        assert found.cles > 0.85
        assert found.shift == pytest.approx(0.2, abs=0.05)

    def test_healthy(self) -> None:
        """What is no different passes, once a change as large as the limit would have shown."""
        assert (
            JUDGE.judge_values(points(60, seed=2), points(60), max_increase=0.1).verdict == "pass"
        )
        noisy = points(20, seed=4, sd=0.5), points(20, seed=5, sd=0.5)
        assert JUDGE.judge_values(*noisy, max_increase=0.1).verdict == "inconclusive"

    def test_less_can_be_worse(self) -> None:
        """With max_decrease a throughput that falls fails, and one that rises passes."""
        low, high = points(60, seed=2, level=0.8), points(60)

        assert JUDGE.judge_values(low, high, max_decrease=0.1).verdict == "fail"
        assert JUDGE.judge_values(high, low, max_decrease=0.1).verdict == "pass"

    def test_all_gone(self) -> None:
        """A limit that allows everything positive to go away is never broken."""
        low, high = points(60, seed=2, level=0.01), points(60)

        assert JUDGE.judge_values(low, high, max_decrease=1.0).verdict == "pass"

    def test_memory_is_worth_less(self) -> None:
        """Points that remember the ones before are worth fewer, and less is decided on them."""
        draw, wave = random.Random(3), [0.0]
        for _ in range(59):
            wave.append(0.9 * wave[-1] + draw.gauss(0, 0.1))
        series = [2.718**value for value in wave]

        found = JUDGE.judge_values(
            [1.3 * value for value in reversed(series)], series, max_increase=0.1
        )

        assert found.verdict == "inconclusive"
        assert max(found.effective_samples) < 12

    @pytest.mark.parametrize(("level", "verdict"), [(1.0, "pass"), (1.09, "pass"), (1.2, "fail")])
    def test_constants(self, level: float, verdict: str) -> None:
        """Two constants are compared as they are, in any unit."""
        for unit in (1e-9, 0.3, 1e9):
            found = JUDGE.judge_values([level * unit] * 20, [unit] * 20, max_increase=0.1)
            assert found.verdict == verdict

    def test_zero_baseline(self) -> None:
        """Against zeros any rise that is no chance is too much; zeros against zeros pass."""
        draw = random.Random(7)
        blips = [float(draw.random() < 0.5) for _ in range(60)]

        rose = JUDGE.judge_values(blips, [0.0] * 60, max_increase=0.5)

        assert rose.verdict == "fail"
        assert rose.effect is None
        assert "higher than a baseline of zero" in rose.reason
        assert JUDGE.judge_values([0.0] * 30, [0.0] * 30, max_increase=0.1).verdict == "pass"
        one = [0.0] * 59 + [1.0]
        assert JUDGE.judge_values(one, [0.0] * 60, max_increase=0.1).verdict == "inconclusive"

    def test_negative_values(self) -> None:
        """Values below zero are compared on their own scale, relative to the size of the baseline."""
        draw = random.Random(1)
        low, high = ([draw.gauss(level, 1) for _ in range(60)] for level in (-10, -7))

        found = JUDGE.judge_values(high, low, max_increase=0.1)

        assert found.verdict == "fail"
        assert found.effect == pytest.approx(0.3, abs=0.05)

    def test_common_load(self) -> None:
        """Load that moves both arms together hides no regression, and makes none."""
        load = [100 + 40 * ((n % 24) / 24) for n in range(60)]
        same = [value * f for value, f in zip(load, points(60, seed=8, sd=0.01), strict=True)]
        worse = [
            value * f
            for value, f in zip(load, points(60, seed=9, sd=0.01, level=1.08), strict=True)
        ]

        assert JUDGE.judge_values(same, load, max_increase=0.05).verdict == "pass"
        found = JUDGE.judge_values(worse, load, max_increase=0.05)
        assert found.verdict == "fail"
        assert "paired" in found.method

    def test_spread(self) -> None:
        """An arm that varies far more, or not at all any more, is no pass, and the reason says so."""
        steady, wild = points(200, seed=2, sd=0.05), points(200, seed=3, sd=0.3)

        for x, y, word in ((wild, steady, "more"), (steady, wild, "less")):
            found = JUDGE.judge_values(x, y, max_increase=0.2)
            assert found.verdict == "inconclusive"
            assert f"varies {word} than the baseline" in found.reason
        stuck = JUDGE.judge_values([sum(wild) / 200] * 200, wild, max_increase=0.25)
        assert stuck.verdict == "inconclusive"
        assert stuck.spread == 0.0

    def test_spread_of_little(self) -> None:
        """An arm that varies by less than the limit is no reason to doubt."""
        found = JUDGE.judge_values(points(60, sd=0.01), [1.0] * 60, max_increase=0.1)

        assert found.verdict == "pass"
        assert found.spread is None

    def test_a_limit_of_nothing(self) -> None:
        """Without any room, what is proven higher fails, and nothing that varies can pass."""
        assert (
            JUDGE.judge_values(points(60, level=1.2), points(60, seed=2), max_increase=0).verdict
            == "fail"
        )
        assert (
            JUDGE.judge_values(points(60), points(60, seed=2), max_increase=0).verdict
            == "inconclusive"
        )

    def test_is_repeatable(self) -> None:
        """Equal data get equal judgements, in every bit, whatever was judged between."""
        one, other = points(50, seed=5), points(50, seed=6)
        first = JUDGE.judge_values(one, other, max_increase=0.1)
        JUDGE.judge_values(other, one, max_increase=0.1)

        assert JUDGE.judge_values(one, other, max_increase=0.1) == first


class TestHorizon:
    def test_is_sharper(self) -> None:
        """Where the last look is known, data that were too few before are enough."""
        arms = points(60, seed=8, sd=0.3, level=1.16), points(60, sd=0.3)

        assert JUDGE.judge_values(*arms, max_increase=0.05).verdict == "inconclusive"
        found = Sequential(horizon=60).judge_values(*arms, max_increase=0.05)
        assert found.verdict == "fail"
        assert found.method == "group-sequential test of means, log scale"

    def test_passes(self) -> None:
        """What is no different passes at the end, by itself or in pairs."""
        judge, one, other = Sequential(horizon=60), points(60, seed=2), points(60)

        assert judge.judge_values(one, other, max_increase=0.1).verdict == "pass"
        paired = judge.judge_values([v * 1.001 for v in other], other, max_increase=0.1)
        assert paired.verdict == "pass"

    def test_pairs(self) -> None:
        """Arms that move together are judged by their differences there too."""
        other = points(60, sd=0.5)
        shifts = points(60, seed=3, sd=0.02, level=1.2)
        one = [v * shift for v, shift in zip(other, shifts, strict=True)]

        found = Sequential(horizon=60).judge_values(one, other, max_increase=0.1)

        assert (found.verdict, found.method) == (
            "fail",
            "group-sequential test of paired differences, log scale",
        )

    def test_late_points(self) -> None:
        """A few points too many are left out, and more are not judged at all."""
        judge = Sequential(horizon=60)
        whole = points(70, seed=2, level=1.3), points(70)

        late = judge.judge_values(whole[0][:64], whole[1][:64], max_increase=0.1)
        beyond = judge.judge_values(*whole, max_increase=0.1)

        assert (late.verdict, late.samples) == ("fail", (60, 60))
        assert beyond.verdict == "inconclusive"
        assert "beyond the horizon of 60" in beyond.reason

    @pytest.mark.parametrize("wrong", [19, 60.0, True, "60"])
    def test_refuses(self, wrong: Any) -> None:
        """A horizon is a whole number of as many points as are needed at all."""
        with pytest.raises(DefinitionError, match=r"must be a whole number of min_samples=20"):
            Sequential(horizon=wrong)

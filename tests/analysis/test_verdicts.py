"""Judgements as values, and as JSON data."""

from __future__ import annotations

import json

import pytest

from pyflow.analysis import Counts, FixedSample, Judge, Judgement, Scored, Sequential
from pyflow.errors import CodecError, DefinitionError

JUDGES: list[Judge] = [Sequential(), FixedSample()]
NAMES = ["sequential", "fixed"]
STEADY = [10.0, 11.0, 9.5, 10.5, 10.2] * 12
SLOWER = [1.4 * value + 0.01 * n for n, value in enumerate(reversed(STEADY))]


class TestJudgement:
    @pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
    def test_survives_json(self, judge: Judge) -> None:
        """A judgement that went through text is equal in every bit, whatever it says."""
        judgements = [
            judge.judge_values(SLOWER, STEADY, max_increase=0.1),
            judge.judge_values(STEADY, STEADY, max_increase=0.1),
            judge.judge_values(STEADY, [0.0] * 60, max_increase=0.1),
            judge.judge_values([], STEADY, max_increase=0.1),
            judge.judge_values(SLOWER[:3], STEADY, max_increase=0.1),
            judge.judge_counts(Counts(41, 1_003), Counts(20, 999), max_increase=0.01),
            judge.judge_counts(Counts(2, 1), Counts(20, 999), max_increase=0.01),
        ]

        for judgement in judgements:
            text = json.dumps(judgement.data, allow_nan=False)
            assert Judgement.from_data(json.loads(text)) == judgement
            assert json.dumps(Judgement.from_data(json.loads(text)).data) == text

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"verdict": "fine", "reason": "r", "method": "m"},
            {"verdict": "pass", "reason": "r"},
            {"verdict": "pass", "reason": "r", "method": "m", "colour": "red"},
        ],
    )
    def test_refuses_other_data(self, data: dict[str, str]) -> None:
        """Data that are not those of a judgement are refused."""
        with pytest.raises(CodecError, match="not the data of a judgement"):
            Judgement.from_data(data)


class TestCounts:
    def test_rate(self) -> None:
        """The rate is the share of events, and zero where nothing was asked."""
        assert Counts(1, 4).rate == 0.25
        assert Counts(0, 0).rate == 0.0


class TestLimits:
    @pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
    def test_are_needed(self, judge: Judge) -> None:
        """A comparison without a limit is refused before it could pass."""
        with pytest.raises(DefinitionError, match="without a limit"):
            judge.judge_values(STEADY, STEADY)
        with pytest.raises(DefinitionError, match="without a limit"):
            judge.judge_counts(Counts(0, 1), Counts(0, 1))

    @pytest.mark.parametrize("limit", [-0.1, float("nan"), float("inf"), True, "5 %"])
    @pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
    def test_are_sizes(self, judge: Judge, limit: float) -> None:
        """A limit that is no size is refused, by its name."""
        with pytest.raises(DefinitionError, match="max_decrease="):
            judge.judge_values(STEADY, STEADY, max_increase=0.1, max_decrease=limit)

    @pytest.mark.parametrize("kind", [Sequential, FixedSample])
    @pytest.mark.parametrize(
        "options",
        [{"alpha": 0}, {"alpha": 0.9}, {"beta": -1}, {"min_samples": 1}, {"max_spread": 0.5}],
    )
    def test_options(self, kind: type, options: dict[str, float]) -> None:
        """An option that makes no sense is refused when the judge is made."""
        with pytest.raises(DefinitionError, match=next(iter(options))):
            kind(**options)

    def test_scores(self) -> None:
        """Scores that do not rise, and weights beyond the whole, are refused together."""
        with pytest.raises(DefinitionError) as caught:
            Scored(pass_score=50, marginal_score=60, weights={"a": 80, "b": 30, "c": -1})

        assert len(caught.value.problems) == 3


class TestData:
    @pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
    def test_missing(self, judge: Judge) -> None:
        """An arm without points, or with NaN alone, has no data, whichever it is."""
        nan = float("nan")
        for x, y in (([], STEADY), (STEADY, []), ([nan, nan], STEADY), ([], [])):
            assert judge.judge_values(x, y, max_increase=0.1).verdict == "no_data"
        for one, other in ((Counts(0, 0), Counts(1, 5)), (Counts(1, 5), Counts(0, 0))):
            assert judge.judge_counts(one, other, max_increase=0.1).verdict == "no_data"

    @pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
    def test_nan_is_a_missing_point(self, judge: Judge) -> None:
        """A NaN among points counts as if it was not there."""
        holed = [value for point in SLOWER for value in (point, float("nan"))]

        found = judge.judge_values(holed, STEADY, max_increase=0.1)

        assert found == judge.judge_values(SLOWER, STEADY, max_increase=0.1)

    @pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
    def test_impossible(self, judge: Judge) -> None:
        """Infinite values and more errors than requests are errors, never a verdict on the canary."""
        inf = float("inf")
        assert judge.judge_values([*STEADY, inf], STEADY, max_increase=0.1).verdict == "error"
        assert judge.judge_values(STEADY, [*STEADY, -inf], max_increase=0.1).verdict == "error"
        for wrong in (Counts(6, 5), Counts(-1, 5), Counts(1, inf), Counts(float("nan"), 5)):
            assert judge.judge_counts(wrong, Counts(1, 5), max_increase=0.1).verdict == "error"
            assert judge.judge_counts(Counts(1, 5), wrong, max_increase=0.1).verdict == "error"

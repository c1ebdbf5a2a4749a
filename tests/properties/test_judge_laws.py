"""Laws of judges: units do not matter, more evidence never weighs less, nothing is ever raised."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyflow.analysis import Counts, FixedSample, Judge, Judgement, Sequential

# A busy machine is no reason to fail.
SOME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
JUDGES: list[Judge] = [Sequential(), FixedSample()]
NAMES = ["sequential", "fixed"]

READABLE = st.integers(1, 10**6).map(lambda n: n / 1_000)
"""Values as metrics give them: positive, with a few digits, many of them alike."""
COARSE = st.sampled_from([0.0, 1.0, 1.0, 2.0, 5.0, -1.0])
ARMS = st.one_of(
    st.lists(READABLE, min_size=1, max_size=45),
    st.lists(COARSE, min_size=1, max_size=45),
    st.builds(lambda value, size: [value] * size, READABLE, st.integers(1, 45)),
    st.builds(lambda values: values * 5, st.lists(READABLE, min_size=4, max_size=9)),
)
LIMITS = st.sampled_from([0.0, 0.05, 0.1, 0.25, 1.0])
UNITS = st.floats(1e-9, 1e9)
WILD = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=25)
NUMBERS = st.one_of(st.integers(0, 10**6).map(float), st.floats(allow_nan=True))
COUNTS = st.builds(Counts, NUMBERS, NUMBERS)


def is_alike(one: float | None, other: float | None) -> bool:
    """Return whether two numbers differ by rounding at most, or are both none."""
    if one is None or other is None:
        return one is other
    return one == pytest.approx(other, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
class TestUnits:
    @settings(SOME, max_examples=200)
    @given(one=ARMS, other=ARMS, limit=LIMITS, unit=UNITS)
    @example(one=[1.1] * 20, other=[1.0] * 20, limit=0.1, unit=1e-9)
    @example(one=[0.2] * 20, other=[0.1] * 20, limit=1.0, unit=3e8)
    @example(one=[0.0] * 20 + [1.0] * 20, other=[0.0] * 40, limit=0.1, unit=1e-9)
    def test_do_not_matter(
        self, judge: Judge, one: list[float], other: list[float], limit: float, unit: float
    ) -> None:
        """The verdict is the same when every value is multiplied by the same number."""
        plain = judge.judge_values(one, other, max_increase=limit, max_decrease=limit)

        scaled = judge.judge_values(
            [value * unit for value in one],
            [value * unit for value in other],
            max_increase=limit,
            max_decrease=limit,
        )

        assert scaled.verdict == plain.verdict
        assert is_alike(scaled.p_value, plain.p_value)
        assert is_alike(scaled.effect, plain.effect)


@pytest.mark.parametrize("judge", JUDGES, ids=NAMES)
class TestSense:
    @SOME
    @given(one=WILD, other=WILD, limit=LIMITS)
    def test_whatever_the_values(
        self, judge: Judge, one: list[float], other: list[float], limit: float
    ) -> None:
        """Any values get a verdict that the record can hold; nothing is raised."""
        found = judge.judge_values(one, other, max_increase=limit)

        assert Judgement.from_data(json.loads(json.dumps(found.data, allow_nan=False))) == found
        if found.verdict in ("pass", "fail"):
            assert min(found.samples) >= 5

    @SOME
    @given(one=COUNTS, other=COUNTS, limit=LIMITS)
    def test_whatever_the_counts(
        self, judge: Judge, one: Counts, other: Counts, limit: float
    ) -> None:
        """Any counts get a verdict that the record can hold; nothing is raised."""
        found = judge.judge_counts(one, other, max_increase=limit, max_decrease=limit)

        assert Judgement.from_data(json.loads(json.dumps(found.data, allow_nan=False))) == found

    @SOME
    @given(k=st.integers(0, 200), more=st.integers(0, 50), other=st.integers(0, 200), limit=LIMITS)
    def test_more_errors_are_no_better(
        self, judge: Judge, k: int, more: int, other: int, limit: float
    ) -> None:
        """Further errors of the canary never turn a failure into anything else."""
        before = judge.judge_counts(Counts(k, 300), Counts(other, 300), max_increase=limit)
        after = judge.judge_counts(Counts(k + more, 300), Counts(other, 300), max_increase=limit)

        if before.verdict == "fail":
            assert after.verdict == "fail"
        if after.verdict == "pass":
            assert before.verdict == "pass"

    @SOME
    @given(one=ARMS, other=ARMS, limit=LIMITS)
    def test_a_wider_limit_is_no_stricter(
        self, judge: Judge, one: list[float], other: list[float], limit: float
    ) -> None:
        """What passes a limit passes a wider one, and what fails a wider one fails it."""
        narrow = judge.judge_values(one, other, max_increase=limit)
        wide = judge.judge_values(one, other, max_increase=2 * limit + 0.1)

        if wide.verdict == "fail":
            assert narrow.verdict == "fail"
        assert (narrow.verdict, wide.verdict) != ("pass", "fail")

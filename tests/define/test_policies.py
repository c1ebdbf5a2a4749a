"""Spans, backoffs and retries."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflow.define.policies import Retry, is_exception_types, is_whole
from pyflow.errors import DefinitionError
from pyflow.spans import Backoff, seconds, worded

CENTURY_S = 366 * 86_400.0 * 100


class TestSeconds:
    @pytest.mark.parametrize(
        ("span", "expected"),
        [
            (90, 90.0),
            (0.25, 0.25),
            ("90s", 90.0),
            ("5m", 300.0),
            ("1h30m", 5_400.0),
            ("2d", 172_800.0),
            ("250ms", 0.25),
            ("1.5h", 5_400.0),
            ("1m1ms", 60.001),
            (timedelta(minutes=2), 120.0),
            (CENTURY_S, CENTURY_S),
        ],
    )
    def test_reads(self, span: Any, expected: float) -> None:
        """Numbers are seconds, text has units, a timedelta is what it is."""
        assert seconds(span) == pytest.approx(expected)

    @pytest.mark.parametrize(
        "span",
        [
            "5",
            "",
            "m",
            "5 m",
            "5m ",
            "-5m",
            "5M",
            "1e3s",
            "\u0665s",
            "5m\n",
            "1s" * 21,
            b"5m",
            None,
        ],
    )
    def test_is_no_span(self, span: Any) -> None:
        """What is neither a number nor text with units is refused, and shown."""
        with pytest.raises(DefinitionError, match="is not a span of time; give seconds"):
            seconds(span)

    @pytest.mark.parametrize("span", [True, False, [], {}, object(), 5 + 0j])
    def test_is_no_number(self, span: Any) -> None:
        """A truth value is no number of seconds."""
        with pytest.raises(DefinitionError, match="is not a span"):
            seconds(span, zero=True)

    @pytest.mark.parametrize(
        "span",
        [-1, -0.001, math.nan, math.inf, -math.inf, 10**400, pytest.param(10**9_000, id="huge")],
    )
    def test_out_of_range(self, span: Any) -> None:
        """A span is finite and not negative."""
        with pytest.raises(DefinitionError, match="must be finite and zero or more"):
            seconds(span, zero=True)

    @pytest.mark.parametrize("span", [0, 0.0, -0.0, "0s", timedelta()])
    def test_nothing(self, span: Any) -> None:
        """A span of nothing needs to be allowed."""
        assert seconds(span, zero=True) == 0
        with pytest.raises(DefinitionError, match="more than zero"):
            seconds(span)

    @pytest.mark.parametrize("span", [CENTURY_S + 1, timedelta.max, "99999999d", "9" * 38 + "d"])
    def test_too_long(self, span: Any) -> None:
        """More than a hundred years is a mistake."""
        with pytest.raises(DefinitionError, match="more than a hundred years; give a shorter"):
            seconds(span)

    def test_names_the_argument(self) -> None:
        """The error says which argument it is about."""
        with pytest.raises(DefinitionError, match=r"^timeout: 'soon' is not"):
            seconds("soon", what="timeout")

    @given(st.text() | st.floats() | st.integers() | st.timedeltas())
    def test_is_total(self, span: Any) -> None:
        """Whatever comes, the answer is a length in range or a DefinitionError."""
        try:
            length = seconds(span)
        except DefinitionError:
            return

        assert 0 < length <= CENTURY_S


spans = st.floats(0, CENTURY_S)


class TestBackoff:
    def test_doubles(self) -> None:
        """Each wait is twice the one before, up to the ceiling."""
        backoff = Backoff("1s", ceiling="5s", jitter=0)

        waits = [backoff.delay_s(n, 0.5) for n in range(1, 6)]

        assert waits == [1, 2, 4, 5, 5]

    def test_jitter(self) -> None:
        """The jitter's share is multiplied by chance, the rest stays."""
        backoff = Backoff("10s", jitter=0.3)

        assert backoff.delay_s(1, 0.0) == pytest.approx(7)
        assert backoff.delay_s(1, 0.5) == pytest.approx(8.5)

    @given(
        first=spans,
        ceiling=spans,
        factor=st.floats(1, 1_000) | st.integers(1, 1_000),
        jitter=st.floats(0, 1),
        failures=st.integers(-3, 10**9) | st.just(10**400),
        chance=st.floats(0, 1, exclude_max=True),
    )
    def test_law(self, failures: int, chance: float, **options: Any) -> None:
        """A wait is never negative, above the ceiling, or outside of the jitter's share."""
        backoff = Backoff(**options)

        wait_s = backoff.delay_s(failures, chance)

        least = (1 - backoff.jitter) * min(options["ceiling"], options["first"])
        assert 0 <= wait_s <= seconds(backoff.ceiling, zero=True)
        assert wait_s >= least * (1 - 1e-9)

    def test_overflow(self) -> None:
        """Where the power is beyond all numbers, the wait is the ceiling."""
        assert Backoff("1s", factor=2, jitter=0).delay_s(2_000, 0) == 60
        assert Backoff("1s", factor=2, jitter=0).delay_s(10**9, 0) == 60

    def test_no_wait(self) -> None:
        """A wait of nothing stays nothing, however often it is doubled."""
        assert Backoff(0, jitter=0).delay_s(2_000, 0) == 0

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"first": -1}, "first: -1 must be finite and zero or more"),
            ({"first": "soon"}, "first: 'soon' is not a span"),
            ({"ceiling": math.nan}, "ceiling: nan must be finite"),
            ({"factor": 0.5}, "factor=0.5 must be between 1 and 1000"),
            ({"factor": math.nan}, "factor=nan must"),
            ({"factor": 10**400}, "factor=1000"),
            ({"factor": "2"}, "factor='2' must"),
            ({"factor": True}, "factor=True must"),
            ({"jitter": -0.1}, "jitter=-0.1 must be between 0 and 1"),
            ({"jitter": 1.1}, "jitter=1.1 must"),
            ({"jitter": None}, "jitter=None must"),
        ],
    )
    def test_refuses(self, options: Any, says: str) -> None:
        """An impossible option is named, with its value and what is possible."""
        with pytest.raises(DefinitionError, match=says) as caught:
            Backoff(**options)

        assert len(caught.value.problems) == 1

    def test_all_at_once(self) -> None:
        """Every problem is reported, not only the first."""
        with pytest.raises(DefinitionError) as caught:
            Backoff(-1, factor=0, ceiling="x", jitter=2)

        assert len(caught.value.problems) == 4


class TestRetry:
    def test_defaults(self) -> None:
        """Three tries, with waits that double from a second."""
        retry = Retry()

        assert (retry.attempts, retry.backoff, retry.on) == (3, Backoff(), Exception)
        assert not retry.after_crash
        assert retry.delay_s(2, 0.0) == pytest.approx(1.0)

    def test_span(self) -> None:
        """A span alone sets the opening wait."""
        assert Retry(backoff="10s").backoff == Backoff("10s")

    def test_long_span(self) -> None:
        """A span above the usual ceiling raises the ceiling, so that it is what is waited."""
        retry = Retry(backoff="5m")

        assert retry.delay_s(1, 1.0) == 300

    @pytest.mark.parametrize(
        "attempts",
        [-1, 0, 1.5, 1_001, 10**9, pytest.param(10**5_000, id="huge"), None, True, "3", math.nan],
    )
    def test_bad_attempts(self, attempts: Any) -> None:
        """Tries are a whole number within a bound."""
        with pytest.raises(DefinitionError, match="must be a whole number from 1 to 1000"):
            Retry(attempts=attempts)

    @pytest.mark.parametrize(
        "on", [None, (), "ValueError", ValueError("x"), [ValueError], (ValueError, 3), int]
    )
    def test_bad_on(self, on: Any) -> None:
        """Only exception classes say what is worth another try."""
        with pytest.raises(DefinitionError, match="must be an exception class or a tuple of them"):
            Retry(on=on)

    def test_all_at_once(self) -> None:
        """Every problem is reported, not only the first."""
        with pytest.raises(DefinitionError) as caught:
            Retry(attempts=0, backoff="never", on=5, after_crash="yes")  # type: ignore[arg-type]

        assert [str(problem).partition(" ")[0] for problem in caught.value.problems] == [
            "attempts=0",
            "on=5",
            "after_crash='yes'",
            "backoff:",
        ]

    def test_is_a_value(self) -> None:
        """Equal retries are equal, and none can be changed."""
        assert Retry(2, "1s") == Retry(2, Backoff("1s"))
        with pytest.raises(AttributeError):
            Retry().attempts = 5  # type: ignore[misc]


class TestIsExceptionTypes:
    @pytest.mark.parametrize("value", [ValueError, BaseException, (OSError, KeyError)])
    def test_accepts(self, value: Any) -> None:
        """A class of exceptions, or a tuple of them."""
        assert is_exception_types(value)

    @pytest.mark.parametrize("value", [(), int, "x", None, (OSError, None)])
    def test_refuses(self, value: Any) -> None:
        """An empty tuple would match nothing."""
        assert not is_exception_types(value)


class TestIsWhole:
    def test_bounds(self) -> None:
        """Both ends belong to the range."""
        assert [n for n in range(-2, 9) if is_whole(n, 1, 5)] == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("value", [True, 1.0, "1", None, math.nan])
    def test_other_types(self, value: Any) -> None:
        """Only integers are whole numbers."""
        assert not is_whole(value, 0, 5)


class TestWorded:
    @pytest.mark.parametrize(
        ("span_s", "words"),
        [
            (0, "0ms"),
            (0.0125, "12.5ms"),
            (40, "40s"),
            (59.96, "60s"),
            (60, "1m"),
            (5_400, "1h30m"),
            (3_600.4, "1h"),
            (86_400 * 3 + 59, "3d59s"),
        ],
    )
    def test_is_short(self, span_s: float, words: str) -> None:
        """A span is written with its two largest units at most."""
        assert worded(span_s) == words
        assert seconds(words, zero=True) == pytest.approx(span_s, rel=0.001, abs=0.5)

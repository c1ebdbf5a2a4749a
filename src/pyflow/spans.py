"""Spans of time, and `Backoff`: how waits between tries grow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TypeAlias

from pyflow.errors import DefinitionError, shown

__all__ = ["CEILING", "Backoff", "Span", "seconds", "span_problem", "worded"]

Span: TypeAlias = timedelta | float | str
"""A length of time: a `timedelta`, a number of seconds, or text such as ``"1h30m"``."""

UNIT_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[dhms])")
WHOLE = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|[dhms]))+")
SPAN_CHARS_MAX = 40
SPAN_S_MAX = 366 * 86_400.0 * 100
CEILING = "1m"


def seconds(value: Span, *, what: str = "span", zero: bool = False) -> float:
    """Return the length of *value* in seconds.

    Args:
        value: A `timedelta`, a finite number of seconds, or text made of
            numbers with the units d, h, m, s and ms.
        what: The name of the argument, for the error.
        zero: Whether a span of nothing is allowed.

    Raises:
        DefinitionError: *value* is no such span, is negative, or is more
            than a hundred years.
    """
    number = value if type(value) is float else _number(value)
    if number is None or not (0 < number <= SPAN_S_MAX or (number == 0 and zero)):
        raise DefinitionError(what, [span_problem(value, zero=zero)])
    return number


def span_problem(value: object, *, zero: bool) -> str | None:
    """Return why *value* is no span, or None."""
    number = _number(value)
    if number is None:
        return (
            f"{shown(value)} is not a span of time; give seconds (90), text with units "
            '("90s", "5m", "1h30m") or a timedelta'
        )
    least = "zero or more" if zero else "more than zero"
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        return f"{shown(value)} must be finite and {least}"
    if number > SPAN_S_MAX:
        return f"{shown(value)} is more than a hundred years; give a shorter span"
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str) and len(value) <= SPAN_CHARS_MAX:
        return _text_number(value)
    return None


@lru_cache(maxsize=256)
def _text_number(text: str) -> float | None:
    alone = PART.fullmatch(text)
    if alone is not None:  # as most are
        return float(alone[1]) * UNIT_S[alone[2]]
    if WHOLE.fullmatch(text):
        return sum(float(size) * UNIT_S[unit] for size, unit in PART.findall(text))
    return None


def _is_real(value: object, least: float, most: float) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
    )


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries: exponential, with jitter, up to a ceiling."""

    first: Span = "1s"
    """The wait after the opening try."""

    factor: float = 2.0
    """Each wait is this many times the one before; 1 keeps them equal."""

    ceiling: Span = CEILING
    """No wait is longer than this."""

    jitter: float = 0.5
    """The share of each wait that is random, from 0 (none) to 1 (all of it), so
    that many runs that failed together do not come back together."""

    def __post_init__(self) -> None:
        problems: list[str] = []
        for option, span in (("first", self.first), ("ceiling", self.ceiling)):
            reason = span_problem(span, zero=True)
            if reason is not None:
                problems.append(f"{option}: {reason}")
        for option, number, least, most in (
            ("factor", self.factor, 1, 1_000),
            ("jitter", self.jitter, 0, 1),
        ):
            if not _is_real(number, least, most):
                problems.append(f"{option}={shown(number)} must be between {least} and {most}")
        if problems:
            raise DefinitionError("Backoff", problems)

    def delay_s(self, failures: int, chance: float) -> float:
        """Return the wait after *failures* tries in a row, in seconds.

        The rule is ``min(ceiling, first * factor ** (failures - 1))``, of
        which the jitter's share is multiplied by *chance*, a number in [0, 1).
        """
        first, ceiling = seconds(self.first, zero=True), seconds(self.ceiling, zero=True)
        try:
            whole = min(ceiling, first * float(self.factor) ** max(0, failures - 1))
        except OverflowError:
            whole = ceiling if first else 0.0
        return whole * (1 - self.jitter + self.jitter * chance)


def worded(span_s: float) -> str:
    """Return a span of seconds as `seconds` reads it, to two units: ``50ms``, ``40s``, ``1h30m``."""
    if span_s < 0.1:
        return f"{span_s * 1000:.3g}ms"
    if span_s < 60:
        return f"{span_s:.3g}s"
    left, parts = round(span_s), list[str]()
    for unit in "dhms":
        count, left = divmod(left, int(UNIT_S[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])

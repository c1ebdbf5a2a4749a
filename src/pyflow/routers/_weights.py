"""Percentages, and the whole numbers that proxies weigh by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, cast

from pyflow.errors import RouterError, shown

__all__ = ["Addresses", "checked", "difference", "percentages", "whole"]

SUM_SLACK = 1e-6
ROUNDING_PCT_MAX = 0.5
DENOMINATOR_MAX = 1_000

Addresses = Mapping[str, tuple[str, int]]
"""Where instances listen: host and port by the id of each."""


def checked(service: str, weights: object) -> dict[str, float]:
    """Return a copy of *weights* without those of 0.

    Raises:
        RouterError: They are not percentages that sum to 100.
    """
    given: dict[Any, Any] = dict(cast("Any", weights)) if isinstance(weights, Mapping) else {}
    names = all(isinstance(version, str) and version for version in given)
    if names and all(map(_is_percentage, given.values())) and _is_whole(given.values()):
        return {version: float(weight) for version, weight in given.items() if weight}
    raise RouterError(
        service, f"{shown(given)} are no weights; give percentages by version that sum to 100"
    )


def _is_whole(values: Iterable[float]) -> bool:
    return abs(math.fsum(values) - 100) <= SUM_SLACK


def _is_percentage(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100


def percentages(service: str, shares: Mapping[str, int]) -> dict[str, float]:
    """Return what whole *shares* come to in percent, without those of 0.

    Raises:
        RouterError: They are all 0, so nothing gets any traffic.
    """
    total = sum(shares.values())
    if total <= 0:
        raise RouterError(
            service, f"nothing gets any traffic: the weights are {shown(dict(shares))}"
        )
    return {version: share * 100 / total for version, share in shares.items() if share}


def whole(
    service: str, weights: Mapping[str, float], parts: Mapping[str, int], *, most: int
) -> dict[str, int]:
    """Return a whole number for each of the *parts* of a version, so that versions get *weights*.

    They are exact where numbers up to *most* allow it, and as small as
    possible then; otherwise the nearest, within half a percent of what was
    asked for.

    Raises:
        RouterError: No numbers are near enough.
    """
    exact = {
        version: Fraction(weight).limit_denominator(DENOMINATOR_MAX) / parts[version]
        for version, weight in weights.items()
    }
    scale = Fraction(math.lcm(*(share.denominator for share in exact.values())))
    numbers = {version: int(share * scale) for version, share in exact.items()}
    shared = math.gcd(*numbers.values()) or 1
    numbers = {version: number // shared for version, number in numbers.items()}
    if max(numbers.values()) > most:
        ratio = Fraction(most, max(numbers.values()))
        numbers = {version: round(number * ratio) for version, number in numbers.items()}
    total = sum(number * parts[version] for version, number in numbers.items())
    for version, number in numbers.items():
        got = number * parts[version] * 100 / total
        if abs(got - weights[version]) > ROUNDING_PCT_MAX or not number:
            raise RouterError(
                service,
                f"{version} cannot get {weights[version]:g} %: with {parts[version]} of it and "
                f"whole weights up to {most}, the nearest is {got:.3g} %",
            )
    return numbers


def difference(
    found: Mapping[str, float], expected: Mapping[str, float], *, slack: float = SUM_SLACK
) -> str | None:
    """Return how *found* differs from the weights *expected*, or None."""
    versions = {**expected, **found}
    if all(abs(found.get(v, 0.0) - expected.get(v, 0.0)) <= slack for v in versions):
        return None
    return f"the weights are {shown(dict(found))}, and were to be {shown(dict(expected))}"

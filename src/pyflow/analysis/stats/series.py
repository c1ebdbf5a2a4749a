"""Means of series whose points are not independent: how much each of them is worth.

Metrics that are scraped every few seconds remember their past. A mean over
such points varies more than their number lets one think, by the factor
(1 + r) / (1 - r) where r is the correlation of neighbours (a first-order
autoregression, AR(1)). The estimate of r is too small in short series, by
about (1 + 3 r) / n (Kendall 1954), so it is raised by that much.
"""

from __future__ import annotations

import math
from operator import mul
from typing import TYPE_CHECKING

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Arm", "caution", "inflation", "mean", "neighbours", "reach", "summed_up"]

CORRELATION_MAX = 0.95
EQUAL = 1e-13
SHORT = 18.0


@frozen
class Arm:
    """A series, summed up."""

    size: int
    """How many points there are."""

    mean: float
    """Their mean."""

    squares: float
    """The sum of the squares of their differences from it; 0 where they are all equal."""

    products: float
    """The sum of the products of neighbouring differences."""


def mean(values: Sequence[float]) -> float:
    """Return the mean, correctly rounded before the division, so that order does not matter."""
    return math.fsum(values) / len(values)


def summed_up(values: Sequence[float]) -> Arm:
    """Return what the statistics of means need of *values*.

    Differences that are no more than the rounding of the values themselves
    are none, so that a constant is one in every unit.
    """
    centre = mean(values)
    rest = [value - centre for value in values]
    if reach(rest) <= EQUAL * reach(values):
        return Arm(len(values), centre, 0.0, 0.0)
    return Arm(
        len(values),
        centre,
        math.fsum(map(mul, rest, rest)),
        math.fsum(map(mul, rest, rest[1:])),
    )


def reach(values: Sequence[float]) -> float:
    """Return the largest absolute value: two passes over bare floats, which beat `abs` of each."""
    low, high = min(values), max(values)
    return max(high, -low)


def neighbours(*arms: Arm) -> float:
    """Return the correlation of neighbouring points, pooled over *arms*, its bias taken off.

    Never below zero: series that swing give no extra credit.
    """
    below = math.fsum(arm.squares for arm in arms)
    if below <= 0.0:
        return 0.0
    raw = math.fsum(arm.products for arm in arms) / below
    size = math.fsum(arm.squares * arm.size for arm in arms) / below
    return min(max(raw + (1.0 + 3.0 * raw) / size, 0.0), CORRELATION_MAX)


def inflation(correlation: float) -> float:
    """Return by how much *correlation* raises the variance of a mean."""
    return (1.0 + correlation) / (1.0 - correlation)


def caution(size: float) -> float:
    """Return by how much to raise a variance that was estimated from *size* points.

    The correlation and the variance of short series are themselves uncertain,
    and most false alarms come from where both happen to be small. The form is
    a choice, made by simulation: it halves the false alarms at twenty points
    and is gone by sixty.
    """
    return 1.0 + (SHORT / size) ** 3

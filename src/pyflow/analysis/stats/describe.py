"""What a sample looks like, and how far two are apart, in single numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Summary", "cohens_d", "mean_ratio", "percentile", "summary"]


@frozen
class Summary:
    """A sample in five numbers, all zero for an empty one."""

    count: int
    least: float
    most: float
    mean: float
    sd: float
    """The standard deviation of the population, estimated (over n - 1); 0 for one point."""


def summary(values: Sequence[float]) -> Summary:
    """Return *values* in five numbers."""
    if not values:
        return Summary(0, 0.0, 0.0, 0.0, 0.0)
    mean = math.fsum(values) / len(values)
    return Summary(len(values), min(values), max(values), mean, math.sqrt(_variance(values)))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that *percent* of *values* are below, between two of them if need be.

    This is R's type 7: linear between the order statistics, the least at 0
    and the greatest at 100 (Hyndman and Fan 1996).

    Raises:
        ValueError: There are no values, or *percent* is not from 0 to 100.
    """
    if not values or not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent} of {len(values)} values: give 0 to 100, of some")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    if below + 1 == len(ordered):
        return ordered[below]
    return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])


def mean_ratio(canary: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return the mean of *canary* over that of *baseline*; None where either is zero."""
    one, other = summary(canary).mean, summary(baseline).mean
    return one / other if one and other else None


def cohens_d(canary: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Return the difference of the means in pooled standard deviations; None where those are zero.

    Cohen (1988), with variances over n - 1.
    """
    m, n = len(canary), len(baseline)
    if m + n < 3:
        return None
    pooled = (_variance(canary) * (m - 1) + _variance(baseline) * (n - 1)) / (m + n - 2)
    apart = summary(canary).mean - summary(baseline).mean
    return apart / math.sqrt(pooled) if pooled > 0 else None


def _variance(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)

"""Two counts, looked at once: Fisher's exact test, and Newcombe's interval of the difference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyflow.analysis.stats import normal

if TYPE_CHECKING:
    from pyflow.analysis.verdicts import Counts

__all__ = ["difference_bound", "fisher"]

NEGLIGIBLE = 1e-17


def fisher(canary: Counts, baseline: Counts) -> tuple[float, float]:
    """Return the probability of so many events in the canary, and of so few, given their sum.

    Fractions, as extrapolated counters give, are rounded.
    """
    k, drawn = round(canary.events), round(canary.total)
    events = k + round(baseline.events)
    total = drawn + round(baseline.total)
    here = math.exp(_log_chance(k, drawn, events, total))
    above, under = (_tail(k, drawn, events, total, step) for step in (1, -1))
    if k * total >= drawn * events:
        return min(1.0, here + above), max(0.0, min(1.0, 1.0 - above))
    return max(0.0, min(1.0, 1.0 - under)), min(1.0, here + under)


def _tail(k: int, drawn: int, events: int, total: int, step: int) -> float:
    """Return the probability of more than *k* (step 1) or fewer (step -1), away from the middle."""
    least, most = max(0, drawn + events - total), min(drawn, events)
    is_outward = (k * total >= drawn * events) == (step > 0)
    if not is_outward:
        return 0.0
    terms: list[float] = []
    at = k + step
    while least <= at <= most:
        terms.append(math.exp(_log_chance(at, drawn, events, total)))
        if terms[-1] <= NEGLIGIBLE * terms[0]:
            break
        at += step
    return math.fsum(terms)


def _log_chance(k: int, drawn: int, events: int, total: int) -> float:
    """Return the logarithm of the hypergeometric probability of *k*."""
    return _log_comb(events, k) + _log_comb(total - events, drawn - k) - _log_comb(total, drawn)


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def difference_bound(canary: Counts, baseline: Counts, *, sign: int, tail: float) -> float:
    """Return the upper (*sign* 1) or lower (-1) bound of the difference of the rates.

    Newcombe's hybrid of Wilson's score intervals (1998, method 10), which
    holds its level for few events too. It is wrong with probability *tail*.
    """
    z = normal.quantile(1.0 - tail)
    here = abs(_wilson(canary, z, sign) - canary.rate)
    there = abs(_wilson(baseline, z, -sign) - baseline.rate)
    return canary.rate - baseline.rate + sign * math.hypot(here, there)


def _wilson(arm: Counts, z: float, sign: int) -> float:
    n, rate = arm.total, arm.rate
    middle = rate + z * z / (2 * n)
    reach = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return (middle + sign * reach) / (1 + z * z / n)

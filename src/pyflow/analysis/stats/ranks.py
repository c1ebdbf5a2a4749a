"""Ranks of two samples: Mann and Whitney's test with exact ties, and the common-language effect size."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from pyflow.analysis.stats import normal
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MannWhitney", "cles", "mann_whitney", "pairs_above"]

EXACT_PAIRS_MAX = 400


@frozen
class MannWhitney:
    """What the test says."""

    u: float
    """Pairs in which the canary's point is above the baseline's, ties for half."""

    p_greater: float
    """The probability of a U so high by chance."""

    p_less: float
    """The probability of one so low."""

    is_exact: bool
    """Whether they are counted out, or normal approximations with half a pair taken off."""

    @property
    def p_two_sided(self) -> float:
        """The probability of one so far from the middle."""
        return min(1.0, 2.0 * min(self.p_greater, self.p_less))


def pairs_above(x: Sequence[float], y: Sequence[float]) -> float:
    """Return in how many pairs a point of sorted *x* is above one of sorted *y*, ties for half."""
    return (sum(map(partial(bisect_left, y), x)) + sum(map(partial(bisect_right, y), x))) / 2


def cles(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the probability that a point of *x* is above one of *y*, ties for half."""
    return pairs_above(sorted(x), sorted(y)) / (len(x) * len(y))


def mann_whitney(
    x: Sequence[float], y: Sequence[float], *, exact: bool | None = None
) -> MannWhitney:
    """Test whether points of *x* tend to be above, or below, those of *y*.

    Counted out over all ways to deal the ranks, tied ones included, where
    there are at most `EXACT_PAIRS_MAX` pairs or *exact* asks for it;
    otherwise normal, with the variance corrected for ties (Lehmann 1975).
    """
    u = pairs_above(sorted(x), sorted(y))
    ties = _ties(x, y)
    if exact or (exact is None and len(x) * len(y) <= EXACT_PAIRS_MAX):
        return MannWhitney(u, *_exact_tails(u, len(x), len(y), ties), is_exact=True)
    return MannWhitney(u, *_normal_tails(u, len(x), len(y), ties), is_exact=False)


def _ties(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Return how many points share each value, in the order of the values."""
    counts = Counter(x)
    counts.update(y)
    return [counts[value] for value in sorted(counts)]


def variance(m: int, n: int, ties: Sequence[int]) -> float:
    """Return the variance of U by chance."""
    size = m + n
    lost = sum(t**3 - t for t in ties) / (size * (size - 1))
    return m * n / 12 * (size + 1 - lost)


def _normal_tails(u: float, m: int, n: int, ties: Sequence[int]) -> tuple[float, float]:
    spread = math.sqrt(max(variance(m, n, ties), 0.0))
    if spread == 0.0:
        return 1.0, 1.0
    apart = u - m * n / 2
    return normal.upper_tail((apart - 0.5) / spread), normal.cdf((apart + 0.5) / spread)


def _exact_tails(u: float, m: int, n: int, ties: Sequence[int]) -> tuple[float, float]:
    """Return P(U ≥ *u*) and P(U ≤ *u*) over all ways to deal the ranks.

    For each number of points dealt, one long integer holds how often each sum
    of doubled ranks comes up, in fields that are wide enough never to carry.
    """
    whole = math.comb(m + n, m)
    width = whole.bit_length()
    dealt = [1] + [0] * m
    below = 0
    for tie in ties:
        rank = 2 * below + tie + 1
        for _ in range(tie):
            for number in range(min(m, below + tie), 0, -1):
                dealt[number] += dealt[number - 1] << (rank * width)
        below += tie
    # U = sum of ranks - m (m + 1) / 2, and the ranks here are doubled.
    wanted = round(2 * u) + m * (m + 1)
    up_to = dealt[m] & ((1 << ((wanted + 1) * width)) - 1)
    under = dealt[m] & ((1 << (wanted * width)) - 1)
    fewer = _sum_of_fields(under, width)
    return (whole - fewer) / whole, _sum_of_fields(up_to, width) / whole


def _sum_of_fields(number: int, width: int) -> int:
    """Return the sum of the fields of *number*: its residue modulo 2^width - 1, kept apart from 0."""
    fields = 0
    mask = (1 << width) - 1
    data = number
    while data:
        fields += data & mask
        data >>= width
    return fields

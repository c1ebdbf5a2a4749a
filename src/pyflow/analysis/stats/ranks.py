"""Ranks of two samples: Mann and Whitney's test with exact ties, and the common-language effect size."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from operator import eq
from typing import TYPE_CHECKING

from pyflow.analysis.stats import normal
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MannWhitney", "below", "cles", "mann_whitney", "not_above", "pairs_above", "variance"]

EXACT_PAIRS_MAX = 256


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
    return (sum(below(x, y, 0.0)) + sum(not_above(x, y, 0.0))) / 2


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
    x, y = sorted(x), sorted(y)
    ties = _ties(sorted(x + y))
    # Without ties, points that are below are those that are not above.
    u = pairs_above(x, y) if ties else float(sum(below(x, y, 0.0)))
    if exact or (exact is None and len(x) * len(y) <= EXACT_PAIRS_MAX):
        dealt = ties or (1,) * (len(x) + len(y))
        return MannWhitney(u, *_exact_tails(u, len(x), len(y), dealt), is_exact=True)
    return MannWhitney(u, *_normal_tails(u, len(x), len(y), ties), is_exact=False)


def _ties(merged: Sequence[float]) -> Sequence[int]:
    """Return how many points share each value, in the order of the values; nothing if none do."""
    if not any(map(eq, merged, islice(merged, 1, None))):
        return ()
    return tuple(Counter(merged).values())


def variance(m: int, n: int, ties: Sequence[int]) -> float:
    """Return the variance of U by chance; *ties* of a single point take nothing off."""
    size = m + n
    lost = sum(t**3 - t for t in ties if t > 1) / (size * (size - 1))
    return m * n / 12 * (size + 1 - lost)


def _normal_tails(u: float, m: int, n: int, ties: Sequence[int]) -> tuple[float, float]:
    spread = math.sqrt(max(variance(m, n, ties), 0.0))
    if spread == 0.0:
        return 1.0, 1.0
    apart = u - m * n / 2
    return normal.upper_tail((apart - 0.5) / spread), normal.cdf((apart + 0.5) / spread)


def _exact_tails(u: float, m: int, n: int, ties: Sequence[int]) -> tuple[float, float]:
    """Return P(U ≥ *u*) and P(U ≤ *u*) over all ways to deal the ranks.

    For each number of points dealt to x so far, one long integer holds in how
    many ways each value of U comes up, in fields that are wide enough never to
    carry. Ties make halves, so U is doubled unless every tie is of an odd
    number of points, where halves come in pairs.
    """
    whole = math.comb(m + n, m)
    width = whole.bit_length() + 1
    unit = 2 if all(tie % 2 for tie in ties) else 1
    dealt = [1] + [0] * m
    seen = 0
    for tie in ties:
        for had in range(min(m, seen), -1, -1):
            ways = dealt[had]
            for more in range(1, min(tie, m - had) + 1):
                # They beat those of y below them, and halve with those of y in their tie.
                doubled = more * (2 * (seen - had) + tie - more)
                times = math.comb(tie, more) * ways
                dealt[had + more] += times << (doubled // unit * width)
        seen += tie
    at = round(2 * u) // unit
    under = dealt[m] & ((1 << (at * width)) - 1)
    up_to = dealt[m] & ((1 << ((at + 1) * width)) - 1)
    fewer = _sum_of_fields(under, width)
    return (whole - fewer) / whole, _sum_of_fields(up_to, width) / whole


def _sum_of_fields(number: int, width: int) -> int:
    """Return the sum of the fields of *number*.

    Two to the power of the width is one modulo itself less one, so that is
    the residue; the sum is at most `comb`, which is less.
    """
    return number % ((1 << width) - 1)


def below(x: Sequence[float], y: Sequence[float], pivot: float) -> list[int]:
    """Return for each point of *x* the place in *y* from which on differences are below *pivot*.

    Both are sorted, so one walk along both does. It is the differences as
    floats have them that are compared: a pivot that is one of them is neither
    above nor below it, whatever was rounded.
    """
    ends = [*y, math.inf]
    place, end = 0, ends[0]
    places: list[int] = []
    for a in x:
        while a - end >= pivot:
            place += 1
            end = ends[place]
        places.append(place)
    return places


def not_above(x: Sequence[float], y: Sequence[float], pivot: float) -> list[int]:
    """Return the same, for differences that are *pivot* or below."""
    ends = [*y, math.inf]
    place, end = 0, ends[0]
    places: list[int] = []
    for a in x:
        while a - end > pivot:
            place += 1
            end = ends[place]
        places.append(place)
    return places

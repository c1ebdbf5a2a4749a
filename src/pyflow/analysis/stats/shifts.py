"""Hodges and Lehmann's shift: the median of all differences between two samples, and its interval.

There are n m differences, a hundred million for arms of ten thousand points,
so they are never written down. In sorted samples, those below a pivot are
counted in one walk along both; pivots close in on the wanted rank until few
enough are left to be sorted.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from pyflow.analysis.stats import normal
from pyflow.analysis.stats.ranks import below, not_above, variance
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Differences", "reach", "thinned"]

LISTED_MIN = 2_000
SKETCH_MAX = 40
BEYOND = 6
"""Pivots aim past the wanted rank by this part of what may be left: enough to land on the other
side of it nearly always, and little enough that what is left between is sorted fast."""


@frozen
class Cut:
    """Where the differences that are smaller than a pivot begin."""

    pivot: float
    """What they are smaller than; those that are equal to it count too if `is_closed`."""

    places: Sequence[int]
    """For each point of x, the place in y from which on differences are smaller."""

    smaller: int
    """How many are."""


class Differences:
    """All differences of a point of *x* and one of *y*, both sorted, in order, without a list of them."""

    def __init__(self, x: Sequence[float], y: Sequence[float]) -> None:
        self.x, self.y = x, y
        self.size = len(x) * len(y)
        self._few = max(200, (len(x) + len(y)) * 2 // 5)
        is_small = self.size <= LISTED_MIN
        self._listed = sorted(a - b for a in x for b in y) if is_small else []
        self._first = 0  # the rank of the first of them
        none, all_ = (len(y),) * len(x), (0,) * len(x)
        self._cuts = [Cut(x[0] - y[-1], none, 0), Cut(x[-1] - y[0], all_, self.size)]
        self._smaller = [0, self.size]  # than each of the cuts

    @property
    def median(self) -> float:
        """Hodges and Lehmann's estimate of the shift of x against y."""
        upper = self.selected(self.size // 2)
        return upper if self.size % 2 else (self.selected(self.size // 2 - 1) + upper) / 2

    def bound(self, *, sign: int, reach: float) -> float:
        """Return the upper (*sign* 1) or lower (-1) bound of the shift.

        It is the difference whose rank Mann and Whitney's test would still
        accept (Lehmann 1963): *reach* is how far from the middle that is, as a
        share of all differences.
        """
        rank = math.floor(self.size * (0.5 - reach) - 0.5)
        rank = min(max(rank, 0), (self.size - 1) // 2)
        return self.selected(self.size - 1 - rank if sign > 0 else rank)

    def selected(self, rank: int) -> float:
        """Return the difference that *rank* others come before, from 0 to `size` - 1."""
        if 0 <= rank - self._first < len(self._listed):
            return self._listed[rank - self._first]
        if len(self._cuts) == 2:
            for pivot in self._sketched(rank):
                self._cut(pivot)
        before = self.size
        while (left := self._left(rank)) > self._few:
            if left > before / 2 and (tied := self._halved(rank)) is not None:
                return tied
            before = left
            self._cut(self._interpolated(rank))
        return self._sorted(rank)

    def _around(self, rank: int) -> tuple[Cut, Cut]:
        """Return the cuts between which the difference of that rank is."""
        index = bisect_right(self._smaller, rank)
        return self._cuts[index - 1], self._cuts[index]

    def _left(self, rank: int) -> int:
        low, high = self._around(rank)
        return high.smaller - low.smaller

    def _cut(self, pivot: float, *, is_closed: bool = False) -> Cut:
        """Count the differences that are smaller than *pivot*, or equal to it where *is_closed*."""
        places = (not_above if is_closed else below)(self.x, self.y, pivot)
        cut = Cut(pivot, places, self.size - sum(places))
        at = max(bisect_left(self._smaller, cut.smaller), 1)
        self._cuts.insert(at, cut)
        self._smaller.insert(at, cut.smaller)
        return cut

    def _sketched(self, rank: int) -> tuple[float, float]:
        """Return two pivots that the wanted difference is likely to be between."""
        pairs = sorted(a - b for a in _sketched(self.x) for b in _sketched(self.y))
        place = round(rank / self.size * len(pairs))
        margin = len(pairs) // 100 + 1
        low, high = (
            pairs[min(max(end, 0), len(pairs) - 1)] for end in (place - margin, place + margin)
        )
        return low, high

    def _interpolated(self, rank: int) -> float:
        """Return a pivot a little beyond the wanted rank, on the side that has more left."""
        low, high = self._around(rank)
        wanted, left = rank - low.smaller, high.smaller - low.smaller
        beyond = self._few / BEYOND
        aim = wanted + beyond if wanted < left / 2 else wanted - beyond
        return low.pivot + (high.pivot - low.pivot) * aim / left

    def _halved(self, rank: int) -> float | None:
        """Cut below and above the median of the rows' medians, weighed by what is left of them.

        That leaves three quarters at most, or the differences that are equal
        to the pivot, which are the answer then.
        """
        low, high = self._around(rank)
        rows = sorted(
            (a - self.y[(i + j) // 2], j - i)
            for a, i, j in zip(self.x, high.places, low.places, strict=True)
            if i < j
        )
        half, seen, number = (high.smaller - low.smaller) / 2, 0, 0
        while seen + rows[number][1] < half:
            seen += rows[number][1]
            number += 1
        pivot = rows[number][0]
        below, up_to = self._cut(pivot), self._cut(pivot, is_closed=True)
        return pivot if below.smaller <= rank < up_to.smaller else None

    def _sorted(self, rank: int) -> float:
        """Return the wanted difference, sorting the few that are left; its neighbours are kept."""
        low, high = self._around(rank)
        y = self.y
        self._listed = [
            a - b
            for a, i, j in zip(self.x, high.places, low.places, strict=True)
            if i < j
            for b in y[i:j]
        ]
        self._listed.sort()
        self._first = low.smaller
        return self._listed[rank - low.smaller]


def reach(m: int, n: int, tail: float) -> float:
    """Return how far from the middle bounds are that are wrong with probability *tail* each.

    As a share of all pairs, by the normal approximation, without a correction
    for ties, which puts it on the safe side.
    """
    return normal.quantile(1.0 - tail) * math.sqrt(variance(m, n, ())) / (m * n)


def thinned(arm: Sequence[float], size: int) -> Sequence[float]:
    """Return at most *size* points of a sorted sample, spread evenly over it."""
    if len(arm) <= size:
        return arm
    return [arm[(2 * k + 1) * len(arm) // (2 * size)] for k in range(size)]


def _sketched(arm: Sequence[float]) -> Sequence[float]:
    return thinned(arm, min(SKETCH_MAX, math.isqrt(len(arm)) + 3))

"""`FixedSample`: looks once, at points that are independent of one another.

Values are compared by their ranks, so neither their distribution nor outliers
matter, and ties are counted out where samples are small. Counts are compared
by Fisher's exact test. It finds a little more than `Sequential` does in the
same data; looked at again and again, or given points that remember one
another, it raises false alarms, and nothing in it will say so.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from statistics import median
from typing import TYPE_CHECKING

from pyflow.analysis.judges.deciding import doubted, strays, told
from pyflow.analysis.judges.limits import (
    ROUNDING,
    Side,
    checked,
    counts_problem,
    option_problems,
    refuse,
    sides,
    values_problem,
)
from pyflow.analysis.stats import ranks, tables
from pyflow.analysis.stats.series import inflation, neighbours, summed_up
from pyflow.analysis.stats.shifts import Differences, reach, thinned
from pyflow.analysis.verdicts import Counts, Judgement, Verdict
from pyflow.frozen import frozen, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.analysis.judges.estimates import Scale

__all__ = ["FixedSample"]

BOUNDED_MAX = 2_000
"""Points of an arm beyond which bounds are taken from this many, spread evenly over it; that moves
them by less than a hundredth of their distance."""


@dataclass(frozen=True, slots=True)
class FixedSample:
    """Judge once, when all data are there: Mann and Whitney's test, and Fisher's for counts."""

    _: KW_ONLY

    alpha: float = 0.05
    """The probability that a canary that is not worse fails."""

    beta: float = 0.2
    """The probability that a canary that is worse by the very limit passes."""

    min_samples: int = 5
    """Points of each arm below which values are not judged."""

    max_spread: float = 2.0
    """By which factor one arm may vary more than the other before a pass is in doubt."""

    def __post_init__(self) -> None:
        refuse(
            "FixedSample",
            option_problems(
                alpha=self.alpha,
                beta=self.beta,
                min_samples=self.min_samples,
                max_spread=self.max_spread,
            ),
        )

    def judge_counts(
        self,
        canary: Counts,
        baseline: Counts,
        /,
        *,
        max_increase: float | None = None,
        max_decrease: float | None = None,
    ) -> Judgement:
        """Compare how often something happened; a limit is a difference of rates.

        Raises:
            DefinitionError: No limit was given, or one that is none.
        """
        limits = sides(max_increase, max_decrease)
        if problem := counts_problem(canary, baseline):
            return problem
        alpha, beta = self.alpha / len(limits), self.beta / len(limits)
        apart = canary.rate - baseline.rate
        low, high = (
            tables.difference_bound(canary, baseline, sign=sign, tail=alpha) for sign in (-1, 1)
        )

        def is_clear(side: Side) -> bool:
            most = tables.difference_bound(canary, baseline, sign=side.sign, tail=beta)
            return side.sign * most <= side.limit

        found = Comparison(
            limits=limits,
            p_values=tables.fisher(canary, baseline),
            changes=(apart,),
            is_clear=is_clear,
            is_rate=True,
        )
        return replace(
            found.judged(alpha),
            method="Fisher's exact test",
            effect=apart,
            interval=(low, high),
            samples=(canary.total, baseline.total),
            effective_samples=(float(canary.total), float(baseline.total)),
        )

    def judge_values(
        self,
        canary: Sequence[float],
        baseline: Sequence[float],
        /,
        *,
        max_increase: float | None = None,
        max_decrease: float | None = None,
    ) -> Judgement:
        """Compare measurements that are independent of one another; a limit is relative.

        Raises:
            DefinitionError: No limit was given, or one that is none.
        """
        limits = sides(max_increase, max_decrease)
        one, other = checked(canary), checked(baseline)
        if problem := values_problem(one, other) or self._shortage(len(one), len(other)):
            return problem
        samples = Samples(one, other)
        found = samples.judged(limits, alpha=self.alpha, beta=self.beta)
        if found.verdict != "pass":
            return found
        apart = strays(samples.x, samples.y)
        room = min(side.limit for side in limits) * samples.level
        return doubted(found, apart, room, _evidence_apart, alpha=self.alpha, most=self.max_spread)

    def _shortage(self, one: int, other: int) -> Judgement | None:
        """Return the judgement on samples that are too small to be compared, or None."""
        if min(one, other) >= self.min_samples:
            return None
        reason = f"{one} and {other} points are too few; {self.min_samples} each are needed"
        return Judgement("inconclusive", reason, "none", samples=(one, other))


class Samples:
    """The values of two arms, ranked, and what is compared of them: each worked out once."""

    def __init__(self, one: Sequence[float], other: Sequence[float]) -> None:
        self.x, self.y = sorted(one), sorted(other)
        self.sizes = (len(one), len(other))
        arms = summed_up(one), summed_up(other)
        self.worth = 1.0 / inflation(neighbours(*arms))
        """What share of the points they would be if each were independent."""
        self.centre, self.level = abs(median(self.y)), abs(arms[1].mean)
        """Median and mean of the baseline, to which changes are relative."""
        self.change = _relative(arms[0].mean - arms[1].mean, self.level)
        self.test = ranks.mann_whitney(self.x, self.y)
        self._differences = Differences(self.x, self.y)
        self.shift = self._differences.median
        if max(self.sizes) > BOUNDED_MAX:
            few = thinned(self.x, BOUNDED_MAX), thinned(self.y, BOUNDED_MAX)
            self._differences = Differences(*few)

    def judged(self, limits: Sequence[Side], *, alpha: float, beta: float) -> Judgement:
        """Return the judgement on them, where error rates are shared out among *limits*."""
        alpha, beta = alpha / len(limits), beta / len(limits)
        comparison = Comparison(
            limits=limits,
            p_values=(self.test.p_greater, self.test.p_less),
            changes=(self.change, _relative(self.shift, self.centre)),
            is_clear=lambda side: self._is_clear(side, beta),
            is_rate=False,
        )
        return self._described(comparison.judged(alpha), alpha)

    def _described(self, found: Judgement, alpha: float) -> Judgement:
        """Add to a verdict what it rests on."""
        low, high = self._bound(-1, alpha), self._bound(1, alpha)
        one, other = self.sizes
        return replace(
            found,
            method=f"Mann-Whitney, {'exact' if self.test.is_exact else 'normal'}",
            effect=self.change if math.isfinite(self.change) else None,
            interval=(_finite(low, self.centre), _finite(high, self.centre)),
            samples=self.sizes,
            effective_samples=(one * self.worth, other * self.worth),
            shift=self.shift,
            shift_interval=(low, high),
            cles=self.test.u / (one * other),
        )

    def _is_clear(self, side: Side, beta: float) -> bool:
        """Return whether mean and shift are within the limit, with probability 1 - *beta*."""
        most = _relative(self._bound(side.sign, beta), self.centre)
        return all(side.sign * found <= side.limit + ROUNDING for found in (self.change, most))

    def _bound(self, sign: int, tail: float) -> float:
        return self._differences.bound(sign=sign, reach=reach(*self.sizes, tail))


@frozen
class Comparison:
    """What a single look found, before it is a verdict."""

    limits: Sequence[Side]
    p_values: tuple[float, float]
    """The probability of a canary so much higher by chance, and of one so much lower."""
    changes: tuple[float, ...]
    """How much higher the canary is, in each of the ways to say it."""
    is_clear: Callable[[Side], bool]
    """Whether a change as large as the limit would have shown."""
    is_rate: bool

    def judged(self, alpha: float) -> Judgement:
        """Return the verdict, where each side may be wrong with probability *alpha*."""
        wrong = next((side for side in self.limits if self._is_beyond(side, alpha)), None)
        side = wrong or min(self.limits, key=self._p)
        verdict: Verdict = "fail"
        if wrong is None:
            verdict = "pass" if all(map(self.is_clear, self.limits)) else "inconclusive"
        p_value = min(1.0, self._p(side) * len(self.limits))
        return Judgement(verdict, self._reason(verdict, side), "none", p_value=p_value)

    def _p(self, side: Side) -> float:
        return self.p_values[0 if side.sign > 0 else 1]

    def _most(self, side: Side) -> float:
        return max(self.changes, key=lambda change: side.sign * change)

    def _is_beyond(self, side: Side, alpha: float) -> bool:
        return side.sign * self._most(side) > side.limit + ROUNDING and self._p(side) <= alpha

    def _reason(self, verdict: Verdict, side: Side) -> str:
        scale = "rate" if self.is_rate else "linear"
        limit = told(side.limit, scale)
        found = _told(self._most(side), scale)
        if verdict == "fail":
            return f"the canary is {found}, where {limit} is allowed; by chance: p = {self._p(side):.3g}"
        if verdict == "pass":
            return f"the canary is {found}; a change of {limit} would have shown"
        if side.sign * self._most(side) > side.limit:
            return (
                f"the canary is {found}, where {limit} is allowed, "
                f"but that may be chance: p = {self._p(side):.3g}"
            )
        return f"the canary is {found}; the data are too few to exclude a change of {limit}"


def _relative(change: float, level: float) -> float:
    """Return *change* relative to a level; without a level, any change is infinite."""
    if level > 0:
        return change / level
    return math.copysign(math.inf, change) if change else 0.0


def _finite(change: float, level: float) -> float | None:
    relative = _relative(change, level)
    return relative if math.isfinite(relative) else None


def _told(change: float, scale: Scale) -> str:
    if change == 0:
        return "just as high as the baseline"
    word = "higher" if change > 0 else "lower"
    if math.isinf(change):
        return f"{word} than a baseline of zero"
    return f"{told(change, scale)} {word} than the baseline"


def _evidence_apart(x: Sequence[float], y: Sequence[float]) -> float:
    p_value = ranks.mann_whitney(x, y, exact=False).p_two_sided
    return math.log(2.0 / max(p_value, 1e-300))

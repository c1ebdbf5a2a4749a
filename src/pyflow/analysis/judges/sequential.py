"""`Sequential`: may be asked at every look, and still keeps its error rates.

Counts are compared by mixtures of likelihood ratios, exact where events (or
their absence) are rare. Values are compared by their means, with a variance
that allows for autocorrelation. A canary fails on a change beyond the limit
*and* on evidence that there is a change; it passes once a change as large as
the limit would have shown. What is neither is inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from pyflow.analysis.judges.deciding import decide, doubted, strays
from pyflow.analysis.judges.estimates import evidence_apart, of_counts, of_values, transformed
from pyflow.analysis.judges.limits import (
    checked,
    counts_problem,
    option_problems,
    refuse,
    sides,
    values_problem,
)
from pyflow.analysis.stats.ranks import cles
from pyflow.analysis.stats.series import inflation
from pyflow.analysis.verdicts import Counts, Judgement
from pyflow.errors import shown
from pyflow.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Sequential"]

SLACK = 1.1
"""By how much points may exceed the horizon: what does is left out, and looks are seldom on time."""


@dataclass(frozen=True, slots=True)
class Sequential:
    """Judge at every look, with error rates that hold for all looks together."""

    _: KW_ONLY

    alpha: float = 0.05
    """The probability that a canary that is not worse ever fails, in however many looks."""

    beta: float = 0.2
    """The probability that a canary that is worse by the very limit ever passes."""

    min_samples: int = 20
    """Points of each arm below which values are not judged; counts need no such number."""

    max_spread: float = 2.0
    """By which factor one arm may vary more than the other before a pass is in doubt."""

    horizon: int | None = None
    """How many points each arm has at the last look, where that is known: values are
    then judged more sharply, and points beyond it are not judged. Counts need none."""

    def __post_init__(self) -> None:
        problems = option_problems(
            alpha=self.alpha,
            beta=self.beta,
            min_samples=self.min_samples,
            max_spread=self.max_spread,
        )
        last, least = self.horizon, self.min_samples
        if last is not None and (type(last) is not int or last < least):
            problems.append(
                f"horizon={shown(last)} must be a whole number of min_samples={least} or more, or None"
            )
        refuse("Sequential", problems)

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

        The shares of the arms in the traffic should not change while counts
        add up: start anew with every step of a rollout.

        Raises:
            DefinitionError: No limit was given, or one that is none.
        """
        limits = sides(max_increase, max_decrease)
        if problem := counts_problem(canary, baseline):
            return problem
        found = decide(of_counts(canary, baseline), limits, self.alpha, self.beta)
        totals = (canary.total, baseline.total)
        return replace(
            found, samples=totals, effective_samples=(float(totals[0]), float(totals[1]))
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
        """Compare measurements, in the order in which they were made; a limit is relative.

        Raises:
            DefinitionError: No limit was given, or one that is none.
        """
        limits = sides(max_increase, max_decrease)
        one, other = checked(canary), checked(baseline)
        if problem := values_problem(one, other):
            return problem
        samples = (len(one), len(other))
        if min(samples) < self.min_samples:
            reason = f"{samples[0]} and {samples[1]} points are too few; {self.min_samples} each are needed"
            return Judgement("inconclusive", reason, "none", samples=samples)
        if self.horizon is not None and max(samples) > SLACK * self.horizon:
            reason = (
                f"{samples[0]} and {samples[1]} points are beyond the horizon of {self.horizon}; "
                "declare as many as the last look will have"
            )
            return Judgement("inconclusive", reason, "none", samples=samples)
        one, other = one[: self.horizon], other[: self.horizon]
        samples = (len(one), len(other))
        x, y, scale = transformed(one, other)
        estimate = of_values(x, y, scale, self.horizon)
        found = decide(estimate, limits, self.alpha, self.beta)
        worth = 1.0 / inflation(estimate.correlation)
        found = replace(
            found,
            samples=samples,
            effective_samples=(samples[0] * worth, samples[1] * worth),
            shift=math.fsum(one) / len(one) - math.fsum(other) / len(other),
            cles=cles(one, other),
        )
        if found.verdict != "pass":
            return found
        return doubted(
            found,
            strays(x, y),
            min(estimate.limit(side) for side in limits),
            evidence_apart,
            alpha=self.alpha,
            most=self.max_spread,
        )

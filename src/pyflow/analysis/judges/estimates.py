"""Estimates: how far apart two arms are, on which scale, and how sure that is.

A relative change of values is additive on a log scale, which is used where
all values are positive. Otherwise it is the difference of the means over the
size of the baseline's mean. Either way the unit of the metric does not
matter. For counts the scale is the rate itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.analysis.stats import conditional, mixture
from pyflow.analysis.stats.bounded import Horizon
from pyflow.analysis.stats.series import Arm, caution, inflation, neighbours, summed_up
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.analysis.judges.limits import Side
    from pyflow.analysis.verdicts import Counts

__all__ = ["Estimate", "Scale", "evidence_apart", "of_counts", "of_values", "transformed"]

Scale: TypeAlias = Literal["rate", "log", "linear"]

RARE = 0.1
"""Rates below this, or above one minus this, are compared by the events alone: that wastes a
tenth of the information at most, and is exact."""
POINTS_PER_RATIO = 16.0
EVENTS_PER_RATIO = 8.0
"""How much data make the mixture as wide as the noise. They set for which sizes of sample the
test is sharpest: here for changes of a third of a standard deviation, and of half the rate."""
POINTS_KNOWN = 0.65
"""How much of its points a variance is worth that allows for autocorrelation: a choice, made by
simulation, with which the rate of false alarms holds for correlations of up to 0.8."""
TOGETHER = 0.9
"""The correlation from which on points of the two arms are pairs."""


@frozen
class Estimate:
    """A difference, canary minus baseline, on the scale on which it is judged."""

    difference: float
    """What was found."""

    variance: float
    """How uncertain that is."""

    ratio: float
    """The squared width of the mixture over the variance, for evidence of any change."""

    log_evidence: tuple[float, float]
    """The logarithm of the evidence that the canary is higher, and that it is lower."""

    scale: Scale
    """Rates, logarithms, or values as they are."""

    unit: float
    """On a linear scale, how much a relative change of one is; elsewhere 1."""

    method: str
    """The test."""

    correlation: float = 0.0
    """Of neighbouring points."""

    horizon: Horizon | None = None
    """How far it is to the last look, where that is known."""

    def critical(self, alpha: float, ratio: float | None = None) -> float:
        """Return by how many standard errors it bounds the truth, with probability 1 - *alpha*.

        That holds for all looks together. *ratio* is another width of the
        mixture than the estimate's own.
        """
        if self.horizon is not None:
            return self.horizon.critical(alpha)
        return mixture.critical(alpha, self.ratio if ratio is None else ratio)

    def limit(self, side: Side) -> float:
        """Return a limit on this scale, as a distance."""
        if self.scale == "log":
            if side.sign > 0:
                return math.log1p(side.limit)
            return -math.log1p(-side.limit) if side.limit < 1 else math.inf
        return side.limit * self.unit

    def effect(self, difference: float) -> float | None:
        """Return a difference on this scale as an effect, or None where that is not finite."""
        if self.scale == "log":
            return math.expm1(difference) if difference < 700 else None
        if self.unit == 0 or math.isinf(difference / self.unit):
            return None
        return difference / self.unit


def of_counts(canary: Counts, baseline: Counts) -> Estimate:
    """Return the difference of two rates."""
    total = canary.total + baseline.total
    rate = (canary.events + baseline.events) / total
    per_arm = 2.0 * canary.total * baseline.total / total
    apart = canary.rate - baseline.rate
    ratio = max(per_arm * rate * (1.0 - rate) / EVENTS_PER_RATIO, 1e-9)
    if RARE <= rate <= 1.0 - RARE:
        z = apart / math.sqrt(2.0 * rate * (1.0 - rate) / per_arm)
        evidence = (mixture.log_evidence(z, ratio), mixture.log_evidence(-z, ratio))
        method = "mixture SPRT of two rates"
    else:
        evidence = _conditional(canary, baseline, are_events_rare=rate < RARE)
        method = "exact conditional mixture SPRT"
    variance = _rate_variance(canary) + _rate_variance(baseline)
    return Estimate(apart, variance, ratio, evidence, "rate", 1.0, method)


def _conditional(canary: Counts, baseline: Counts, *, are_events_rare: bool) -> tuple[float, float]:
    one, other = canary.events, baseline.events
    if not are_events_rare:
        # What is rare is that nothing happened: more of that is a lower rate.
        one, other = canary.total - one, baseline.total - other
    share = canary.total / (canary.total + baseline.total)
    more = conditional.log_evidence(one, other, share)
    fewer = conditional.log_evidence(other, one, 1.0 - share)
    return (more, fewer) if are_events_rare else (fewer, more)


def _rate_variance(arm: Counts) -> float:
    """Return the variance of a rate, with half an event added to either kind: never zero."""
    rate = (arm.events + 0.5) / (arm.total + 1.0)
    return rate * (1.0 - rate) / arm.total


def transformed(
    canary: Sequence[float], baseline: Sequence[float]
) -> tuple[Sequence[float], Sequence[float], Scale]:
    """Return the values on the scale on which they are compared."""
    if min(canary) > 0.0 and min(baseline) > 0.0:
        return [math.log(v) for v in canary], [math.log(v) for v in baseline], "log"
    return canary, baseline, "linear"


def of_values(
    canary: Sequence[float], baseline: Sequence[float], scale: Scale, last: int | None = None
) -> Estimate:
    """Return the difference of two means of at least two points each, on their scale.

    *last* is how many points each arm has at the last look, where that is known.
    """
    one, other = summed_up(canary), summed_up(baseline)
    unit = abs(other.mean) if scale == "linear" else 1.0
    if (pairs := _paired(canary, baseline, one, other)) is not None:
        return _of_pairs(pairs, scale, unit, last)
    correlation = neighbours(one, other)
    z, variance, ratio = _difference(one, other, correlation)
    apart = z * math.sqrt(variance) if variance > 0 else one.mean - other.mean
    if variance == 0.0 and abs(apart) <= _rounding(one, other, scale):
        apart = 0.0
    horizon = _horizon(last, 2.0 * one.size * other.size / (one.size + other.size), 2, correlation)
    log_evidence = _log_evidence(ratio, horizon)
    evidence = (
        _capped(log_evidence, z, apart, one, other),
        _capped(log_evidence, -z, -apart, one, other),
    )
    method = f"{_test(horizon)} of means, {scale} scale"
    return Estimate(apart, variance, ratio, evidence, scale, unit, method, correlation, horizon)


def _horizon(last: int | None, points: float, arms: int, correlation: float) -> Horizon | None:
    """Return how far *points* in each of *arms* have come to the *last* one."""
    if last is None:
        return None
    known = POINTS_KNOWN * arms * points / inflation(correlation)
    return Horizon(min(points / last, 1.0), max(known - arms, 1.0))


def _log_evidence(ratio: float, horizon: Horizon | None) -> Callable[[float], float]:
    return horizon.log_evidence if horizon else lambda z: mixture.log_evidence(z, ratio)


def _test(horizon: Horizon | None) -> str:
    return "group-sequential test" if horizon else "mixture SPRT"


def _paired(
    canary: Sequence[float], baseline: Sequence[float], one: Arm, other: Arm
) -> list[float] | None:
    """Return the differences of points made at the same time, where the arms move together.

    Load that comes and goes moves both arms; it says nothing of the canary,
    and it is gone from their differences. Arms are taken for paired where they
    are correlated as series that have nothing to do with each other hardly
    ever are.
    """
    if len(canary) != len(baseline) or not one.squares or not other.squares:
        return None
    together = math.fsum(
        (a - one.mean) * (b - other.mean) for a, b in zip(canary, baseline, strict=True)
    )
    if together < TOGETHER * math.sqrt(one.squares) * math.sqrt(other.squares):
        return None
    return [a - b for a, b in zip(canary, baseline, strict=True)]


def _of_pairs(pairs: list[float], scale: Scale, unit: float, last: int | None) -> Estimate:
    """Return the mean difference of pairs of points."""
    arm = summed_up(pairs)
    correlation = neighbours(arm)
    horizon = _horizon(last, arm.size, 1, correlation)
    grown = inflation(correlation) * caution(arm.size)
    variance = grown * arm.squares / (arm.size - 1) / arm.size
    ratio = arm.size / POINTS_PER_RATIO
    most = arm.size * math.log(2.0)
    apart = arm.mean
    if variance == 0.0 and abs(apart) <= 1e-12 * unit:
        apart = 0.0
    z = apart / math.sqrt(variance) if variance > 0 else 0.0
    log_evidence = _log_evidence(ratio, horizon)
    ends = [
        math.copysign(most, sign * apart)
        if z == 0.0 != apart
        else min(log_evidence(sign * z), most)
        for sign in (1, -1)
    ]
    method = f"{_test(horizon)} of paired differences, {scale} scale"
    evidence = (ends[0], ends[1])
    return Estimate(apart, variance, ratio, evidence, scale, unit, method, correlation, horizon)


def evidence_apart(canary: Sequence[float], baseline: Sequence[float]) -> float:
    """Return the logarithm of the evidence that the means of two series differ, either way."""
    one, other = summed_up(canary), summed_up(baseline)
    z, _, ratio = _difference(one, other, neighbours(one, other))
    return _capped(_log_evidence(ratio, None), abs(z), abs(one.mean - other.mean), one, other)


def _rounding(one: Arm, other: Arm, scale: Scale) -> float:
    return 1e-12 * (1.0 if scale == "log" else max(abs(one.mean), abs(other.mean)))


def _difference(one: Arm, other: Arm, correlation: float) -> tuple[float, float, float]:
    """Return z, the variance of the difference, and R for it.

    The variance is the larger of Welch's and the pooled one, so that an arm
    that happens to be quiet lends no false confidence; either is raised for
    autocorrelation.
    """
    grown = inflation(correlation)
    pooled = (one.squares + other.squares) / (one.size + other.size - 2)
    welch = one.squares / (one.size - 1) / one.size + other.squares / (other.size - 1) / other.size
    per_arm = 2.0 * one.size * other.size / (one.size + other.size)
    grown *= caution(per_arm)
    variance = grown * max(welch, pooled * (1.0 / one.size + 1.0 / other.size))
    z = (one.mean - other.mean) / math.sqrt(variance) if variance > 0 else 0.0
    return z, variance, per_arm / POINTS_PER_RATIO


def _capped(
    log_evidence: Callable[[float], float], z: float, apart: float, one: Arm, other: Arm
) -> float:
    """Return the logarithm of the evidence, no more than that many points can give.

    Arms of n and m points fall into their order by chance once in (n + m)
    over n times, whatever their values.
    """
    most = math.lgamma(one.size + other.size + 1) - math.lgamma(one.size + 1)
    most -= math.lgamma(other.size + 1)
    if z == 0.0 and apart != 0.0:
        return most if apart > 0 else -most
    return min(log_evidence(z), most)

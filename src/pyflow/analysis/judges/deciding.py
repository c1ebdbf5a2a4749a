"""The decision: from an estimate and its limits to a verdict, and the sentence that says why."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from pyflow.analysis.judges.limits import ROUNDING, percent
from pyflow.analysis.verdicts import Judgement, Verdict
from pyflow.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyflow.analysis.judges.estimates import Estimate, Scale
    from pyflow.analysis.judges.limits import Side

__all__ = ["decide", "doubted", "strays", "told"]

P_LEAST = 1e-300
EVIDENCE_LOG_MAX = 690.0


def decide(estimate: Estimate, limits: Sequence[Side], alpha: float, beta: float) -> Judgement:
    """Return the judgement on *estimate*; error rates are shared out among *limits*."""
    alpha, beta = alpha / len(limits), beta / len(limits)
    wrong = next((side for side in limits if _is_beyond(estimate, side, alpha)), None)
    is_clear = all(_is_clear(estimate, side, beta) for side in limits)
    side = wrong or max(limits, key=lambda s: _proof(estimate, s))
    verdict: Verdict = "fail" if wrong else "pass" if is_clear else "inconclusive"
    evidence = math.exp(min(_proof(estimate, side), EVIDENCE_LOG_MAX))
    return Judgement(
        verdict,
        _reason(verdict, estimate, side, alpha),
        estimate.method,
        effect=estimate.effect(estimate.difference),
        interval=_interval(estimate, limits, alpha, wrong),
        p_value=max(min(1.0, len(limits) / evidence), P_LEAST),
        evidence=evidence,
    )


def _proof(estimate: Estimate, side: Side) -> float:
    """Return the logarithm of the evidence for a change towards *side*."""
    return estimate.log_evidence[0 if side.sign > 0 else 1]


def _hair(estimate: Estimate) -> float:
    """Return what is no more than rounding on the scale of *estimate*."""
    return ROUNDING * estimate.unit


def _is_beyond(estimate: Estimate, side: Side, alpha: float) -> bool:
    """Return whether there is a change, and the one that was found is more than is allowed."""
    is_far = side.sign * estimate.difference > estimate.limit(side) + _hair(estimate)
    return is_far and _proof(estimate, side) >= -math.log(alpha)


def _is_clear(estimate: Estimate, side: Side, beta: float) -> bool:
    """Return whether a change as large as the limit would have shown."""
    return _bound(estimate, side, beta) <= estimate.limit(side) + _hair(estimate)


def _bound(estimate: Estimate, side: Side, beta: float) -> float:
    """Return how far the canary is towards *side* at most, with probability 1 - *beta*."""
    found = side.sign * estimate.difference
    limit = estimate.limit(side)
    if estimate.variance == 0.0:
        return found
    if limit == 0.0:
        return math.inf
    if math.isinf(limit):
        return -math.inf
    ratio = limit * limit / estimate.variance
    return found + estimate.critical(beta, ratio) * math.sqrt(estimate.variance)


def _interval(
    estimate: Estimate, limits: Sequence[Side], alpha: float, wrong: Side | None
) -> tuple[float | None, float | None]:
    """Return between which effects the true one is, each end with probability 1 - *alpha*.

    It is narrowest where its width is about the limit.
    """
    sizes = [size for side in limits if 0.0 < (size := estimate.limit(side)) < math.inf]
    reach = 0.0
    if estimate.variance > 0.0:
        ratio = min(sizes) ** 2 / estimate.variance if sizes else estimate.ratio
        reach = estimate.critical(alpha, ratio) * math.sqrt(estimate.variance)
    low, high = estimate.difference - reach, estimate.difference + reach
    if wrong is not None:
        # The test has excluded "no change", on evidence that is more exact than these bounds.
        low, high = (max(low, 0.0), high) if wrong.sign > 0 else (low, min(high, 0.0))
    return estimate.effect(low), estimate.effect(high)


def _reason(verdict: Verdict, estimate: Estimate, side: Side, alpha: float) -> str:
    found = _told(estimate, estimate.difference)
    limit = told(side.limit, estimate.scale)
    odds = f"{math.exp(min(_proof(estimate, side), EVIDENCE_LOG_MAX)):.3g} to 1"
    if verdict == "fail":
        return f"the canary is {found}, where {limit} is allowed; the evidence is {odds}"
    if verdict == "pass":
        return f"the canary is {found}; a change of {limit} would have shown"
    if side.sign * estimate.difference > estimate.limit(side):
        return (
            f"the canary is {found}, where {limit} is allowed, but that may be chance: "
            f"the evidence is {odds}, and {1 / alpha:.3g} to 1 is needed"
        )
    return f"the canary is {found}; the data are too few to exclude a change of {limit}"


def _told(estimate: Estimate, difference: float) -> str:
    effect = estimate.effect(difference)
    if effect is None:
        return f"{'higher' if difference > 0 else 'lower'} than a baseline of zero"
    if effect == 0.0:
        return "just as high as the baseline"
    return f"{told(effect, estimate.scale)} {'higher' if effect > 0 else 'lower'} than the baseline"


def told(size: float, scale: Scale) -> str:
    """Return the size of an effect in words: points for rates, a percentage for values."""
    if scale != "rate":
        return percent(size)
    points = f"{abs(size) * 100:.3g}"
    return f"{points} point" if points == "1" else f"{points} points"


def doubted(
    found: Judgement,
    strays: tuple[Sequence[float], Sequence[float]],
    limit: float,
    evidence: Callable[[Sequence[float], Sequence[float]], float],
    *,
    alpha: float,
    most: float,
) -> Judgement:
    """Turn a pass into doubt where one arm varies more than *most* times as much as the other.

    Means and ranks do not speak for that: half of the requests may be slower
    and half faster. Points have to stray from their median by more than
    *limit*, and *evidence*, a logarithm, has to say that this is no chance.
    """
    one, other = (math.fsum(arm) / len(arm) for arm in strays)
    found = replace(found, spread=one / other if other > 0 else None)
    is_wide = max(one, other) > max(most * min(one, other), limit)
    if not is_wide or evidence(*strays) < math.log(2 / alpha):
        return found
    least = min(one, other)
    times = f", by a factor of {max(one, other) / least:.3g}" if least > 0 else ""
    word = "more" if one > other else "less"
    reason = (
        f"the canary varies {word} than the baseline{times}, "
        "which a comparison of levels does not judge"
    )
    return replace(found, verdict="inconclusive", reason=reason)


def strays(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return how far each point is from the median of its arm (Brown and Forsythe 1974)."""
    centre, other = median(x), median(y)
    return [abs(v - centre) for v in x], [abs(v - other) for v in y]

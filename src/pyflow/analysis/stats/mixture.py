"""Mixture sequential probability ratios: evidence that may be looked at as often as one likes.

An estimate d of an increase, with variance V, is normal around the truth. Its
likelihood under a half-normal mixture of positive truths, with scale τ,
against its likelihood under none is

    Λ(z) = 2 / √(1 + R) · exp(z² R / (2 (1 + R))) · Φ(z √(R / (1 + R)))

with z = d / √V and R = τ² / V. Under "no increase" Λ is a martingale that
starts at one, so with probability 1 - a it never reaches 1 / a, however often
it is looked at (Ville's inequality; Robbins 1970). The version without the
last factor, at half the threshold, is the one-sided mSPRT of Johari, Pekelis
and Walsh (2015).
"""

from __future__ import annotations

import math

from pyflow.analysis.stats import normal

__all__ = ["critical", "log_evidence"]

STEPS_MAX = 50
CLOSE = 1e-12


def log_evidence(z: float, ratio: float) -> float:
    """Return log Λ(*z*), where *ratio* is R = τ² / V."""
    share = ratio / (1.0 + ratio)
    return (
        math.log(2.0)
        - 0.5 * math.log1p(ratio)
        + z * z * share / 2.0
        + normal.log_cdf(z * math.sqrt(share))
    )


def critical(alpha: float, ratio: float) -> float:
    """Return the z at which the evidence reaches 1 / *alpha*.

    ``d - critical(alpha, R) √V`` bounds the true increase from below with
    probability 1 - alpha, at all looks together.
    """
    wanted = -math.log(alpha)
    share = ratio / (1.0 + ratio)
    # Without its last factor log Λ has a closed inverse, and that factor is between a half and
    # one where z > 0: from there Newton's method takes a few steps, always downwards.
    z = math.sqrt(2.0 * (wanted + 0.5 * math.log1p(ratio)) / share)
    for _ in range(STEPS_MAX):
        slope = z * share + math.sqrt(share) * _mills(z * math.sqrt(share))
        step = (log_evidence(z, ratio) - wanted) / slope
        z -= step
        if abs(step) <= CLOSE * z:
            break
    return z


def _mills(z: float) -> float:
    """Return the density over the distribution function, the slope of its logarithm."""
    return math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi) / normal.cdf(z)

"""Mixture sequential probability ratios: evidence that may be looked at as often as one likes.

An estimate d of an increase, with variance V, is normal around the truth. Its
likelihood under a half-normal mixture of positive truths, with scale τ,
against its likelihood under none is

    Λ(z) = 2 / √(1 + R) · exp(z² R / (2 (1 + R))) · Φ(z √(R / (1 + R)))

with z = d / √V and R = τ² / V. Under "no increase" Λ is a martingale that
starts at one, so with probability 1 - α it never reaches 1 / α, however often
it is looked at (Ville's inequality; Robbins 1970). The version without the
last factor, at half the threshold, is the one-sided mSPRT of Johari, Pekelis
and Walsh (2015).
"""

from __future__ import annotations

import math

from pyflow.analysis.stats import normal

__all__ = ["critical", "log_evidence"]

HALVINGS = 60


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

    ``d - critical(α, R) √V`` bounds the true increase from below with
    probability 1 - α, at all looks together.
    """
    wanted = -math.log(alpha)
    # Without its last factor, at least a half, log Λ has a closed inverse: it brackets the root.
    top = _inverse(wanted + math.log(2.0), ratio)
    low, high = 0.0, top
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if log_evidence(middle, ratio) < wanted:
            low = middle
        else:
            high = middle
    return high


def _inverse(wanted: float, ratio: float) -> float:
    grown = wanted - math.log(2.0) + 0.5 * math.log1p(ratio)
    return math.sqrt(max(2.0 * grown * (1.0 + ratio) / ratio, 0.0))

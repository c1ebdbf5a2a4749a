"""The normal distribution, as exact in its tails as floats can be."""

from __future__ import annotations

import math
from statistics import NormalDist

__all__ = ["cdf", "log_cdf", "quantile", "upper_tail"]

STANDARD = NormalDist()
SQRT2 = math.sqrt(2.0)
FAR = -30.0


def cdf(z: float) -> float:
    """Return P(Z ≤ *z*)."""
    return 0.5 * math.erfc(-z / SQRT2)


def upper_tail(z: float) -> float:
    """Return P(Z ≥ *z*), without the loss of ``1 - cdf(z)`` where it is small."""
    return 0.5 * math.erfc(z / SQRT2)


def log_cdf(z: float) -> float:
    """Return the logarithm of P(Z ≤ *z*), far below zero too (by the bound of Mills' ratio)."""
    if z < FAR:
        return -z * z / 2 - math.log(-z * math.sqrt(2 * math.pi))
    return math.log(cdf(z))


def quantile(p: float) -> float:
    """Return the *z* with P(Z ≤ *z*) = *p*, for *p* strictly between 0 and 1."""
    return STANDARD.inv_cdf(p)

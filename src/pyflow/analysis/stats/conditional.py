"""Few events in two arms: an exact test that holds at every look.

Where requests go to the canary with probability q, and errors are as likely
in both arms, each error is one of the canary's with probability q, whatever
the error rate is. Where errors are r times as likely in the canary, it is
s(r) = q r / (1 - q + q r). So the likelihood of k errors in the canary among K,
against equal rates, is

    sum over r of  w(r) (s(r) / q)^k ((1 - s(r)) / (1 - q))^(K - k)

with weights w that sum to one. Each term is a product with one factor for
each error, whose expectation is one if the rates are equal: a martingale, and
so is their mean. Nothing here is an approximation for large numbers, so it is
exact for one error as for a million; with numbers of requests that are fixed
instead of drawn it is on the safe side. Compare Ville (1939); for tables of
two by two, Turner, Ly and Grünwald (2024).
"""

from __future__ import annotations

import math

__all__ = ["log_evidence"]

STEPS = 28
LEAST, GROWTH = 0.05, 1.2
SCALE = 0.8
TAIL = 0.05


def _weights() -> tuple[tuple[float, float], ...]:
    """Return ratios r with the logarithms of their weights.

    The logarithm of r is half-normal with scale `SCALE` (most regressions are
    less than fivefold), and has a tail for those that are not.
    """
    logs = [LEAST * GROWTH**step for step in range(STEPS)]
    raw = [u * (math.exp(-u * u / (2 * SCALE**2)) + TAIL) for u in logs]
    whole = math.fsum(raw)
    return tuple((math.exp(u), math.log(w / whole)) for u, w in zip(logs, raw, strict=True))


RATIOS = _weights()


def log_evidence(canary: float, baseline: float, share: float) -> float:
    """Return the logarithm of the evidence for more events in the canary than its *share* q of the requests explains."""
    terms: list[float] = []
    for ratio, weight in RATIOS:
        grown = 1.0 + share * (ratio - 1.0)
        # s / q = r / (1 - q + q r), and (1 - s) / (1 - q) = 1 / (1 - q + q r).
        terms.append(weight + canary * math.log(ratio) - (canary + baseline) * math.log(grown))
    most = max(terms)
    return most + math.log(math.fsum(math.exp(term - most) for term in terms))

"""Holm's procedure: several tests at once, and one error rate for all of them together.

Source: S. Holm, "A simple sequentially rejective multiple test procedure",
Scandinavian Journal of Statistics 6 (1979). With p-values that hold at every
look, so does the procedure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.analysis.verdicts import Judgement

__all__ = ["held_back", "rejected"]


def rejected(p_value: float, others: Sequence[float], *, alpha: float) -> bool:
    """Return whether the hypothesis with *p_value* is rejected, tested beside *others*.

    The smallest of n p-values is held against alpha/n, the next against
    alpha/(n-1), and so on, up to the one that does not stand.
    """
    ordered = sorted([p_value, *others])
    for number, p in enumerate(ordered):
        if p > alpha / (len(ordered) - number):
            return False
        if p == p_value:
            return True
    raise AssertionError("unreachable: p_value is among them")


def held_back(found: Judgement, others: Sequence[float], *, alpha: float | None) -> Judgement:
    """Return *found*, inconclusive where it fails on evidence that does not hold beside *others*."""
    if found.verdict != "fail" or found.p_value is None or alpha is None:
        return found
    if rejected(found.p_value, others, alpha=alpha):
        return found
    reason = f"{found.reason}; among {len(others) + 1} comparisons that may be chance"
    return replace(found, verdict="inconclusive", reason=reason)

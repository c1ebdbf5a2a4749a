"""Whether the evidence of one comparison holds beside the others of its analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.analysis.holm import rejected
from pyflow.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.analysis.verdicts import Judgement

__all__ = ["held_back"]


def held_back(found: Judgement, others: Sequence[float], *, alpha: float | None) -> Judgement:
    """Return *found*, inconclusive where it fails on evidence that does not hold beside *others*.

    *others* are the p-values that the other comparisons have by now, 1 for
    one that has none; `pyflow.analysis.holm` has the procedure.
    """
    if found.verdict != "fail" or found.p_value is None or alpha is None:
        return found
    p_values = {"": found.p_value} | {str(number): p for number, p in enumerate(others)}
    if "" in rejected(p_values, alpha=alpha):
        return found
    reason = f"{found.reason}; among {len(others) + 1} comparisons that may be chance"
    return replace(found, verdict="inconclusive", reason=reason)

"""Many checks, one error rate: Holm's correction of what they found.

Twenty checks that each abort a healthy canary once in twenty times abort it
two times in three. Holm's procedure (1979) holds the smallest p-value against
alpha / m, the next against alpha / (m - 1), and so on until one is too large;
whatever depends on whatever, the probability that any of the failures is a
false one stays at alpha. P-values of sequential judges hold at every look, and
so does this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.errors import DefinitionError, shown
from pyflow.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.analysis.verdicts import Judgement

__all__ = ["corrected", "held_back", "rejected"]


def rejected(p_values: Mapping[str, float], *, alpha: float) -> frozenset[str]:
    """Return the names whose p-values are small enough, all of them considered.

    Raises:
        DefinitionError: *alpha* is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise DefinitionError("alpha", [f"{shown(alpha)} must be between 0 and 1"])
    found: list[str] = []
    for name in sorted(p_values, key=lambda name: (p_values[name], name)):
        if p_values[name] > alpha / (len(p_values) - len(found)):
            break
        found.append(name)
    return frozenset(found)


def held_back(found: Judgement, others: Sequence[float], *, alpha: float) -> Judgement:
    """Return *found*, `inconclusive` where its failure does not stand beside *others*.

    Args:
        found: The judgement; one without a p-value, as of a threshold, stays.
        others: The p-values of all other comparisons.
        alpha: The probability that any of the failures is a false one.

    Raises:
        DefinitionError: *alpha* is not between 0 and 1.
    """
    if found.verdict != "fail" or found.p_value is None:
        return found
    p_values = {str(number): p for number, p in enumerate(others)} | {"": found.p_value}
    if "" in rejected(p_values, alpha=alpha):
        return found
    many = "another check" if len(others) == 1 else f"{len(others)} other checks"
    reason = f"{found.reason}; not enough beside {many}"
    return replace(found, verdict="inconclusive", reason=reason)


def corrected(judgements: Mapping[str, Judgement], *, alpha: float) -> dict[str, Judgement]:
    """Return *judgements* with those failures taken back that many checks explain.

    Judgements without a p-value, as of thresholds, are neither changed nor counted.

    Raises:
        DefinitionError: *alpha* is not between 0 and 1.
    """
    p_values = {name: j.p_value for name, j in judgements.items() if j.p_value is not None}
    rejected(p_values, alpha=alpha)
    return {
        name: held_back(found, [p_values[n] for n in p_values if n != name], alpha=alpha)
        for name, found in judgements.items()
    }

"""What checks with weights come to together: a score, as Kayenta has it.

A check that passed scores its weight, one that did not scores nothing, an
error included. One without data is left out, and the weights of the others
are taken for the whole; without any data there is no score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.analysis.policies import Ending
    from pyflow.analysis.progress import Then
    from pyflow.analysis.verdicts import Verdict

__all__ = ["Scoring", "scored"]


@frozen
class Scoring:
    """Which scores pass, and what follows from those that do not."""

    pass_score: float = 95.0
    """A score of this or more passes."""

    marginal_score: float = 75.0
    """A score below this fails; one between the two is inconclusive."""

    fail: Ending = "abort"
    """What follows from a score that fails."""

    unsure: Ending = "hold"
    """What follows from one that is inconclusive, and from none at all."""


def scored(
    scoring: Scoring, weighted: Sequence[tuple[float, Verdict]]
) -> tuple[Verdict, Then, str]:
    """Return what checks with these weights and verdicts come to, and why."""
    counted = [(weight, verdict) for weight, verdict in weighted if verdict != "no_data"]
    whole = sum(weight for weight, _ in counted)
    if not whole:
        return "no_data", scoring.unsure, "no check with a weight has data"
    score = 100 * sum(weight for weight, verdict in counted if verdict == "pass") / whole
    words = f"the score is {score:.4g} of 100"
    if score >= scoring.pass_score:
        return "pass", "pass", words
    if score >= scoring.marginal_score:
        return "inconclusive", scoring.unsure, f"{words}; {scoring.pass_score:g} pass"
    return "fail", scoring.fail, f"{words}; below {scoring.marginal_score:g} it fails"

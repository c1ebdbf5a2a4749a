"""What the checks of an analysis that have weights come to together.

Each is a group of its own for `Scored`: one that passed scores its weight, one
that did not scores nothing, an error included, and one without data takes no
part, so that the weights of the others are the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyflow.analysis.judges.scored import Graded, Scored
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    scoring: Scoring, verdicts: Mapping[str, tuple[float, Verdict]]
) -> tuple[Verdict, Then, str]:
    """Return what checks with these weights and verdicts come to, and why."""
    whole = sum(weight for weight, _ in verdicts.values())
    judge = Scored(
        pass_score=scoring.pass_score,
        marginal_score=scoring.marginal_score,
        weights={name: 100 * weight / whole for name, (weight, _) in verdicts.items()},
    )
    found = judge.judge([Graded(name, one, (name,)) for name, (_, one) in verdicts.items()])
    if found.verdict == "pass":
        return "pass", "pass", found.reason
    return found.verdict, scoring.fail if found.verdict == "fail" else scoring.unsure, found.reason

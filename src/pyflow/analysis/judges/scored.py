"""`Scored`: many judgements, in groups with weights, as one score from 0 to 100.

The terms are Kayenta's: a group's score is the share of its checks that
passed, the whole is the weighted mean of the groups, and a critical check that
does not pass makes it zero. Three things differ, on purpose. A group without
data takes no part, and the weights of the others grow to make up for it. An
error counts as a failure. And a check that is unsure counts neither way: the
verdict is `pass` or `fail` only if it would be so whatever that check turned
out to be.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from pyflow.analysis.verdicts import Judgement, Verdict
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Graded", "Scored"]

NO_DATA_SHARE = 0.5


@frozen
class Graded:
    """The verdict of one check, with its place in the score."""

    name: str
    """What the check is called."""

    verdict: Verdict
    """What came of it."""

    groups: tuple[str, ...] = ("all",)
    """The groups that it counts in."""

    is_critical: bool = False
    """Whether everything fails unless this passes."""


@frozen
class Score:
    """Between which bounds a score is, for the best and the worst that unsure checks may be."""

    least: float
    most: float
    groups: Mapping[str, float]
    """The least score of each group; 0 for one without data."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Make one judgement of many, by a weighted score."""

    _: KW_ONLY

    pass_score: float = 95.0
    """The score from which on the whole passes."""

    marginal_score: float = 75.0
    """The score below which it fails; between the two it is inconclusive."""

    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    """The weight of each group, in per cent. Groups that are not named share what is left to 100."""

    def __post_init__(self) -> None:
        problems: list[str] = []
        if not 0 <= self.marginal_score <= self.pass_score <= 100:
            problems.append(
                f"marginal_score={shown(self.marginal_score)} and pass_score={shown(self.pass_score)} "
                "must rise from 0 to 100"
            )
        problems += [
            f"the weight {shown(weight)} of group {name!r} must be from 0 to 100"
            for name, weight in self.weights.items()
            if not 0 <= weight <= 100
        ]
        if sum(self.weights.values()) > 100 + 1e-9:
            problems.append(
                f"the weights add up to {sum(self.weights.values()):g}; 100 is the whole"
            )
        if problems:
            raise DefinitionError("Scored", problems)
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))

    def judge(self, checks: Sequence[Graded], /) -> Judgement:
        """Return the judgement on all *checks* together; its score is the least that is certain.

        Raises:
            DefinitionError: There are no checks, which decides nothing.
        """
        if not checks:
            raise DefinitionError("Scored", ["no checks decide nothing; give at least one"])
        score = self.score(checks)
        missing = [check.name for check in checks if check.verdict == "no_data"]
        critical = [c for c in checks if c.is_critical and c.verdict != "pass"]
        verdict = self._verdict(score, checks, is_mostly_missing=_is_mostly(missing, checks))
        reason = f"the score is {score.least:.2f}"
        if score.most > score.least:
            reason += f" to {score.most:.2f}"
        reason += f"; {self.pass_score:g} passes, below {self.marginal_score:g} fails"
        if critical:
            reason += "; critical: " + ", ".join(f"{c.name} ({c.verdict})" for c in critical)
        elif missing:
            reason += f"; no data: {', '.join(missing)}"
        return Judgement(verdict, reason, "weighted score", score=score.least)

    def score(self, checks: Sequence[Graded], /) -> Score:
        """Return the scores of *checks*, rounded to two decimals as Kayenta's are."""
        names = list(dict.fromkeys(name for check in checks for name in check.groups))
        members = {name: [c for c in checks if name in c.groups] for name in names}
        present = [n for n in names if any(c.verdict != "no_data" for c in members[n])]
        weights = self._weights(names, present)
        missing = [c for c in checks if c.verdict == "no_data"]
        barred = _is_mostly(missing, checks)
        is_least_barred = barred or any(c.is_critical and c.verdict != "pass" for c in checks)
        is_most_barred = barred or any(
            c.is_critical and c.verdict not in ("pass", "inconclusive") for c in checks
        )
        least, most = (
            sum(_share(members[name], unsure=unsure) * weights[name] for name in present)
            for unsure in (False, True)
        )
        return Score(
            0.0 if is_least_barred else round(least, 2),
            0.0 if is_most_barred else round(most, 2),
            {name: round(_share(members[name], unsure=False), 2) for name in names},
        )

    def _weights(self, names: Sequence[str], present: Sequence[str]) -> dict[str, float]:
        """Return the weights of the groups that are there, which add up to one."""
        others = [name for name in names if name not in self.weights]
        given = sum(weight for name, weight in self.weights.items() if name in names)
        share = (100.0 - given) / len(others) if others else 0.0
        raw = {name: self.weights.get(name, share) for name in present}
        whole = sum(raw.values())
        if whole <= 0:
            return {name: 1.0 / len(present) for name in present}
        return {name: weight / whole for name, weight in raw.items()}

    def _verdict(
        self, score: Score, checks: Sequence[Graded], *, is_mostly_missing: bool
    ) -> Verdict:
        if any(c.is_critical and c.verdict in ("fail", "error") for c in checks):
            return "fail"
        if is_mostly_missing or any(c.is_critical and c.verdict == "no_data" for c in checks):
            return "no_data"
        if score.least >= self.pass_score:
            return "pass"
        return "fail" if score.most < self.marginal_score else "inconclusive"


def _is_mostly(missing: Sequence[object], checks: Sequence[Graded]) -> bool:
    """Return whether half of the checks or more are *missing*."""
    return len(missing) >= NO_DATA_SHARE * len(checks)


def _share(checks: Sequence[Graded], *, unsure: bool) -> float:
    """Return how many of the checks that have data passed, in per cent."""
    counted = [check for check in checks if check.verdict != "no_data"]
    good = ("pass", "inconclusive") if unsure else ("pass",)
    passed = sum(check.verdict in good for check in counted)
    return 100.0 * passed / len(counted) if counted else 0.0

"""Compare latencies and other measurements of two versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pyflow.analysis.checks.base import (
    Arms,
    Check,
    Look,
    broken,
    empty,
    has_place,
    query_problems,
    source_problems,
)
from pyflow.analysis.checks.judging import (
    judge_data,
    judge_of,
    judge_problems,
    looks_of,
    looks_problems,
    too_early,
)
from pyflow.analysis.checks.series import ARMS, read_new, seen, window_problems
from pyflow.analysis.judges.sequential import Sequential
from pyflow.errors import DefinitionError, shown
from pyflow.spans import Span, span_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.analysis.judges.protocol import Judge
    from pyflow.analysis.verdicts import Judgement
    from pyflow.protocols import MetricSource

__all__ = ["CompareValues"]


@dataclass(frozen=True, slots=True, repr=False)
class CompareValues(Check):
    """Fails where a measurement is worse in the canary than in the baseline, beyond chance.

    The query says ``$version`` where the version goes. The opening
    measurement marks where the comparison begins; each later one judges all
    samples since, so an inconclusive one before the last means nothing. An
    arm without new samples is `no_data`.
    """

    kind: ClassVar[str] = "compare_values"
    cumulative: ClassVar[bool] = True

    source: MetricSource = field(kw_only=False)
    """Whom to ask."""

    query: str = field(kw_only=False)
    """What to ask, in the language of the source."""

    max_increase: float | None = field(default=None, kw_only=True)
    """By how much the typical value may grow, of the baseline's: 0.2 is a fifth."""

    max_decrease: float | None = field(default=None, kw_only=True)
    """By how much it may shrink, where less is worse, as with throughput."""

    judge_with: Judge = field(default=Sequential(), kw_only=True)
    """Who judges."""

    window: Span = field(default="15m", kw_only=True)
    """How far back to look for samples that no earlier look has read."""

    def __post_init__(self) -> None:
        problems = [
            *source_problems(self.source),
            *query_problems("query", self.query),
            *judge_problems(self.judge_with),
        ]
        if problem := span_problem(self.window, zero=False):
            problems.append(f"window: {problem}")
        if not problems:
            problems += self._limit_problems()
        self._check(problems, name=str(self.query))
        if problems := window_problems(self.window, self.interval):
            raise DefinitionError("CompareValues", problems)

    def _limit_problems(self) -> list[str]:
        if not has_place(self.query):
            place = "does not say $version where the version goes, so both arms would be the same"
            return [f"query={shown(self.query)} {place}"]
        if self.max_increase is None and self.max_decrease is None:
            return ["it has no condition; give max_increase= or max_decrease="]
        try:
            self.judge_with.judge_values(
                (), (), max_increase=self.max_increase, max_decrease=self.max_decrease
            )
        except DefinitionError as error:
            return [str(error)]
        return looks_problems(self.judge_with, self.count, self.interval)

    @property
    def settings(self) -> dict[str, Any]:
        """What its verdict depends on, as JSON data."""
        return {
            "kind": self.kind,
            "query": self.query,
            "max_increase": self.max_increase,
            "max_decrease": self.max_decrease,
            "judge": judge_data(self.judge_with),
            **looks_of(self.judge_with, self.count),
        }

    @property
    def queries(self) -> tuple[str, ...]:
        """What it asks its source."""
        return (self.query,)

    async def look(self, arms: Arms, past: Sequence[Mapping[str, Any]]) -> Look:
        """Ask for both arms."""
        values: dict[str, Any] = {}
        notes: list[str] = []
        for arm in ARMS:
            new, said = await read_new(
                self.source,
                self.query,
                getattr(arms, arm),
                window=self.window,
                after=seen(past, arm),
            )
            values[arm] = new
            notes += said
        return Look(values, tuple(dict.fromkeys(notes)))

    @classmethod
    def judge(
        cls, settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]
    ) -> Judgement | None:
        """Judge all samples since the opening look."""
        return judged(settings, looks, judge_of(settings["judge"]))

    def judge_here(self, looks: Sequence[Mapping[str, Any]]) -> Judgement | None:
        """Judge with the judge at hand, which may be one that no record can bring back."""
        return judged(self.settings, looks, self.judge_with)


def judged(
    settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]], judge: Judge
) -> Judgement | None:
    """Return the judgement of the latest of *looks*; None where the comparison begins with it."""
    look = looks[-1]
    if (problem := broken(look)) is not None:
        return problem
    missing = [arm for arm in ARMS if not look[arm]]
    if missing:
        return empty(f"no new sample of the {' and of the '.join(missing)}")
    if not all(seen(looks[:-1], arm) for arm in ARMS):
        return None
    measured = sum(all(seen([look], arm) for arm in ARMS) for look in looks) - 1
    if (early := too_early(settings, measured)) is not None:
        return early
    values = {arm: [value for _, value in seen(looks, arm)[1:]] for arm in ARMS}
    return judge.judge_values(
        values["canary"],
        values["baseline"],
        max_increase=settings["max_increase"],
        max_decrease=settings["max_decrease"],
    )

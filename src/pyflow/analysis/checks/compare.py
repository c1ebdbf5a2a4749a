"""Compare how often something goes wrong in two versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

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
from pyflow.analysis.checks.series import ARMS, growth, read_new, seen, window_problems
from pyflow.analysis.judges.sequential import Sequential
from pyflow.analysis.verdicts import Counts, Judgement
from pyflow.errors import DefinitionError, shown
from pyflow.spans import Span, span_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyflow.analysis.judges.protocol import Judge
    from pyflow.protocols import MetricSource

__all__ = ["Compare"]

Counting: TypeAlias = Literal["totals", "periods"]
Missing: TypeAlias = Literal["no_data", "zero"]
FIGURES = ("errors", "requests")
NOTHING = Counts(0, 0)


@dataclass(frozen=True, slots=True, repr=False)
class Compare(Check):
    """Fails where errors are more frequent in the canary than in the baseline, beyond chance.

    Both queries say ``$version`` where the version goes. The opening
    measurement marks where counting begins; each later one judges all that
    was counted since, so an inconclusive one before the last means nothing.
    A series without new samples is `no_data`.
    """

    kind: ClassVar[str] = "compare"
    cumulative: ClassVar[bool] = True

    source: MetricSource = field(kw_only=False)
    """Whom to ask."""

    errors: str = field(kw_only=False)
    """The query for what goes wrong."""

    requests: str = field(kw_only=False)
    """The query for everything, what goes wrong included."""

    max_increase: float | None = field(default=None, kw_only=True)
    """By how much the rate of errors may grow: 0.01 is one more in a hundred."""

    judge_with: Judge = field(default=Sequential(), kw_only=True)
    """Who judges."""

    counts: Counting = field(default="totals", kw_only=True)
    """What samples are: ``totals`` that only grow (Prometheus' counters,
    HAProxy's), or the counts of single ``periods`` (CloudWatch's Sum, Datadog's
    ``.as_count()``)."""

    missing_errors: Missing = field(default="no_data", kw_only=True)
    """What a series of errors without new samples means while there are
    requests: ``no_data``, or ``zero`` where the source has none until
    something goes wrong."""

    window: Span = field(default="15m", kw_only=True)
    """How far back to look for samples that no earlier look has read."""

    def __post_init__(self) -> None:
        problems = [
            *source_problems(self.source),
            *query_problems("errors", self.errors),
            *query_problems("requests", self.requests),
            *judge_problems(self.judge_with),
        ]
        for name, value, known in (
            ("counts", self.counts, get_args(Counting)),
            ("missing_errors", self.missing_errors, get_args(Missing)),
        ):
            if value not in known:
                problems.append(f"{name}={shown(value)} must be {known[0]!r} or {known[1]!r}")
        problem = span_problem(self.window, zero=False)
        if problem:
            problems.append(f"window: {problem}")
        if not problems:
            problems += _place_problems(errors=self.errors, requests=self.requests)
            problems += limit_problems(self)
            problems += looks_problems(self.judge_with, self.count, self.interval)
        self._check(problems, name=str(self.errors))
        if problems := window_problems(self.window, self.interval):
            raise DefinitionError("Compare", problems)

    @property
    def settings(self) -> dict[str, Any]:
        """What its verdict depends on, as JSON data."""
        return {
            "kind": self.kind,
            "errors": self.errors,
            "requests": self.requests,
            "max_increase": self.max_increase,
            "counts": self.counts,
            "missing_errors": self.missing_errors,
            "judge": judge_data(self.judge_with),
            **looks_of(self.judge_with, self.count),
        }

    @property
    def queries(self) -> tuple[str, ...]:
        """What it asks its source."""
        return self.errors, self.requests

    async def look(self, arms: Arms, past: Sequence[Mapping[str, Any]]) -> Look:
        """Ask for errors and requests of both arms, requests last, so that they are the more."""
        values: dict[str, Any] = {arm: {} for arm in ARMS}
        notes: list[str] = []
        for figure in FIGURES:
            for arm in ARMS:
                values[arm][figure], said = await read_new(
                    self.source,
                    getattr(self, figure),
                    getattr(arms, arm),
                    window=self.window,
                    after=self._read_before(past, arm, figure),
                )
                notes += said
        return Look(values, tuple(dict.fromkeys(notes)))

    def _read_before(
        self, past: Sequence[Mapping[str, Any]], arm: str, figure: str
    ) -> list[list[Any]]:
        found = seen(past, arm, figure)
        if not found and self.missing_errors == "zero":
            return seen(past, arm, "requests")[:1]  # errors were none when counting began
        return found

    @classmethod
    def judge(
        cls, settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]
    ) -> Judgement | None:
        """Judge what was counted since the opening look."""
        return judged(settings, looks, judge_of(settings["judge"]))

    def judge_here(self, looks: Sequence[Mapping[str, Any]]) -> Judgement | None:
        """Judge with the judge at hand, which may be one that no record can bring back."""
        return judged(self.settings, looks, self.judge_with)


def judged(
    settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]], judge: Judge
) -> Judgement | None:
    """Return the judgement of the latest of *looks*; None where counting begins with it."""
    look = looks[-1]
    if (problem := broken(look)) is not None:
        return problem
    zero = settings["missing_errors"] == "zero"
    missing = [
        f"{figure} of the {arm}"
        for arm in ARMS
        for figure in FIGURES
        if not look[arm][figure] and not (zero and figure == "errors")
    ]
    if missing:
        return empty(f"no new sample of the {', of the '.join(missing)}")
    if not all(seen(looks[:-1], arm, "requests") for arm in ARMS):
        return None
    if (early := too_early(settings, _measured(looks))) is not None:
        return early
    totals = settings["counts"] == "totals"
    counted: dict[str, Counts] = {}
    for arm in ARMS:
        requests = [value for _, value in seen(looks, arm, "requests")]
        errors = [value for _, value in seen(looks, arm, "errors")]
        opening = next(look[arm] for look in looks if seen([look], arm, "requests"))
        if not opening["errors"]:
            errors = [0.0, *errors]  # which were none when counting began
        counted[arm] = Counts(growth(errors, totals=totals), growth(requests, totals=totals))
    return judge.judge_counts(
        counted["canary"], counted["baseline"], max_increase=settings["max_increase"]
    )


def _measured(looks: Sequence[Mapping[str, Any]]) -> int:
    """Return how many of *looks* found something in both arms, the opening one left out."""
    return sum(all(seen([look], arm, "requests") for arm in ARMS) for look in looks) - 1


def _place_problems(**queries: str) -> list[str]:
    return [
        f"{name}={shown(query)} does not say $version where the version goes, so both arms "
        "would be the same"
        for name, query in queries.items()
        if not has_place(query)
    ]


def limit_problems(check: Compare) -> list[str]:
    """Return what the judge has against the limit of *check*."""
    if check.max_increase is None:
        return ["it has no condition; give max_increase="]
    try:
        check.judge_with.judge_counts(NOTHING, NOTHING, max_increase=check.max_increase)
    except DefinitionError as error:
        return [str(error)]
    return []

"""What every check has: its schedule, its limits, its policies, and how it is recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pyflow.analysis.policies import Extend, Policy, policy_problems, retry
from pyflow.analysis.progress import Rules
from pyflow.analysis.tolerance import Limits
from pyflow.analysis.verdicts import Judgement
from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen
from pyflow.spans import Span, seconds, span_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyflow.protocols import Sample

__all__ = [
    "Arms",
    "Check",
    "Look",
    "broken",
    "empty",
    "filled",
    "has_place",
    "query_problems",
    "rows",
    "source_problems",
]

LIMITS = Limits()
ASKED_AGAIN = retry(4)
COUNT_MAX = 100_000
WEIGHT_MAX = 1_000_000


@frozen
class Arms:
    """Which versions an analysis is about."""

    canary: str | None = None
    """The new version."""

    baseline: str | None = None
    """What it is compared with."""


@frozen
class Look:
    """What one measurement saw, before anybody judges it."""

    values: dict[str, Any]
    """The values, as JSON data."""

    notes: tuple[str, ...] = ()
    """What the source said besides."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Check(ABC):
    """One question about the service that a rollout stands or falls by."""

    kind: ClassVar[str] = ""
    cumulative: ClassVar[bool] = False

    name: str | None = None
    """What the record calls it; made of the query unless given."""

    interval: Span | None = None
    """From one measurement to the next; without one, a single measurement is made."""

    initial_delay: Span = 0
    """How long to wait before the opening measurement."""

    count: int | None = None
    """How many measurements count. With an interval and no count it goes on
    until the analysis ends."""

    limits: Limits = LIMITS
    """How much it puts up with; never shared with another check."""

    weight: float | None = None
    """Without one, the check is critical: it ends the analysis if it does not
    pass. With one, it counts for so much in the score of all that have one."""

    dry_run: bool = False
    """Whether it only records what it would have said."""

    fail: Policy = "abort"
    """What follows where it fails."""

    inconclusive: Policy = "hold"
    """What follows where it is unsure."""

    no_data: Policy = "hold"
    """What follows where there is no data."""

    error: Policy = ASKED_AGAIN
    """What follows where it cannot ask."""

    @property
    def is_critical(self) -> bool:
        """Whether it ends the analysis if it does not pass."""
        return self.weight is None and not self.dry_run

    @property
    def rules(self) -> Rules:
        """What its progress depends on."""
        interval_s = None if self.interval is None else seconds(self.interval)
        return Rules(
            limits=self.limits,
            fail=self.fail,
            inconclusive=self.inconclusive,
            no_data=self.no_data,
            error=self.error,
            interval_s=interval_s,
            count=1 if self.count is None and interval_s is None else self.count,
            cumulative=self.cumulative,
            binding=self.is_critical,
        )

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What `judge` needs to know of the check, as JSON data for the record."""

    @abstractmethod
    async def look(self, arms: Arms, past: Sequence[Mapping[str, Any]]) -> Look:
        """Ask once, knowing the values of *past* looks.

        Raises:
            PyflowError: It could not ask.
        """

    @classmethod
    @abstractmethod
    def judge(
        cls, settings: Mapping[str, Any], looks: Sequence[Mapping[str, Any]]
    ) -> Judgement | None:
        """Judge the latest of *looks*; None where a comparison only begins to count with it.

        Equal settings and values get an equal judgement, in every process.
        """

    def judge_here(self, looks: Sequence[Mapping[str, Any]]) -> Judgement | None:
        """Judge the latest of *looks* in the process that made them."""
        return self.judge(self.settings, looks)

    @property
    def queries(self) -> tuple[str, ...]:
        """What it asks its source."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _check(self, problems: Iterable[str], *, name: str) -> None:
        """Refuse wrong arguments, all together, and give the check its *name* if it has none."""
        found = [*problems, *_schedule_problems(self)]
        found += policy_problems(
            fail=self.fail,
            inconclusive=self.inconclusive,
            no_data=self.no_data,
            error=self.error,
        )
        if not isinstance(self.limits, Limits):  # pyright: ignore[reportUnnecessaryIsInstance]
            found.append(f"limits={shown(self.limits)} must be Limits(…)")
        if self.name is not None and (not isinstance(self.name, str) or not self.name):  # pyright: ignore[reportUnnecessaryIsInstance]
            found.append(f"name={shown(self.name)} must be text that is not empty")
        if found:
            raise DefinitionError(type(self).__name__, found)
        if self.name is None:
            object.__setattr__(self, "name", name)


def _schedule_problems(check: Check) -> list[str]:
    problems: list[str] = []
    for option, zero in (("interval", False), ("initial_delay", True)):
        value = getattr(check, option)
        problem = None if value is None else span_problem(value, zero=zero)
        if problem:
            problems.append(f"{option}: {problem}")
    count, weight = check.count, check.weight
    if count is not None and not _is_whole(count, 1, COUNT_MAX):
        problems.append(f"count={shown(count)} must be a whole number from 1 to {COUNT_MAX}")
    elif count is not None and count > 1 and check.interval is None:
        problems.append(f"count={count} needs interval=, from one measurement to the next")
    if weight is not None and not _is_positive(weight):
        problems.append(f"weight={shown(weight)} must be a number above 0, up to {WEIGHT_MAX}")
    for name in ("fail", "inconclusive", "no_data", "error"):
        policy = getattr(check, name)
        spans = isinstance(policy, Extend) and not isinstance(policy.budget, int)
        if spans and check.interval is None:
            problems.append(f"{name}=extend(…) by a span needs interval=; extend by a number")
    return problems


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_positive(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= WEIGHT_MAX
    )


def source_problems(source: object) -> list[str]:
    """Return what is wrong with a source of metrics."""
    if isinstance(source, type) or not callable(getattr(source, "query", None)):
        return [f"{shown(source)} is no source of metrics: it lacks `query`"]
    return []


def query_problems(name: str, query: object) -> list[str]:
    """Return what is wrong with a query."""
    if isinstance(query, str) and query.strip():
        return []
    return [f"{name}={shown(query)} must be text that is not empty"]


def filled(query: str, version: str | None) -> str:
    """Return *query* with the version in its place, where it has one.

    Raises:
        DefinitionError: It has one, and there is no version.
    """
    if not has_place(query):
        return query
    if version is None:
        raise DefinitionError(
            "analysis", [f"{query!r} asks for $version; give canary= and baseline= to analysis()"]
        )
    return query.replace("${version}", version).replace("$version", version)


def has_place(query: str) -> bool:
    """Return whether *query* says where the version goes."""
    return "$version" in query or "${version}" in query


def rows(samples: Iterable[Sample]) -> list[list[Any]]:
    """Return *samples* as JSON data."""
    return [[sample.at.isoformat(), sample.value] for sample in samples]


def broken(look: Mapping[str, Any]) -> Judgement | None:
    """Return the judgement of a look that could not ask, or None where it could."""
    reason = look.get("error")
    return None if reason is None else Judgement("error", str(reason), "none")


def empty(reason: str) -> Judgement:
    """Return the judgement of a look that found nothing."""
    return Judgement("no_data", reason, "none")

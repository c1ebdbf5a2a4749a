"""How much a check puts up with: `Limits`, each check's own."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from pyflow.errors import DefinitionError, shown

__all__ = ["Limits", "Rate"]

COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """More than so many among the last so many measurements are too many."""

    most: int
    """How many are tolerated."""

    _: KW_ONLY

    among: int
    """Of how many, the latest."""

    def __post_init__(self) -> None:
        problems = _count_problems("most", self.most) + _count_problems("among", self.among)
        if not problems and self.among <= self.most:
            problems.append(f"there are never more than {self.most} among {self.among}")
        if problems:
            raise DefinitionError("Rate", problems)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many measurements of each kind a check puts up with before it ends.

    A check ends as soon as one of its limits is exceeded, whatever else it
    still had to measure. Every check counts for itself.
    """

    _: KW_ONLY

    failures: int | None = 0
    """How many may fail in all; None is any number."""

    consecutive_failures: int | None = None
    """How many may fail in a row; None is any number."""

    failure_rate: Rate | None = None
    """How many may fail among the latest, as ``Rate(3, among=10)``."""

    inconclusive: int | None = 0
    """How many may be inconclusive in all; None is any number."""

    no_data: int = 0
    """How many may have no data, beyond what the policy for that tolerates."""

    errors: int = 0
    """How many may be errors, beyond what the policy for that tolerates."""

    successes: int | None = None
    """So many passes in a row, and the check has passed; None waits for its count."""

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name in ("failures", "consecutive_failures", "inconclusive", "successes"):
            if getattr(self, name) is not None:
                problems += _count_problems(name, getattr(self, name))
        problems += _count_problems("no_data", self.no_data)
        problems += _count_problems("errors", self.errors)
        if self.successes == 0:
            problems.append("successes=0 would pass without a measurement; give 1 or more")
        if self.failure_rate is not None and not isinstance(self.failure_rate, Rate):  # pyright: ignore[reportUnnecessaryIsInstance]
            problems.append(f"failure_rate={shown(self.failure_rate)} must be a Rate")
        if problems:
            raise DefinitionError("Limits", problems)


def _count_problems(name: str, value: object) -> list[str]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX:
        return []
    return [f"{name}={shown(value)} must be a whole number from 0 to {COUNT_MAX}"]

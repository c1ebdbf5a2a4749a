"""What a check does where a measurement does not pass: abort, hold, extend, retry.

There is one policy for each of `fail`, `inconclusive`, `no_data` and `error`,
and none of them ends in a pass.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pyflow.errors import DefinitionError, shown
from pyflow.frozen import frozen
from pyflow.spans import seconds, span_problem

if TYPE_CHECKING:
    from pyflow.spans import Span

__all__ = [
    "Ending",
    "Extend",
    "Policy",
    "Repeat",
    "ending_of",
    "extend",
    "policy_problems",
    "retry",
]

Ending: TypeAlias = Literal["abort", "hold"]
"""How a check ends that does not pass: the rollout is given up, or a person decides."""

BUDGET_MAX = 100_000


@frozen
class Extend:
    """Go on measuring, at the interval of the check, for a budget in all."""

    budget: Any
    """A number of measurements, or a span, which is worth as many as it has intervals."""

    then: Ending
    """What follows once the budget is spent."""

    def measurements(self, interval_s: float | None) -> int:
        """Return how many measurements the budget is worth."""
        if isinstance(self.budget, int):
            return self.budget
        return math.ceil(seconds(self.budget) / interval_s) if interval_s else 1


@frozen
class Repeat:
    """Measure again soon, a number of times in a row."""

    budget: int
    """How often in a row."""

    every_s: float
    """How long to wait before each, in seconds."""

    then: Ending
    """What follows once the budget is spent."""


Policy: TypeAlias = "Ending | Extend | Repeat"
"""``"abort"``, ``"hold"``, or what `extend` and `retry` return."""


def extend(budget: Span | int, *, then: Ending = "hold") -> Extend:
    """Tolerate such measurements for *budget* in all, and go on at the check's interval.

    They count towards nothing: neither as measurements nor against limits.

    Args:
        budget: A whole number of measurements, or a span such as ``"10m"``.
        then: What follows once it is spent.

    Raises:
        DefinitionError: That is no budget, or no ending.
    """
    is_count = isinstance(budget, int) and not isinstance(budget, bool)
    problem = _count_problem(budget) if is_count else span_problem(budget, zero=False)
    _refuse("extend", [problem, _ending_problem(then)])
    return Extend(budget, then)


def retry(budget: int, *, every: Span = "10s", then: Ending = "hold") -> Repeat:
    """Tolerate up to *budget* such measurements in a row, and measure again after *every*.

    They count towards nothing: neither as measurements nor against limits.

    Args:
        budget: How many in a row.
        every: How long to wait before each further one.
        then: What follows once there are more in a row.

    Raises:
        DefinitionError: That is no budget, no span, or no ending.
    """
    problems = [_count_problem(budget), span_problem(every, zero=False), _ending_problem(then)]
    _refuse("retry", problems)
    return Repeat(budget, seconds(every), then)


def ending_of(policy: Policy) -> Ending:
    """Return what *policy* comes to in the end."""
    return policy if isinstance(policy, str) else policy.then


def policy_problems(**policies: object) -> list[str]:
    """Return what is wrong with *policies*."""
    return [
        f"{name}={shown(policy)} must be 'abort', 'hold', extend(budget) or retry(budget)"
        for name, policy in policies.items()
        if not isinstance(policy, (Extend, Repeat)) and policy not in get_args(Ending)
    ]


def _count_problem(budget: object) -> str | None:
    if isinstance(budget, int) and not isinstance(budget, bool) and 1 <= budget <= BUDGET_MAX:
        return None
    return f"the budget {shown(budget)} must be a whole number from 1 to {BUDGET_MAX}"


def _ending_problem(then: object) -> str | None:
    return None if then in get_args(Ending) else f"then={shown(then)} must be 'abort' or 'hold'"


def _refuse(subject: str, problems: list[str | None]) -> None:
    found = [problem for problem in problems if problem is not None]
    if found:
        raise DefinitionError(subject, found)

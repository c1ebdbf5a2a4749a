"""What every judge shares: its limits, what is wrong with data, and how a judgement is worded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyflow.analysis.stats.series import reach
from pyflow.analysis.verdicts import Judgement
from pyflow.errors import DefinitionError, refuse, shown
from pyflow.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.analysis.verdicts import Counts

__all__ = [
    "Side",
    "checked",
    "counts_problem",
    "option_problems",
    "percent",
    "refuse",
    "sides",
    "values_problem",
]

SIZE_MAX = 1e140
"""Values beyond this, or all below its inverse, cannot be squared in floats."""
TOTAL_MAX = 1e12
"""Requests beyond which floats do not tell one count from the next in what follows."""
ROUNDING = 1e-9
"""Changes that differ by less than this, relative to the baseline, are the same change."""


@frozen
class Side:
    """A direction in which the canary may not go further than a limit."""

    sign: int
    """1 where more is worse, -1 where less is."""

    limit: float
    """How far is still all right; zero or more."""

    def word(self) -> str:
        """Return ``higher`` or ``lower``."""
        return "higher" if self.sign > 0 else "lower"


def sides(max_increase: float | None, max_decrease: float | None) -> tuple[Side, ...]:
    """Return the directions that have a limit.

    Raises:
        DefinitionError: There is none, or a limit is no finite number of
            zero or more.
    """
    given = ((1, "max_increase", max_increase), (-1, "max_decrease", max_decrease))
    problems = [
        f"{name}={shown(limit)} must be a finite number of 0 or more; 0.1 allows a tenth"
        for _, name, limit in given
        if limit is not None and not _is_size(limit)
    ]
    if max_increase is None and max_decrease is None:
        problems = ["a comparison without a limit decides nothing; give max_increase=, such as 0.1"]
    if problems:
        raise DefinitionError("judge", problems)
    return tuple(Side(sign, float(limit)) for sign, _, limit in given if limit is not None)


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def option_problems(**options: float) -> list[str]:
    """Return what is wrong with the options of a judge."""
    least = {"alpha": 0.0, "beta": 0.0, "min_samples": 2, "max_spread": 1.0}
    most = {"alpha": 0.5, "beta": 0.5, "min_samples": 1_000_000, "max_spread": math.inf}
    return [
        f"{name}={shown(value)} must be between {least[name]:g} and {most[name]:g}"
        for name, value in options.items()
        if not (_is_size(value) and max(least[name], 1e-12) <= value <= most[name])
    ]


def counts_problem(canary: Counts, baseline: Counts) -> Judgement | None:
    """Return the judgement on counts that cannot be compared, or None."""
    samples = (canary.total, baseline.total)
    for name, arm in (("canary", canary), ("baseline", baseline)):
        if not (0 <= arm.events <= arm.total <= TOTAL_MAX):
            reason = f"{arm.events:g} events in {arm.total:g} requests of the {name} cannot be"
            return Judgement("error", reason, "none")
    for name, arm in (("canary", canary), ("baseline", baseline)):
        if arm.total < 1:
            return Judgement("no_data", f"the {name} had no requests", "none", samples=samples)
    return None


def checked(values: Sequence[float]) -> list[float]:
    """Return *values* without NaN, which is how a missing one is written."""
    return [value for value in values if value == value]  # noqa: PLR0124 - NaN is what differs


def values_problem(canary: list[float], baseline: list[float]) -> Judgement | None:
    """Return the judgement on values that cannot be compared, or None."""
    samples = (len(canary), len(baseline))
    for name, arm in (("canary", canary), ("baseline", baseline)):
        most = reach(arm) if arm else 0.0
        if most > SIZE_MAX or 0.0 < most < 1.0 / SIZE_MAX:
            reason = f"the {name} reaches {most:g}, which no measurement does"
            return Judgement("error", reason, "none", samples=samples)
    for name, arm in (("canary", canary), ("baseline", baseline)):
        if not arm:
            return Judgement("no_data", f"the {name} has no points", "none", samples=samples)
    return None


def percent(share: float) -> str:
    """Return *share* as a percentage, with three digits."""
    return f"{abs(share) * 100:.3g} %"

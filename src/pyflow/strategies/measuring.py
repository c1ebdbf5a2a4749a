"""Checks of `pyflow.analysis` in a rollout: which versions they are about, and for how long.

A rollout knows the new version, and finds out the old one; it knows how long
a step bakes. So it fills both in, and measures while the step bakes instead
of after it: a version that fails is found as soon as it can be.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.analysis.checks.base import Check
from pyflow.analysis.running import analysis
from pyflow.errors import DefinitionError
from pyflow.spans import seconds
from pyflow.strategies.ground import Survey, baseline_of

if TYPE_CHECKING:
    from collections.abc import Callable as Function
    from collections.abc import Iterable, Sequence

    from pyflow.run.context import AsyncContext

__all__ = ["fitted", "is_comparison", "lasting_s", "measured", "measuring", "verdicts"]

LATE_S = 1e-6
"""What a span may be short of a whole number of intervals, in seconds: rounding."""


def measuring(version: str, checks: Sequence[Check], *, fresh: bool) -> Function[..., Any]:
    """Return a task function: an analysis of *version* by *checks*, against a *fresh* baseline or not.

    Equal arguments give equal functions, so a plan shows when a check has changed.

    Raises:
        DefinitionError: The checks make no analysis.
    """
    analysis(checks, canary=version, baseline="found out by the survey")
    return partial(_measure, version=version, checks=tuple(checks), fresh=fresh)


async def _measure(
    ctx: AsyncContext, survey: Survey, *, version: str, checks: tuple[Check, ...], fresh: bool
) -> dict[str, Any]:
    """Measure until the checks have come to something."""
    baseline = baseline_of(survey.stable) if fresh else survey.stable
    return verdicts(await analysis(checks, canary=version, baseline=baseline)(ctx))


def verdicts(result: dict[str, Any]) -> dict[str, Any]:
    """Return what an analysis has come to, without figures: each of them is a record of its own."""
    checks = {name: check["verdict"] for name, check in result["checks"].items()}
    return {"verdict": result["verdict"], "checks": checks}


def measured(checks: Iterable[object]) -> list[Check]:
    """Return those of *checks* that are checks of an analysis."""
    return [check for check in checks if isinstance(check, Check)]


def is_comparison(check: object) -> bool:
    """Whether *check* needs both versions under traffic."""
    return isinstance(check, Check) and check.cumulative


def fitted(checks: Sequence[Check], bake_s: float) -> list[Check]:
    """Return *checks* with what a bake of *bake_s* seconds leaves open filled in.

    One that measures once does so at its end. Where none says how often it
    measures, each does so for as long as it lasts; otherwise those that do not
    say go on until the others are done, as in any analysis.

    Raises:
        DefinitionError: It is too short for one measurement.
    """
    if not bake_s:
        return list(checks)
    endless = all(check.rules.count is None for check in checks)
    return [_fitted(check, bake_s, endless=endless) for check in checks]


def _fitted(check: Check, bake_s: float, *, endless: bool) -> Check:
    if check.interval is None:
        return check if check.initial_delay else replace(check, initial_delay=bake_s)
    if not endless:
        return check
    left_s = bake_s - seconds(check.initial_delay, zero=True) + LATE_S
    count = math.floor(left_s / seconds(check.interval)) + (not check.cumulative)
    if count < 1:
        problem = (
            f"a bake of {bake_s:g} s is too short for one measurement at "
            f"interval={check.interval!r}; bake longer, or give count="
        )
        raise DefinitionError(f"check {check.name!r}", [problem])
    return replace(check, count=count)


def lasting_s(checks: Iterable[Check]) -> float:
    """Return how long the longest of *checks* measures, in seconds, as far as they say."""
    return max(map(_lasts_s, checks), default=0.0)


def _lasts_s(check: Check) -> float:
    delay_s = seconds(check.initial_delay, zero=True)
    if check.interval is None or check.rules.count is None:
        return delay_s
    return delay_s + seconds(check.interval) * (check.rules.count - (not check.cumulative))

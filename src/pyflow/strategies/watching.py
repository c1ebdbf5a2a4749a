"""Checks in the background of a rollout: they measure beside its steps, from the first to the last.

A step judges what it has waited for. What shows only later, or between the
steps, is for these: one that fails has the whole rollout taken back at once,
whatever the steps are doing, and one that is unsure asks a person. They come
to something once the steps that they watch are done.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.analysis.checks.base import Check
from pyflow.analysis.running import analysis
from pyflow.errors import DefinitionError, shown
from pyflow.strategies.ground import Survey, baseline_of
from pyflow.strategies.measuring import verdicts

if TYPE_CHECKING:
    from collections.abc import Callable as Function
    from collections.abc import Sequence

    from pyflow.run.context import AsyncContext

__all__ = ["background", "outcome_of", "watching"]

DONE = ("succeeded", "skipped")


def watching(
    version: str, checks: Sequence[Check], until: Sequence[str], *, fresh: bool
) -> Function[..., Any]:
    """Return a task function: an analysis of *version* by *checks*, until the tasks *until* are done.

    It measures once at least.

    Raises:
        DefinitionError: The checks make no analysis.
    """
    analysis(checks, canary=version, baseline="found out by the survey", until=bool)
    given = {"version": version, "checks": tuple(checks), "until": tuple(until), "fresh": fresh}
    return partial(_watch, **given)


async def _watch(
    ctx: AsyncContext,
    survey: Survey,
    *,
    version: str,
    checks: tuple[Check, ...],
    until: tuple[str, ...],
    fresh: bool,
) -> dict[str, Any]:
    """Measure until the checks have come to something, or the steps are done."""

    def is_over(ctx: AsyncContext) -> bool:
        done = all(outcome_of(ctx, name) in DONE for name in until)
        return done and bool(ctx.measurements)

    baseline = baseline_of(survey.stable) if fresh else survey.stable
    measure = analysis(checks, canary=version, baseline=baseline, until=is_over)
    return verdicts(await measure(ctx))


def background(name: str, checks: Sequence[object]) -> list[Check]:
    """Return *checks*, which are to measure in the background of the workflow *name*.

    One that does not say when it begins does so after one interval: right
    after a shift there is nothing to measure. A comparison begins at once,
    with what it subtracts from all that follows.

    Raises:
        DefinitionError: One does not measure, or does so only once.
    """
    found = [check for check in checks if isinstance(check, Check)]
    problems = [
        f"background_checks: {shown(check)} does not measure; give checks of an analysis, "
        "such as Threshold(…)"
        for check in checks
        if not isinstance(check, Check)
    ] + [
        f"background_checks: {check.name!r} measures only once; say how often, with interval="
        for check in found
        if check.interval is None
    ]
    if problems:
        raise DefinitionError(name, problems)
    return [_delayed(check) for check in found]


def _delayed(check: Check) -> Check:
    if check.initial_delay or check.cumulative:
        return check
    return replace(check, initial_delay=check.interval or 0)


def outcome_of(ctx: AsyncContext, name: str) -> str:
    """Return what has become of the task *name* of the same rollout, which may be an included one."""
    return ctx.outcome(ctx.task[: ctx.task.rfind(".") + 1] + name)

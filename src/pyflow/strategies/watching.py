"""Checks in the background of a rollout: they measure beside its steps, from the first to the last.

A step judges what it has waited for. What shows only later, or between the
steps, is for these: one that fails has the whole rollout taken back at once,
whatever the steps are doing, and one that is unsure asks a person. They come
to something once the steps that they watch are done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyflow.analysis.checks.base import Check
from pyflow.analysis.running import analysis
from pyflow.errors import DefinitionError, shown
from pyflow.strategies.ground import Survey  # noqa: TC001 - an annotation that is read when it runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.run.context import AsyncContext

__all__ = ["Watching", "background", "outcome_of"]

DONE = ("succeeded", "skipped")


class Watching:
    """A task function: an analysis of *version* by *checks*, until the tasks *until* are done.

    It measures once at least.

    Raises:
        DefinitionError: The checks make no analysis.
    """

    def __init__(self, version: str, checks: Sequence[Check], until: Sequence[str]) -> None:
        self._version = version
        self._checks = tuple(checks)
        self._until = tuple(until)
        self._analysis("found out by the survey")

    async def __call__(self, ctx: AsyncContext, survey: Survey) -> dict[str, Any]:
        """Measure until the checks have come to something, or the steps are done."""
        return await self._analysis(survey.stable)(ctx)

    def _analysis(self, baseline: str) -> Any:
        return analysis(self._checks, canary=self._version, baseline=baseline, until=self._is_over)

    def _is_over(self, ctx: AsyncContext) -> bool:
        return bool(ctx.measurements) and all(outcome_of(ctx, name) in DONE for name in self._until)


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

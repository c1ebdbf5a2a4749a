"""Carry an analysis out as a task: wait, ask, judge, record; and go on after a crash.

`pyflow.analysis.book` decides everything. Each measurement is in the audit
trail before the next one is made, and a resumed run reads them back from
there, so it goes on at the measurement where it stopped.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pyflow.analysis.book import Book, Line, Outcome
from pyflow.analysis.checks.base import Arms, Check, Look, has_place
from pyflow.analysis.policies import Ending
from pyflow.analysis.scoring import Scoring
from pyflow.errors import AnalysisFailed, AnalysisHeld, DefinitionError, PyflowError, shown
from pyflow.record.events import MeasurementTaken
from pyflow.record.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from pyflow.run.context import AsyncContext

__all__ = ["analysis"]

Version: TypeAlias = "str | Callable[[AsyncContext], str] | None"
"""A version, or a function that finds it out, from the run's parameters for example."""

ANSWER_S = 120.0
"""How long a look may take, in seconds, whatever the source says of its own timeout."""
DUE_S = 0.001
"""How early a measurement may be, in seconds: what is left of a wait may be too little to wait."""
LOOK_S = 5.0
"""How often an analysis that waits asks whether it is to end, in seconds."""


def analysis(
    checks: Sequence[Check],
    *,
    canary: Version = None,
    baseline: Version = None,
    until: Callable[[AsyncContext], bool] | None = None,
    pass_score: float = 95.0,
    marginal_score: float = 75.0,
    fail: Ending = "abort",
    unsure: Ending = "hold",
) -> Callable[[AsyncContext], Coroutine[Any, Any, dict[str, Any]]]:
    """Return a task function that measures by *checks* until they have come to something.

    The task changes nothing, so add it with ``effect=False``: after a crash it
    goes on at the measurement where it stopped. It returns what became of
    each check, as JSON data.

    Args:
        checks: What to measure. All critical ones have to pass, and the
            others to reach the score together.
        canary: The new version, for queries that say ``$version``.
        baseline: The version that it is compared with.
        until: Asked before each measurement and while waiting; once it says
            True, the analysis comes to what was measured by then.
        pass_score: With this score or more, checks that have a weight pass.
        marginal_score: Below this score they fail.
        fail: What follows from a score that fails.
        unsure: What follows from one that is inconclusive, or from none.

    Returns:
        An async function of the context. It raises `AnalysisFailed` where a
        check or the score aborts, and `AnalysisHeld` where one asks for a
        person to decide.

    Raises:
        DefinitionError: There is no check, two have one name, a version is
            missing that a query asks for, or it would never end.
    """
    lines = list(checks)
    problems = _problems(lines, until=until, fail=fail, unsure=unsure)
    problems += _score_problems(pass_score, marginal_score)
    if not problems:
        problems += _version_problems(lines, canary, baseline)
    if problems:
        raise DefinitionError("analysis", problems)
    scoring = Scoring(pass_score, marginal_score, fail, unsure)

    async def analyse(ctx: AsyncContext) -> dict[str, Any]:
        arms = Arms(_found(canary, ctx), _found(baseline, ctx))
        return await _Running(ctx, Book(lines, scoring), arms, until).run()

    return analyse


class _Running:
    """One attempt at an analysis."""

    def __init__(
        self,
        ctx: AsyncContext,
        book: Book,
        arms: Arms,
        until: Callable[[AsyncContext], bool] | None,
    ) -> None:
        self.ctx = ctx
        self.book = book
        self.arms = arms
        self.until = until
        self.now = asyncio.get_running_loop().time
        self.began = self.now()

    async def run(self) -> dict[str, Any]:
        """Measure until the analysis has come to something, and return or raise that."""
        # What was measured before a crash; time stood still meanwhile.
        self.began -= self.book.replay(self.ctx.measurements)
        while (outcome := self.book.outcome) is None:
            line = self.book.next
            assert line is not None, "an analysis that goes on has something to measure"
            if await self._is_over(line.due_s):
                outcome = self.book.conclude()
                break
            await self._measure(line)
        return self._ended(outcome)

    async def _is_over(self, due_s: float) -> bool:
        """Wait until *due_s*, and return whether somebody ended the analysis meanwhile."""
        while True:
            if self.until is not None and self.until(self.ctx):
                return True
            left_s = due_s - (self.now() - self.began)
            if left_s < DUE_S:
                return False
            await self.ctx.sleep(left_s if self.until is None else min(left_s, LOOK_S))

    async def _measure(self, line: Line) -> None:
        look = await self._look(line)
        values = encode(look.values, "values")
        judgement = self.book.judge(line, values)
        number = len(line.looks) + 1
        step = self.book.take(line, values, judgement, at_s=self.now() - self.began)
        self.ctx.record_measurement(
            MeasurementTaken(
                task=self.ctx.task,
                check=line.name,
                number=number,
                verdict=judgement.verdict,
                then=step.then,
                values=values,
                judgement=encode(judgement.data, "judgement"),
                notes=list(look.notes) or None,
                settings=self._settings(line) if number == 1 else None,
            )
        )

    def _settings(self, line: Line) -> dict[str, Any]:
        return encode(
            {
                **line.check.settings,
                "critical": line.check.is_critical,
                "comparisons": len(self.book.comparisons),
            },
            "settings",
        )

    async def _look(self, line: Line) -> Look:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await line.check.look(self.arms, line.looks)
        except TimeoutError:
            return Look({"error": f"no answer within {ANSWER_S:g} s"})
        except PyflowError as error:
            return Look({"error": str(error)})
        except Exception as error:  # noqa: BLE001 - a source of the user's own may raise anything
            return Look({"error": shown(error)})

    def _ended(self, outcome: Outcome) -> dict[str, Any]:
        result = {
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "checks": self.book.data,
        }
        if outcome.then == "pass":
            return result
        if outcome.then == "abort":
            raise AnalysisFailed(outcome.reason, verdict=outcome.verdict, result=result)
        raise AnalysisHeld(outcome.reason, verdict=outcome.verdict, result=result)


def _found(version: Version, ctx: AsyncContext) -> str | None:
    return version(ctx) if callable(version) else version


def _problems(checks: list[Any], *, until: object, fail: object, unsure: object) -> list[str]:
    if not checks:
        return ["there is no check, and nothing would be measured; give some"]
    strange = [check for check in checks if not isinstance(check, Check)]
    if strange:
        return [f"{shown(strange[0])} is no check; give such as Threshold(…)"]
    names = [str(check.name) for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems = [f"two checks are called {name!r}; give each a name= of its own" for name in twice]
    lines = [Line(check) for check in checks]
    counted = [line for line in lines if not line.check.dry_run] or lines
    if until is None and all(line.is_endless for line in counted):
        problems.append("it would never end; give a check count=, or the analysis until=")
    if until is not None and not callable(until):
        problems.append(f"until={shown(until)} must be a function of the context")
    for name, ending in (("fail", fail), ("unsure", unsure)):
        if ending not in get_args(Ending):
            problems.append(f"{name}={shown(ending)} must be 'abort' or 'hold'")
    return problems


def _score_problems(pass_score: object, marginal_score: object) -> list[str]:
    for name, score in (("pass_score", pass_score), ("marginal_score", marginal_score)):
        if not isinstance(score, (int, float)) or isinstance(score, bool) or not 0 < score <= 100:
            return [f"{name}={shown(score)} must be a number above 0, up to 100"]
    if marginal_score > pass_score:  # pyright: ignore[reportOperatorIssue]
        return [f"marginal_score={marginal_score} is above pass_score={pass_score}; swap them"]
    return []


def _version_problems(checks: list[Check], canary: Version, baseline: Version) -> list[str]:
    wanted = {
        "canary": any(has_place(query) for check in checks for query in check.queries),
        "baseline": any(check.cumulative for check in checks),
    }
    given = {"canary": canary, "baseline": baseline}
    return [
        f"a check asks for $version; give {name}=, a version or a function of the context"
        for name, needed in wanted.items()
        if needed and given[name] is None
    ]

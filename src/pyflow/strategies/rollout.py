"""What every rollout shares: its tasks, one after another, each with its way back.

The rules stand in `ground`, what is done in `effects`; this is where steps
become tasks of a `Workflow`. Each task waits for the one before. A rollback
takes all weight from the new version at once, whatever step it had come to,
and its capacity only after that; the old version is brought back before it
gets traffic.
"""

from __future__ import annotations

from collections.abc import Callable as Function
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from pyflow.analysis.checks.base import Check as AnalysisCheck
from pyflow.define.policies import Retry
from pyflow.errors import CheckFailed, DefinitionError, RolloutError, shown
from pyflow.protocols import Probe
from pyflow.spans import Backoff, Span, seconds
from pyflow.strategies.effects import Hands
from pyflow.strategies.ground import (
    Survey,
    baseline_of,
    has_baseline,
    needed,
    split,
    surveyed,
)
from pyflow.strategies.measuring import fitted, is_comparison, lasting_s, measured, measuring
from pyflow.strategies.outline import Note, RolloutWorkflow, described
from pyflow.strategies.watching import outcome_of, watching

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyflow.define.policies import OnFailure, OnLocked
    from pyflow.protocols import Platform, Router
    from pyflow.run.context import AsyncContext
    from pyflow.strategies.outline import Kind

__all__ = ["BACKOFF", "Check", "Rollout"]

Check: TypeAlias = Probe | AnalysisCheck | Function[..., Any]
"""A probe, which has to read healthy; a check of an analysis, which has to
pass; or a task function, which has to return."""

Rung: TypeAlias = tuple[str, float]
"""A task that shifts traffic, and what the new version gets by it, in percent; the first has no task."""
Ladder: TypeAlias = tuple[Rung, ...]

BACKOFF = Backoff("1s", ceiling="15s")
UNDO_RETRY = Retry(3, backoff=Backoff("5s", ceiling="30s"))
LOOK_RETRY = Retry(4, backoff=Backoff("2s", ceiling="10s"))
ANSWER_S = 3 * 86_400.0
"""How long what watches beside a question waits for its answer."""
SPARE_S = 600.0
"""What a task may take beyond the readiness that it waits for: bounded tries of bounded calls."""

BAKE_SLICES = 10
BAKE_SLICE_S_MIN = 60.0


class Rollout:
    """A `Workflow` in the making, one step after another.

    Args:
        name: The name of the workflow.
        service: What is rolled out.
        version: The new version of it.
        platform: Where instances run.
        router: Who gets the traffic; None where each version's work is what it has instances for.
        instances: How many instances are full capacity; as many as the old
            version has, unless given.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to; `hold` waits for a person.
        backoff: The waits between tries, and between looks at what is to become ready.
        locks: What else only one run at a time may touch.
        fresh: Whether fresh instances of the old version run beside the new one
            while that has less than half, and get as much traffic.
        on_locked: What to do where another rollout of the service is unfinished.
    """

    def __init__(
        self,
        name: str,
        *,
        service: str,
        version: str,
        platform: Platform,
        router: Router | None,
        instances: int | None = None,
        ready_within: Span = "10m",
        check_within: Span = "1h",
        on_failure: OnFailure = "rollback",
        backoff: Backoff = BACKOFF,
        locks: Iterable[str] = (),
        fresh: bool = False,
        on_locked: OnLocked = "wait",
    ) -> None:
        if instances is not None and (type(instances) is not int or instances < 1):
            problem = f"instances={shown(instances)} must be a whole number of 1 or more, or None"
            raise DefinitionError(name, [problem])
        self._ready_s = seconds(ready_within, what=f"{name}(ready_within=)")
        self._check_s = seconds(check_within, what=f"{name}(check_within=)")
        self._hands = Hands(service, version, platform, router, self._ready_s, backoff, fresh)
        self._fresh = fresh
        self._instances = instances
        self._ladder: list[Rung] = [("", 0.0)]
        self._before: tuple[str, ...] = ()
        self.workflow = RolloutWorkflow(
            name,
            locks=[f"service:{service}", *locks],
            on_failure=on_failure,
            on_locked=on_locked,
        )
        self._begin()

    def _begin(self) -> None:
        """Add what finds out how things stand."""
        self._add("survey", self._survey, effect=False, retry=LOOK_RETRY, timeout=SPARE_S)
        asks = ("one version is ready and has all of the traffic",)
        self._tell("survey", "look", "look at what is there", checks=asks)

    # Steps --------------------------------------------------------------------------------

    def deploy(self, name: str, pct: float = 100.0, *, instances: int | None = None) -> None:
        """Have what *pct* percent of the traffic take in instances of the new version, ready.

        Up to all of it, this is left out of a promotion, like `shift`.
        """
        do = partial(self._deploy, pct=pct, instances=instances, ladder=tuple(self._ladder))
        undo = partial(self._withdraw, ladder=tuple(self._ladder))
        self._effect(name, do, undo, skip_on_promotion=pct < 100)
        what = f"start what {pct:g} % of the traffic take"
        self._tell(name, "deploy", what, way_back="take its traffic, then its instances")

    def accompany(self, name: str, pct: float, *, instances: int | None = None) -> None:
        """Have as many fresh instances of the old version as the new one has for *pct* percent."""
        do = partial(self._accompany, pct=pct, instances=instances, ladder=tuple(self._ladder))
        undo = partial(self._withdraw, ladder=tuple(self._ladder), baseline=True)
        self._effect(name, do, undo, skip_on_promotion=True)
        what = "start fresh instances of the old version, as many as of the new one"
        self._tell(name, "deploy", what, way_back="take their traffic, then them")

    def leave(self, name: str) -> None:
        """Take the fresh instances of the old version away."""
        do = partial(self._leave, present=self._ladder[-1][1])
        self._effect(name, do, partial(self._withdraw, ladder=tuple(self._ladder), baseline=True))
        what = "take the fresh instances of the old version away"
        self._tell(name, "retire", what, way_back="none is needed")

    def shift(self, name: str, pct: float) -> None:
        """Have *pct* percent of the traffic go to the new version."""
        do = partial(self._shift, pct=pct, ladder=tuple(self._ladder))
        self._ladder.append((name, pct))
        undo = partial(self._shift_back, ladder=tuple(self._ladder))
        self._effect(name, do, undo, skip_on_promotion=pct < 100)
        what, way_back = f"send it {pct:g} % of the traffic", "send all of it to the old version"
        self._tell(name, "shift", what, weight_pct=pct, way_back=way_back)

    def retire(self, name: str) -> None:
        """Take the old version away."""
        present = self._ladder[-1][1]
        do, undo = partial(self._retire, present=present), partial(self._restore, present=present)
        self._effect(name, do, undo)
        what, way_back = "take the old version away", "start it again, and wait until it is ready"
        self._tell(name, "retire", what, way_back=way_back)

    def keep(self, name: str, span: Span | None) -> None:
        """Keep the old version for *span*, for an instant way back."""
        self.bake(name, span)
        if name in self.workflow.notes:
            span_s = self.workflow.notes[name].span_s
            self._tell(name, "keep", "keep the old version", span_s=span_s)

    def bake(self, name: str, span: Span | None, *, step: str | None = None) -> None:
        """Wait for *span*; a resume goes on where the wait was, to a tenth of it or a minute.

        People may skip it, with its *step* where it has one; a promotion then does so too.
        """
        if span is not None:
            span_s = seconds(span, what=f"{self.workflow.name}({name})", zero=True)
            if span_s:
                fn = partial(bake_for, span_s=span_s)
                timeout_s = 2 * span_s + SPARE_S
                passing = {"skippable": step or True, "skip_on_promotion": step is not None}
                self._add(name, fn, effect=False, timeout=timeout_s, **passing)
                self._tell(name, "bake", "wait", span_s=span_s)

    def judge(
        self, bake: str, span: Span | None, name: str, checks: Iterable[Check], *, step: str
    ) -> None:
        """Wait for *span*, measure meanwhile, and have all other *checks* made after it.

        All of that is one *step*, which people may skip.
        """
        given, before = list(checks), self._before
        analysed = self._analysed(name, given)
        others = [check for check in given if not isinstance(check, AnalysisCheck)]
        count = len(others) + bool(analysed)
        self.bake(bake, span, step=step)
        ends = self._make(name, others, count, step)
        if analysed:
            self._before = before
            span_s = 0.0 if span is None else seconds(span, zero=True)
            fresh = self._fresh and has_baseline(self._ladder[-1][1])
            checks_made = fitted(analysed, span_s)
            fn = measuring(self._hands.version, checks_made, fresh=fresh)
            task = name if count == 1 else f"{name}_{count}"
            self._look(task, fn, step, timeout_s=self._check_s + span_s)
            asks = tuple(map(described, checks_made))
            self._tell(task, "check", "measure", span_s=lasting_s(checks_made), checks=asks)
            ends = (task,) if ends == before else (*ends, task)
        self._before = ends

    def _make(
        self, name: str, checks: Sequence[Probe | Function[..., Any]], count: int, step: str
    ) -> tuple[str, ...]:
        """Add *checks* beside one another, of *count* in all, and return what comes last now."""
        before, names = self._before, list[str]()
        for number, check in enumerate(checks, start=1):
            fn = partial(read_once, probe=check) if isinstance(check, Probe) else check
            self._before = before
            task = name if count == 1 else f"{name}_{number}"
            self._look(task, fn, step, timeout_s=self._check_s)
            self._tell(task, "check", "check", checks=(described(check),))
            names.append(task)
        return tuple(names) or before

    def _analysed(self, name: str, checks: Sequence[Check]) -> list[AnalysisCheck]:
        """Return the checks that measure.

        Raises:
            DefinitionError: One compares versions of which one has no traffic.
        """
        found, pct = measured(checks), self._ladder[-1][1]
        if pct in (0, 100) and any(map(is_comparison, found)):
            names = ", ".join(repr(check.name) for check in found if is_comparison(check))
            problem = (
                f"{name}: {names} compares the versions, and at {pct:g} % one of them has no "
                "traffic; compare at a step between, or give a Threshold"
            )
            raise DefinitionError(self.workflow.name, [problem])
        return found

    def watch(self, name: str, checks: Sequence[AnalysisCheck], *, since: str) -> None:
        """Measure by *checks* from the end of the task *since* until all before this is done.

        What follows waits for that, too.
        """
        if checks:
            before = self._before
            fresh = self._fresh and any(map(is_comparison, checks))
            fn = watching(self._hands.version, checks, before, fresh=fresh)
            tasks = self.workflow.tasks
            timeout_s = sum(ANSWER_S if t.approval else t.timeout_s or 0.0 for t in tasks)
            self._before = (since,)
            passing = {"skippable": True, "skip_on_promotion": True, "background": True}
            self._add(name, fn, effect=False, timeout=timeout_s, **passing)
            asks = tuple(map(described, checks))
            self._tell(name, "check", "measure all the while", checks=asks)
            self._before = (*before, name) if before != (since,) else (name,)

    def approve(self, name: str, question: str | None, *, step: str) -> None:
        """Ask people before it goes on, as the end of a *step*."""
        if question is not None:
            self.workflow.add_approval(
                name, question, depends_on=self._before, skippable=step, skip_on_promotion=True
            )
            self._before = (name,)
            self._tell(name, "approve", "ask people")

    def _look(self, name: str, fn: Function[..., Any], step: str, *, timeout_s: float) -> None:
        passing = {"skippable": step, "skip_on_promotion": True}
        self._add(name, fn, effect=False, timeout=timeout_s, **passing)

    def _effect(
        self, name: str, do: Function[..., Any], undo: Function[..., Any], **options: Any
    ) -> None:
        timeout_s = self._ready_s + SPARE_S
        self._add(name, do, on_interrupt="rerun", timeout=timeout_s, **options)
        self.workflow.add_recovery(name, undo, retry=UNDO_RETRY, timeout=timeout_s)

    def _add(self, name: str, fn: Function[..., Any], **options: Any) -> None:
        self.workflow.add_task(name, fn, depends_on=self._before, **options)
        self._before = (name,)

    def _tell(self, name: str, kind: Kind, what: str, **more: Any) -> None:
        """Note what a task is for, for the report."""
        self.workflow.notes[name] = Note(kind, what, self._hands.service, **more)

    # What the tasks do --------------------------------------------------------------------

    async def _survey(self) -> Survey:
        hands = self._hands
        state, weights = await hands.look()
        return surveyed(hands.service, hands.version, state, weights, instances=self._instances)

    async def _deploy(
        self,
        ctx: AsyncContext,
        survey: Survey,
        *,
        pct: float,
        instances: int | None,
        ladder: Ladder,
    ) -> None:
        least = needed(survey.instances, pct)
        wanted = least if instances is None else instances
        if wanted < least:
            raise RolloutError(
                f"{self._hands.service}: {wanted} instances are too few for {pct:g} % of the "
                f"traffic, where all of it takes {survey.instances}; give {least} or more"
            )
        await self._scale(ctx, survey, self._hands.version, wanted, [_present(ctx, ladder)])

    async def _withdraw(
        self, ctx: AsyncContext, survey: Survey, *, ladder: Ladder, baseline: bool = False
    ) -> None:
        if len(ladder) > 1:
            await self._shift_back(ctx, survey, ladder=ladder)
        version = baseline_of(survey.stable) if baseline else self._hands.version
        await self._scale(ctx, survey, version, 0, [0], back=True)

    async def _accompany(
        self,
        ctx: AsyncContext,
        survey: Survey,
        *,
        pct: float,
        instances: int | None,
        ladder: Ladder,
    ) -> None:
        wanted = needed(survey.instances, pct) if instances is None else instances
        baseline = baseline_of(survey.stable)
        await self._scale(ctx, survey, baseline, wanted, [_present(ctx, ladder)])

    async def _leave(self, ctx: AsyncContext, survey: Survey, *, present: float) -> None:
        await self._scale(ctx, survey, baseline_of(survey.stable), 0, [present])

    async def _retire(self, ctx: AsyncContext, survey: Survey, *, present: float) -> None:
        await self._scale(ctx, survey, survey.stable, 0, [present])

    async def _restore(self, ctx: AsyncContext, survey: Survey, *, present: float) -> None:
        count = survey.stable_instances
        await self._scale(ctx, survey, survey.stable, count, [present], back=True)

    async def _scale(
        self,
        ctx: AsyncContext,
        survey: Survey,
        version: str,
        count: int,
        present: list[float],
        *,
        back: bool = False,
    ) -> None:
        weights = self._splits(survey, present)
        await self._hands.scale(ctx, survey, version, count, weights=weights, back=back)

    async def _shift(
        self, ctx: AsyncContext, survey: Survey, *, pct: float, ladder: Ladder
    ) -> None:
        capacity = {self._hands.version: needed(survey.instances, pct)}
        if self._fresh:
            capacity[survey.stable] = survey.stable_instances
            capacity[baseline_of(survey.stable)] = needed(survey.instances, pct)
        [target] = self._splits(survey, [pct])
        origins = self._splits(survey, [_present(ctx, ladder)])
        await self._hands.shift(ctx, survey, target, origins=origins, capacity=capacity)

    async def _shift_back(self, ctx: AsyncContext, survey: Survey, *, ladder: Ladder) -> None:
        capacity = {survey.stable: survey.stable_instances}
        [target] = self._splits(survey, [0])
        origins = self._splits(survey, [pct for _, pct in ladder])
        await self._hands.shift(ctx, survey, target, origins=origins, capacity=capacity, back=True)

    def _splits(self, survey: Survey, percentages: Iterable[float]) -> list[dict[str, float]]:
        versions = survey.stable, self._hands.version
        return [split(*versions, pct, fresh=self._fresh) for pct in percentages]


def _present(ctx: AsyncContext, ladder: Ladder) -> float:
    """Return the share that the new version has: that of the last rung that was not left out."""
    rungs = reversed(ladder)
    return next(pct for name, pct in rungs if not name or outcome_of(ctx, name) != "skipped")


async def bake_for(ctx: AsyncContext, *, span_s: float) -> None:
    """Wait for *span_s* seconds in slices, each of which is saved."""
    done_s = float(ctx.checkpoints.get("baked_s", 0.0))
    slice_s = max(BAKE_SLICE_S_MIN, span_s / BAKE_SLICES)
    while done_s < span_s:
        await ctx.sleep(min(slice_s, span_s - done_s))
        done_s = min(span_s, done_s + slice_s)
        ctx.checkpoint("baked_s", done_s)


async def read_once(ctx: AsyncContext, *, probe: Probe) -> None:
    """Read *probe* once; anything other than healthy is a failure."""
    reading = await ctx.read(probe)
    if not reading.is_healthy:
        raise CheckFailed(
            f"{probe!r} is {reading.health}: {shown(reading.evidence)}", reading=reading
        )

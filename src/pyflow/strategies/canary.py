"""Canary: the new version beside the old one, with more and more of the traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pyflow.errors import DefinitionError, shown
from pyflow.strategies.ground import has_baseline
from pyflow.strategies.measuring import is_comparison
from pyflow.strategies.rollout import BACKOFF, Rollout
from pyflow.strategies.watching import background

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyflow.analysis.checks.base import Check as AnalysisCheck
    from pyflow.define.policies import OnFailure, OnLocked
    from pyflow.protocols import Platform, Router
    from pyflow.spans import Backoff, Span
    from pyflow.strategies.outline import RolloutWorkflow
    from pyflow.strategies.rollout import Check

__all__ = ["Step", "canary"]

STEPS: tuple[float, ...] = (5, 25, 50, 100)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a canary: how much traffic, for how long, and what has to be well after that."""

    weight_pct: float
    """The share of the traffic that the new version gets, in percent."""

    bake: Span | None = None
    """How long to wait before it is judged; None is what the canary says."""

    checks: Sequence[Check] | None = None
    """What has to be well then; None is what the canary says."""

    approval: str | None = None
    """A question to people, once the checks have passed."""

    instances: int | None = None
    """How many instances of the new version; None is what its share takes."""


AnyStep: TypeAlias = Step | float


def canary(
    service: str,
    version: str,
    *,
    platform: Platform,
    router: Router,
    steps: Sequence[AnyStep] = STEPS,
    bake: Span | None = None,
    checks: Sequence[Check] = (),
    background_checks: Sequence[AnalysisCheck] = (),
    baseline: Literal["stable", "fresh"] = "stable",
    on_locked: OnLocked = "wait",
    instances: int | None = None,
    keep_old_for: Span | None = None,
    ready_within: Span = "10m",
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
    backoff: Backoff = BACKOFF,
) -> RolloutWorkflow:
    """Return the canary rollout of *version*: capacity, weight, bake, checks, at every step.

    The old version keeps its full capacity until the very end, so that a
    rollback, from whatever step, takes all weight from the new version at
    once.

    Args:
        service: The service; its lock is ``service:<service>``.
        version: The version to roll out.
        platform: Where instances run.
        router: Who gets the traffic.
        steps: Rising percentages of the traffic, of which the last is 100;
            each a number, or a `Step` with more to say.
        bake: How long to wait at each step before it is judged.
        checks: What has to be well at each step. Checks of an analysis measure
            while it bakes, for as long as it does unless they say how often;
            those that compare the versions do so up to the last step, at which
            there is nothing to compare with. All others are made after it.
        background_checks: Checks of an analysis that measure beside the steps,
            from the first shift of traffic until all of them are done, and say
            how often. One that fails has the whole rollout taken back at once,
            one that is unsure holds it. Those that compare the versions are
            done before the last step.
        baseline: What comparisons compare the new version with: `stable`, the
            instances that the old one has, or `fresh` ones of it, as many as
            the new version has and with as much traffic, so that both have
            cold caches. The platform is asked for them as version
            ``<stable>-baseline``, which has to be the same release. They are
            there at steps below 50 %, and taken away at the end, and by a
            rollback.
        on_locked: What to do where another rollout of the service is unfinished:
            `wait` for it, `fail`, or `roll_back_holder`, which supersedes it:
            it is rolled back, and this one begins where nothing is left of it.
        instances: Full capacity; as many as the old version has, unless given.
        keep_old_for: How long the old version is kept for an instant way back.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to; `hold` waits for a person.
        backoff: The waits between tries, and between looks at what is to become ready.

    Raises:
        DefinitionError: An argument makes no sense.
    """
    watched = background("canary", background_checks)
    stages = _steps(steps)
    fresh = _is_fresh(baseline, stages)
    rollout = Rollout(
        "canary",
        service=service,
        version=version,
        platform=platform,
        router=router,
        instances=instances,
        ready_within=ready_within,
        check_within=check_within,
        on_failure=on_failure,
        backoff=backoff,
        fresh=fresh,
        on_locked=on_locked,
    )
    since = f"shift_{_label(stages[0])}"
    comparing = _comparing(watched, stages)
    ending = next(s for s in stages if s.weight_pct == 100 or (fresh and s.weight_pct >= 50))
    for step in stages:
        label = _label(step)
        if step is ending:
            rollout.watch("background_comparison", comparing, since=since)
        rollout.deploy(f"scale_{label}", step.weight_pct, instances=step.instances)
        if fresh and has_baseline(step.weight_pct):
            rollout.accompany(f"baseline_{label}", step.weight_pct, instances=step.instances)
        rollout.shift(f"shift_{label}", step.weight_pct)
        span = bake if step.bake is None else step.bake
        rollout.judge(
            f"bake_{label}",
            span,
            f"check_{label}",
            _checks_of(step, checks),
            step=f"step_{label}",
        )
        rollout.approve(f"approve_{label}", step.approval, step=f"step_{label}")
    rollout.watch("background", [c for c in watched if c not in comparing], since=since)
    if fresh:
        rollout.leave("retire_baseline")
    rollout.keep("keep_old", keep_old_for)
    rollout.retire("retire_old")
    return rollout.workflow


def _is_fresh(baseline: str, steps: Sequence[Step]) -> bool:
    if baseline not in ("stable", "fresh"):
        raise DefinitionError("canary", [f'baseline={shown(baseline)}: choose "stable" or "fresh"'])
    if baseline == "fresh" and not has_baseline(steps[0].weight_pct):
        problem = (
            'baseline="fresh" gets as much traffic as the new version, and the old one still more; '
            "begin with a step below 50 %"
        )
        raise DefinitionError("canary", [problem])
    return baseline == "fresh"


def _label(step: Step) -> str:
    return f"{step.weight_pct:g}".replace(".", "_")


def _comparing(checks: Sequence[AnalysisCheck], steps: Sequence[Step]) -> list[AnalysisCheck]:
    """Return those of *checks* that compare the versions, for which both need traffic at some step.

    Raises:
        DefinitionError: There is no such step.
    """
    found = [check for check in checks if is_comparison(check)]
    if found and len(steps) == 1:
        names = ", ".join(repr(check.name) for check in found)
        problem = (
            f"background_checks: {names} compares the versions, and no step has traffic on both; "
            "add one below 100 %, or give a Threshold"
        )
        raise DefinitionError("canary", [problem])
    return found


def _checks_of(step: Step, checks: Sequence[Check]) -> list[Check]:
    """Return what is checked at *step*; with all of the traffic there is nothing to compare with."""
    if step.checks is not None:
        return list(step.checks)
    return [check for check in checks if step.weight_pct < 100 or not is_comparison(check)]


def _steps(given: Sequence[AnyStep]) -> list[Step]:
    several = [] if isinstance(given, str) else list(given)
    steps = [one if isinstance(one, Step) else Step(one) for one in several]
    shares = [step.weight_pct for step in steps]
    if not steps or not all(map(_is_number, shares)) or shares[-1] != 100 or not _rise(shares):
        raise DefinitionError(
            "canary", [f"steps={shown(given)} must be rising percentages of which the last is 100"]
        )
    return steps


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _rise(shares: Sequence[float]) -> bool:
    return all(a < b for a, b in zip([0, *shares], shares, strict=False))

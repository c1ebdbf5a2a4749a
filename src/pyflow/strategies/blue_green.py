"""Blue-green: the new version at full capacity beside the old one, then one switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pyflow.errors import DefinitionError, shown
from pyflow.strategies.rollout import BACKOFF, Rollout

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyflow.define.policies import OnFailure, OnLocked
    from pyflow.protocols import Platform, Router
    from pyflow.spans import Backoff, Span
    from pyflow.strategies.outline import RolloutWorkflow
    from pyflow.strategies.rollout import Check

__all__ = ["blue_green"]

GRADUAL: tuple[float, ...] = (10, 25, 50, 100)


def blue_green(
    service: str,
    version: str,
    *,
    platform: Platform,
    router: Router,
    instances: int | None = None,
    preview_checks: Iterable[Check] = (),
    approval: str | None = None,
    switch: Literal["at_once", "gradual"] | Sequence[float] = "at_once",
    bake: Span | None = None,
    post_checks: Iterable[Check] = (),
    keep_old_for: Span | None = None,
    on_locked: OnLocked = "wait",
    ready_within: Span = "10m",
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
    backoff: Backoff = BACKOFF,
) -> RolloutWorkflow:
    """Return the blue-green rollout of *version*: preview, check, switch, confirm, retire.

    Up to the end of *keep_old_for* the old version stays at full capacity, so
    the way back is one change of weights. A rollback after that starts the
    old version again and waits until it is ready before it gets traffic.

    Args:
        service: The service; its lock is ``service:<service>``.
        version: The version to roll out.
        platform: Where instances run.
        router: Who gets the traffic.
        instances: Full capacity; as many as the old version has, unless given.
        preview_checks: What has to be well before any traffic is sent.
        approval: A question to people after that; none unless given.
        switch: All traffic ``at_once``, or ``gradual``, or these percentages
            of it, of which the last is 100.
        bake: How long to wait before the switch is judged.
        post_checks: What has to be well then. Checks of an analysis measure
            while it bakes, for as long as it does unless they say how often.
        keep_old_for: How long the old version is kept for an instant way back.
        on_locked: What to do where another rollout of the service is unfinished:
            `wait` for it, `fail`, or `roll_back_holder`, which supersedes it:
            it is rolled back, and this one begins where nothing is left of it.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to; `hold` waits for a person.
        backoff: The waits between tries, and between looks at what is to become ready.

    Raises:
        DefinitionError: An argument makes no sense.
    """
    rollout = Rollout(
        "blue_green",
        service=service,
        version=version,
        platform=platform,
        router=router,
        instances=instances,
        ready_within=ready_within,
        check_within=check_within,
        on_failure=on_failure,
        backoff=backoff,
        on_locked=on_locked,
    )
    rollout.deploy("deploy_preview")
    rollout.judge("preview", None, "check_preview", preview_checks, step="step_preview")
    rollout.approve("approve_switch", approval, step="step_preview")
    for pct in _percentages(switch):
        rollout.shift("switch" if pct == 100 else f"switch_{pct:g}".replace(".", "_"), pct)
    rollout.judge("bake", bake, "confirm", post_checks, step="step_confirm")
    rollout.keep("keep_old", keep_old_for)
    rollout.retire("retire_old")
    return rollout.workflow


def _percentages(switch: Literal["at_once", "gradual"] | Sequence[float]) -> tuple[float, ...]:
    if switch == "at_once":
        return (100,)
    if switch == "gradual":
        return GRADUAL
    steps = tuple(switch) if not isinstance(switch, str) else ()
    if not steps or steps[-1] != 100 or sorted({*steps, 0}) != [0, *steps]:
        problem = (
            f'switch={shown(switch)} must be "at_once", "gradual", or rising percentages up to 100'
        )
        raise DefinitionError("blue_green", [problem])
    return steps

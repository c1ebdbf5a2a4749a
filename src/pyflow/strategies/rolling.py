"""Rolling: the instances of one service, some at a time, within limits that hold both ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.errors import DefinitionError, RolloutError, shown
from pyflow.strategies.ground import Survey
from pyflow.strategies.measuring import is_comparison
from pyflow.strategies.rollout import BACKOFF, Rollout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyflow.define.policies import OnFailure
    from pyflow.define.workflow import Workflow
    from pyflow.protocols import Platform, Router
    from pyflow.run.context import AsyncContext
    from pyflow.spans import Backoff, Span
    from pyflow.strategies.rollout import Check

__all__ = ["Turn", "rolling", "turns"]


@dataclass(frozen=True, slots=True)
class Turn:
    """How many instances of each version there are, and who gets how much of the traffic."""

    old: int
    """Instances of the old version."""

    new: int
    """Instances of the new version."""

    pct: float
    """The share of the traffic that the new version gets, in percent."""


def rolling(
    service: str,
    version: str,
    *,
    platform: Platform,
    router: Router,
    instances: int,
    max_surge: int = 1,
    max_unavailable: int = 0,
    bake: Span | None = None,
    checks: Sequence[Check] = (),
    ready_within: Span = "10m",
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
    backoff: Backoff = BACKOFF,
) -> Workflow:
    """Return the rolling update to *version*: some instances at a time, each ready before it counts.

    At no time are there more than *instances* + *max_surge* of them, or fewer
    than *instances* - *max_unavailable* that can take traffic, and each
    version gets the share that its instances are of all. A rollback goes back
    the way it came, so both limits hold for it too. Contrast `canary`: there,
    the old version stays at full capacity, and a rollback is one change of
    weights.

    Args:
        service: The service; its lock is ``service:<service>``.
        version: The version to roll out.
        platform: Where instances run.
        router: Who gets the traffic.
        instances: How many instances the service has, before and after.
        max_surge: How many more than that there may be meanwhile.
        max_unavailable: How many fewer may be able to take traffic meanwhile.
        bake: How long to wait after each change of weights.
        checks: What has to be well then; see `canary`.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to; `hold` waits for a person.
        backoff: The waits between tries, and between looks at what is to become ready.

    Raises:
        DefinitionError: An argument makes no sense, or nothing could ever move.
    """
    _check_limits(instances, max_surge, max_unavailable)
    rollout = _Rolling(
        "rolling",
        service=service,
        version=version,
        platform=platform,
        router=router,
        instances=instances,
        ready_within=ready_within,
        check_within=check_within,
        on_failure=on_failure,
        backoff=backoff,
        serving=instances - max_unavailable,
    )
    now = Turn(instances, 0, 0.0)
    for turn in turns(instances, max_surge, max_unavailable):
        if turn.pct != now.pct:
            label = f"{turn.new}_of_{instances}"
            rollout.shift_between(f"shift_{label}", now, turn)
            rollout.judge(f"bake_{label}", bake, f"check_{label}", _checks_at(turn, checks))
        elif turn.new != now.new:
            rollout.resize(f"start_{turn.new}", now, turn)
        else:
            rollout.resize(f"stop_{instances - turn.old}", now, turn)
        now = turn
    return rollout.workflow


def turns(instances: int, max_surge: int, max_unavailable: int) -> Iterator[Turn]:
    """Yield each state of a rolling update in turn; one thing alone differs from the one before."""
    now, serving = Turn(instances, 0, 0.0), instances - max_unavailable
    while now.old or now.new < instances:
        old = max(0, serving - now.new)
        shifted = replace(now, pct=100 * now.new / (now.new + old))
        stopped = replace(shifted, old=old)
        started = replace(stopped, new=min(instances, instances + max_surge - old))
        for turn in (shifted, stopped, started):
            if turn != now:
                yield turn
            now = turn


class _Rolling(Rollout):
    """A rollout whose versions share what it takes to serve all of the traffic."""

    def __init__(self, name: str, *, instances: int, serving: int, **options: Any) -> None:
        self._full = instances
        self._serving = serving
        super().__init__(name, instances=instances, **options)

    def shift_between(self, name: str, now: Turn, turn: Turn) -> None:
        """Have the traffic shared as in *turn*, by instances that are there *now*."""
        self._ladder.append(turn.pct)
        do = partial(self._share, turn=turn, origin=now, back=False)
        self._effect(name, do, partial(self._share, turn=now, origin=turn, back=True))

    def resize(self, name: str, now: Turn, turn: Turn) -> None:
        """Have as many instances as in *turn*, of the one version that has others *now*."""
        do = partial(self._resize, turn=turn, before=now, back=False)
        self._effect(name, do, partial(self._resize, turn=now, before=turn, back=True))

    async def _survey(self) -> Survey:
        found = await super()._survey()
        if found.stable_instances != self._full:
            raise RolloutError(
                f"{self._hands.service}: {found.stable} has {found.stable_instances} instances, and "
                f"instances={self._full}; change the capacity before the version, or after it"
            )
        # What it takes to serve all of the traffic is what has to be available at all times.
        return Survey(found.stable, self._serving, self._serving)

    async def _share(
        self, ctx: AsyncContext, survey: Survey, *, turn: Turn, origin: Turn, back: bool
    ) -> None:
        [target, before] = self._splits(survey, [turn.pct, origin.pct])
        least = {survey.stable: turn.old} if back else {self._hands.version: turn.new}
        await self._hands.shift(ctx, survey, target, origins=[before], capacity=least, back=back)

    async def _resize(
        self, ctx: AsyncContext, survey: Survey, *, turn: Turn, before: Turn, back: bool
    ) -> None:
        is_old = turn.old != before.old
        version = survey.stable if is_old else self._hands.version
        count = turn.old if is_old else turn.new
        await self._scale(ctx, survey, version, count, [turn.pct], back=back)


def _checks_at(turn: Turn, checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if turn.pct < 100 or not is_comparison(check)]


def _check_limits(instances: object, max_surge: object, max_unavailable: object) -> None:
    problems = [
        f"{name}={shown(value)} must be a whole number of {least} or more"
        for name, value, least in (
            ("instances", instances, 1),
            ("max_surge", max_surge, 0),
            ("max_unavailable", max_unavailable, 0),
        )
        if type(value) is not int or value < least
    ]
    if not problems and max_surge == max_unavailable == 0:
        problems = ["max_surge=0 and max_unavailable=0 let nothing ever move; give one of them"]
    elif not problems and max_unavailable >= instances:  # pyright: ignore[reportOperatorIssue]
        problem = (
            f"max_unavailable={max_unavailable} of {instances} instances leave nobody to serve"
        )
        problems = [f"{problem}; give fewer"]
    if problems:
        raise DefinitionError("rolling", problems)

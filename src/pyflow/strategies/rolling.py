"""Rolling: the instances of one service, some at a time, within limits that hold both ways.

A router weighs versions, and cannot take one instance out. So the weights
follow what is ready: before instances go, their share goes to the others, and
at every instant what is ready can serve what it gets. The instance itself is
drained by the platform that stops it, which is what `Platform.scale` promises.
Without a router the numbers of instances are all there is, and the same
limits hold for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pyflow.errors import DefinitionError, RolloutError, shown
from pyflow.strategies.ground import Survey
from pyflow.strategies.measuring import is_comparison
from pyflow.strategies.portions import portion
from pyflow.strategies.rollout import BACKOFF, Rollout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyflow.define.policies import OnFailure
    from pyflow.protocols import Platform, Router
    from pyflow.run.context import AsyncContext
    from pyflow.spans import Backoff, Span
    from pyflow.strategies.outline import Kind, RolloutWorkflow
    from pyflow.strategies.portions import Portion
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
    router: Router | None = None,
    instances: int,
    max_surge: Portion = 1,
    max_unavailable: Portion = 0,
    bake: Span | None = None,
    checks: Sequence[Check] = (),
    ready_within: Span = "10m",
    check_within: Span = "1h",
    on_failure: OnFailure = "rollback",
    backoff: Backoff = BACKOFF,
) -> RolloutWorkflow:
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
        router: Who gets the traffic; None for workers, and wherever whatever is
            ready gets its part. A version's instances are its share then.
        instances: How many instances the service has, before and after.
        max_surge: How many more than that there may be meanwhile: a count, or a
            percentage, rounded up.
        max_unavailable: How many fewer may be able to take traffic meanwhile: a
            count, or a percentage, rounded down.
        bake: How long to wait after each change of shares.
        checks: What has to be well then; see `canary`.
        ready_within: How long instances may take to become ready.
        check_within: How long one check may take.
        on_failure: What a failure leads to; `hold` waits for a person.
        backoff: The waits between tries, and between looks at what is to become ready.

    Raises:
        DefinitionError: An argument makes no sense, or nothing could ever move.
    """
    surge, unavailable = _limits(instances, max_surge, max_unavailable)
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
        serving=instances - unavailable,
    )
    now = Turn(instances, 0, 0.0)
    for turn in turns(instances, surge, unavailable):
        if turn.pct != now.pct:
            label = f"{turn.new}_of_{instances}"
            rollout.share(f"shift_{label}", now, turn)
            made, step = _checks_at(turn, checks), f"step_{label}"
            rollout.judge(f"bake_{label}", bake, f"check_{label}", made, step=step)
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

    def share(self, name: str, now: Turn, turn: Turn) -> None:
        """Have the traffic shared as in *turn*, by instances that are there *now*."""
        self._ladder.append(("", turn.pct))
        if self._hands.router is not None:
            do = partial(self._share, turn=turn, origin=now, back=False)
            self._effect(name, do, partial(self._share, turn=now, origin=turn, back=True))
            what, way_back = f"send it {turn.pct:.3g} % of the traffic", f"{now.pct:.3g} % again"
            self._tell(name, "shift", what, weight_pct=turn.pct, way_back=way_back)

    def resize(self, name: str, now: Turn, turn: Turn) -> None:
        """Have as many instances as in *turn*, of the one version that has others *now*."""
        do = partial(self._resize, turn=turn, before=now, back=False)
        self._effect(name, do, partial(self._resize, turn=now, before=turn, back=True))
        kind: Kind = "deploy" if turn.new != now.new else "retire"
        which = "the new version" if kind == "deploy" else "the old version"
        has, had = (turn.new, now.new) if kind == "deploy" else (turn.old, now.old)
        share = 100 * turn.new / (turn.new + turn.old) if self._hands.router is None else None
        what, way_back = f"have {has} of {which}", f"{had} again"
        self._tell(name, kind, what, weight_pct=share, way_back=way_back)

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
        version = self._hands.version
        name, count = (survey.stable, turn.old) if turn.old != before.old else (version, turn.new)
        await self._hands.scale(
            ctx,
            survey,
            name,
            count,
            weights=self._splits(survey, [turn.pct]),
            back=back,
            most={
                survey.stable: max(turn.old, before.old),
                version: max(turn.new, before.new),
            },
            serving=self._serving,
        )


def _checks_at(turn: Turn, checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if turn.pct < 100 or not is_comparison(check)]


def _limits(instances: object, max_surge: object, max_unavailable: object) -> tuple[int, int]:
    """Return how many instances there may be too many, and too few.

    Raises:
        DefinitionError: One is no number, or they let nothing move, or nobody serve.
    """
    if type(instances) is not int or instances < 1:
        problem = f"instances={shown(instances)} must be a whole number of 1 or more"
        raise DefinitionError("rolling", [problem])
    surge = portion(max_surge, instances)
    unavailable = portion(max_unavailable, instances, up=False)
    problems = [
        f"{name}={shown(given)} must be a count of 0 or more, or a percentage"
        for name, given, found in (
            ("max_surge", max_surge, surge),
            ("max_unavailable", max_unavailable, unavailable),
        )
        if found is None
    ]
    if problems or surge is None or unavailable is None:
        raise DefinitionError("rolling", problems)
    given = f"max_surge={shown(max_surge)} and max_unavailable={shown(max_unavailable)}"
    if surge == unavailable == 0:
        problem = (
            f"{given} of {instances} instances let nothing ever move; give more of one of them"
        )
        raise DefinitionError("rolling", [problem])
    if unavailable >= instances:
        problem = f"{given} of {instances} instances leave nobody to serve; give fewer"
        raise DefinitionError("rolling", [problem])
    return surge, unavailable

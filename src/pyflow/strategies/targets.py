"""One target of a progressive rollout: how it stands, how it is rolled over, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyflow.strategies.effects import Hands
from pyflow.strategies.ground import Survey, counts, is_same, split, surveyed

if TYPE_CHECKING:
    from pyflow.protocols import Platform, Router
    from pyflow.run.context import AsyncContext
    from pyflow.spans import Backoff

__all__ = ["Place", "Standing", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A host, a region, a tenant or a cell: somewhere that a service runs."""

    name: str
    """What it is called; no two are called the same."""

    platform: Platform
    """Where its instances run."""

    router: Router | None = None
    """Who gets its traffic; None for workers, and where whatever is ready gets it."""

    service: str | None = None
    """What the service is called there; None is what the rollout calls it."""

    instances: int | None = None
    """Its full capacity; None is as many as the old version has."""

    criticality: float = 0.0
    """Those that matter more come later."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stood before the rollout."""

    survey: Survey | None
    """What its rollout begins from; None where there is nothing to do, or no way to begin."""

    problem: str | None = None
    """Why it cannot begin there."""


class Place:
    """What a rollout of *version* does at one target: the whole of it, there and back.

    Each step looks before it acts, so both ways can be gone again after a
    crash in the middle of either.
    """

    def __init__(
        self, target: Target, service: str, version: str, *, ready_s: float, backoff: Backoff
    ) -> None:
        self._target = target
        self._hands = Hands(
            target.service or service, version, target.platform, target.router, ready_s, backoff
        )

    async def look(self) -> Survey | None:
        """Return what its rollout begins from, or None where the version is all there is already.

        Raises:
            RolloutError: It cannot begin there.
        """
        hands = self._hands
        state, weights = await hands.look()
        if set(counts(state)) == {hands.version} and is_same(weights, {hands.version: 100.0}):
            return None
        return surveyed(
            hands.service, hands.version, state, weights, instances=self._target.instances
        )

    async def forward(self, ctx: AsyncContext, survey: Survey) -> None:
        """Have the new version beside the old one, then have its traffic, then be all there is.

        Raises:
            RolloutError: A step cannot be taken safely, or did not come about.
            PollTimeout: What was started did not become ready in time.
        """
        hands, most = self._hands, self._most(survey)
        old, new = self._weights(survey)
        serving = survey.instances if hands.router is None else 0  # else the shift has looked
        await hands.scale(
            ctx, survey, hands.version, survey.instances, weights=[old, new], most=most
        )
        if hands.router is not None:
            capacity = {hands.version: survey.instances}
            await hands.shift(ctx, survey, new, origins=[old], capacity=capacity)
        await hands.scale(ctx, survey, survey.stable, 0, weights=[new], most=most, serving=serving)

    async def back(self, ctx: AsyncContext, survey: Survey) -> None:
        """Have the old version as it was, then have its traffic, then take the new one away.

        Raises:
            RolloutError: A step cannot be taken safely, or did not come about.
            PollTimeout: The old version did not become ready in time.
        """
        hands, most, full = self._hands, self._most(survey), survey.stable_instances
        old, new = self._weights(survey)
        serving = full if hands.router is None else 0
        await hands.scale(
            ctx, survey, survey.stable, full, weights=[old, new], most=most, back=True
        )
        if hands.router is not None:
            capacity = {survey.stable: full}
            await hands.shift(ctx, survey, old, origins=[new], capacity=capacity, back=True)
        await hands.scale(
            ctx, survey, hands.version, 0, weights=[old], most=most, serving=serving, back=True
        )

    def _most(self, survey: Survey) -> dict[str, int]:
        return {survey.stable: survey.stable_instances, self._hands.version: survey.instances}

    def _weights(self, survey: Survey) -> list[dict[str, float]]:
        return [split(survey.stable, self._hands.version, pct) for pct in (0, 100)]

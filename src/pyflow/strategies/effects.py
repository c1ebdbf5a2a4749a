"""The effects of every rollout: look, act, look again, and record what changed.

Both effects can be made again at any time, after a crash in the middle of
them too: they look before they act, and what is so already is left alone. A
single look is never enough to do nothing: a stale answer looks like success.
Tries are bounded; what was there at the last look is in the error.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow import probes
from pyflow.errors import ForeignChange, PollTimeout, RolloutError, Unconfirmed, shown
from pyflow.protocols import ServiceState
from pyflow.strategies.ground import baseline_of, counts, is_same, left, needed, ready, shares

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pyflow.protocols import Platform, Probe, Router
    from pyflow.run.context import AsyncContext
    from pyflow.spans import Backoff
    from pyflow.strategies.ground import Survey

__all__ = ["Hands"]

TRIES = 7
CALL_S = 30.0
LOOKS_AGREED = 2


@dataclass(frozen=True, slots=True)
class Hands:
    """What a rollout of one version acts with."""

    service: str
    """The service."""

    version: str
    """The version that is rolled out."""

    platform: Platform
    """Where its instances run."""

    router: Router | None
    """Who gets its traffic; None where its work is split among what is ready, as workers do."""

    ready_s: float
    """How long instances may take to become ready, in seconds."""

    backoff: Backoff
    """The waits between tries, and between looks at what is to become ready."""

    fresh: bool = False
    """Whether fresh instances of the old version may run beside the new one."""

    # Capacity -----------------------------------------------------------------------------

    async def scale(
        self,
        ctx: AsyncContext,
        survey: Survey,
        version: str,
        instances: int,
        *,
        weights: Sequence[Mapping[str, float]],
        back: bool = False,
        most: Mapping[str, int] | None = None,
        serving: int = 0,
    ) -> None:
        """Have *instances* instances of *version*, all of them ready.

        Args:
            ctx: The task's.
            survey: What the rollout began from.
            version: The old version, or the new one.
            instances: How many; never fewer than its present weight needs.
            weights: Those that this rollout may have left; anything else is somebody else's.
            back: Whether this takes back what the task did; see `shift`.
            most: How many instances of each version this rollout may have left; more
                are somebody else's. Fewer are not, for instances die.
            serving: How many instances, of both versions together, have to be ready
                once those that are too many are gone.

        Raises:
            ForeignChange: Versions, weights or numbers are none that this rollout left.
            PollTimeout: They did not become ready in time.
            RolloutError: It still gets too much traffic for that.
            Unconfirmed: It did not come about.
        """
        change = _Change(ctx, f"{self.service} instances {version}", instances)

        seen = ServiceState(self.service, (), "")

        async def attempt() -> bool:
            nonlocal seen
            have = counts(await self._state(survey, most)).get(version, 0)
            if have != instances or change.is_doubted(back=back):
                self._check_enough(survey, version, instances, await self._known_weights(weights))
                if serving and instances <= have:
                    await self.wait_serving(ctx, version, instances, serving, back=back)
                change.begin(have)
                await self._call(self.platform.scale(self.service, version, instances))
            seen = await self._state(survey, most)
            return counts(seen).get(version, 0) == instances

        await self._until(ctx, attempt, f"{instances} instances of {version}")
        change.end()
        if ready(seen, version) < instances:
            await ctx.sleep(self.backoff.delay_s(1, 1.0))
            await self.wait_ready(ctx, version, instances, looks=1)  # a shift looks again

    async def wait_ready(
        self, ctx: AsyncContext, version: str, instances: int, *, looks: int
    ) -> None:
        """Wait until *instances* of *version* have been ready *looks* times in a row.

        Raises:
            PollTimeout: They did not become so in time.
        """

        async def enough() -> bool:
            return ready(await self._observe(), version) >= instances

        await self._wait(ctx, f"{instances} of {version} are ready", enough, looks=looks)

    async def wait_serving(
        self, ctx: AsyncContext, version: str, instances: int, serving: int, *, back: bool
    ) -> None:
        """Wait until *serving* instances are ready beside what goes if *version* keeps *instances*.

        Raises:
            PollTimeout: They did not become so in time.
        """

        async def enough() -> bool:
            return left(await self._observe(), version, instances, back=back) >= serving

        name = f"{serving} are ready without what goes of {version}"
        await self._wait(ctx, name, enough, looks=LOOKS_AGREED)

    async def _wait(
        self, ctx: AsyncContext, name: str, enough: Callable[[], Awaitable[bool]], *, looks: int
    ) -> None:
        probe: Probe = probes.Callable(enough, name=name, timeout=CALL_S)
        if looks > 1:
            probe = probes.consistently(probe, times=looks, interval="1s")
        await ctx.poll(probe, backoff=self.backoff, timeout=self.ready_s)

    def _check_enough(
        self, survey: Survey, version: str, instances: int, weights: Mapping[str, float]
    ) -> None:
        """Check that *instances* are enough for what *version* gets: weight goes down before capacity."""
        weight = weights.get(version, 0.0)
        full = survey.stable_instances if version == survey.stable else survey.instances
        if needed(full, weight) > instances:
            raise RolloutError(
                f"{self.service}: {version} still gets {weight:g} % of the traffic, and "
                f"{instances} instances are too few for that"
            )

    # Weights ------------------------------------------------------------------------------

    async def shift(
        self,
        ctx: AsyncContext,
        survey: Survey,
        target: Mapping[str, float],
        *,
        origins: Sequence[Mapping[str, float]],
        capacity: Mapping[str, int],
        back: bool = False,
    ) -> None:
        """Have the weights *target*, coming from one of *origins*.

        On the way *back* no look is trusted to say that there is nothing to do:
        what the task has begun to change is set once more, and capacity is
        looked at twice. A router whose answers are old would otherwise say
        that all is as before, and the new version be taken away under traffic.

        Args:
            ctx: The task's.
            survey: What the rollout began from.
            target: What is to be.
            origins: What this rollout may have left; anything else is somebody else's.
            capacity: How many instances have to be ready of each version that gets more.
            back: Whether this takes back what the task did.

        Raises:
            ForeignChange: Versions or weights are none that this rollout left.
            PollTimeout: A version that is to get more did not become ready in time.
            Unconfirmed: It did not come about.
        """
        change = _Change(ctx, f"{self.service} weights", dict(target))

        async def attempt() -> bool:
            seen = await self._known_weights([target, *origins])
            if not is_same(seen, target) or change.is_doubted(back=back):
                short = self._short(await self._state(survey), seen, target, capacity)
                for version in capacity if back else short:
                    await self.wait_ready(ctx, version, capacity[version], looks=LOOKS_AGREED)
                change.begin(seen)
                await self._call(self._routed.set_weights(self.service, dict(target)))
            return is_same(await self._weights(), target)

        await self._until(ctx, attempt, f"the weights {shown(dict(target))}")
        change.end()

    def _short(
        self,
        state: ServiceState,
        seen: Mapping[str, float],
        target: Mapping[str, float],
        capacity: Mapping[str, int],
    ) -> list[str]:
        """Return what is to get more than is *seen*, and does not have the *capacity* for it."""
        rising = [version for version in target if target[version] > seen.get(version, 0.0)]
        return [version for version in rising if ready(state, version) < capacity[version]]

    async def _known_weights(self, known: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return the weights, if they are among the *known* ones; none where nobody weighs."""
        if self.router is None:
            return {}
        seen = await self._weights()
        if not any(is_same(seen, one) for one in known):
            last = dict(known[-1])
            raise ForeignChange(self.service, what="the weights", seen=seen, expected=last)
        return seen

    # Asking -------------------------------------------------------------------------------

    async def look(self) -> tuple[ServiceState, dict[str, float]]:
        """Return what runs, and who gets the traffic: without a router, each as it has instances."""
        state = await self._observe()
        return state, shares(state) if self.router is None else await self._weights()

    async def _state(self, survey: Survey, most: Mapping[str, int] | None = None) -> ServiceState:
        """Return what runs, if this rollout knows all of it."""
        state = await self._observe()
        ours = [survey.stable, self.version] + [baseline_of(survey.stable)] * self.fresh
        found, known = sorted(counts(state)), sorted(ours)
        if not set(found) <= set(known):
            raise ForeignChange(self.service, what="the versions", seen=found, expected=known)
        if most is not None and any(n > most[name] for name, n in counts(state).items()):
            seen = counts(state)
            raise ForeignChange(self.service, what="the instances", seen=seen, expected=dict(most))
        return state

    async def _observe(self) -> ServiceState:
        return await self._call(self.platform.observe(self.service))

    async def _weights(self) -> dict[str, float]:
        found = await self._call(self._routed.weights(self.service))
        return {version: float(weight) for version, weight in found.items() if weight}

    @property
    def _routed(self) -> Router:
        assert self.router is not None, "nothing shifts weights without a router"
        return self.router

    async def _call(self, call: Awaitable[Any]) -> Any:
        async with asyncio.timeout(CALL_S):
            return await call

    async def _until(
        self, ctx: AsyncContext, attempt: Callable[[], Awaitable[bool]], what: str
    ) -> None:
        """Make *attempt* until it says that *what* is so, a bounded number of times.

        Raises:
            RolloutError: The last try said that it must not be made.
            Unconfirmed: It did not come about; the text says what is there now.
        """
        trouble: Exception | None = None
        for number in range(1, TRIES + 1):
            try:
                if await attempt():
                    return
                trouble = None
            except PollTimeout:
                raise  # that has been waited for already
            except Exception as error:  # noqa: BLE001 - every other trouble is worth another try
                trouble = error
            if 1 < number < TRIES:  # the second try comes at once: most troubles are one answer
                await ctx.sleep(self.backoff.delay_s(number - 1, 1.0))
        if isinstance(trouble, RolloutError):
            raise trouble
        there = await self._described()
        reason = "" if trouble is None else f": {trouble or shown(trouble)}"
        raise Unconfirmed(
            f"{self.service}: after {TRIES} tries there are not {what}{reason}. {there}"
        ) from trouble

    async def _described(self) -> str:
        """Return what is there, in words, as far as anybody answers."""
        said: list[str] = []
        asked = [("instances", self._observe), ("weights", self._weights)]
        for name, ask in asked if self.router is not None else asked[:1]:
            try:
                found = await ask()
                what = counts(found) if name == "instances" else found  # type: ignore[arg-type]
                said.append(f"{name} are {shown(what)}")
            except Exception as error:  # noqa: BLE001 - said as it is
                said.append(f"{name} are unknown ({shown(error)})")
        return f"Now {' and '.join(said)}."


class _Change:
    """What one effect changes, for the record; it outlives a crash between the effect and its record."""

    def __init__(self, ctx: AsyncContext, what: str, after: object) -> None:
        self._ctx = ctx
        self._what = what
        self._after = after
        self._key = f"before {what} was {shown(after)}"

    def is_doubted(self, *, back: bool) -> bool:
        """Whether what the task has begun has to be taken back, whatever is seen; once."""
        return back and bool(self._ctx.checkpoints) and self._key not in self._ctx.checkpoints

    def begin(self, before: object) -> None:
        """Note what was seen before the effect, unless an earlier try has."""
        if self._key not in self._ctx.checkpoints:
            self._ctx.checkpoint(self._key, before)

    def end(self) -> None:
        """Record the change, if there was one: what was seen before, and what is seen now."""
        if self._key in self._ctx.checkpoints:
            before = self._ctx.checkpoints[self._key]
            if before == self._after:
                return
            self._ctx.record_change(self._what, before=before, after=self._after)

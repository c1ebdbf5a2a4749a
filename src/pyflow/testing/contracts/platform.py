"""What every `Platform` has to keep."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyflow.errors import DefinitionError, shown
from pyflow.protocols import Instance, ServiceState
from pyflow.record.values import encode
from pyflow.spans import Span, seconds
from pyflow.testing.contracts.rules import (
    GUARD_S,
    check_async_rules,
    check_text,
    expect_a,
    expect_refusal,
    pause_s,
    same,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pyflow.protocols import Platform

__all__ = ["check_platform"]

SETTLINGS_MAX = 4
"""How often one rule waits for the platform to settle, at most."""


@dataclass(frozen=True, slots=True)
class _World:
    """What there is on the platform, and how fast it is."""

    service: str
    version: str
    settle_s: float
    most: int


async def check_platform(
    make: Callable[[], Platform],
    *,
    service: str,
    version: str,
    settle: Span = "10m",
    most: int = 3,
) -> None:
    """Check that a platform keeps what `Platform` promises.

    *version* is scaled up, down, and at the very end to none, so it may be one platform that each call of *make* returns. Nobody
    else may change the service meanwhile.

    Args:
        make: Returns a platform at each call. If another version of the
            service runs there, it is checked that it is left alone.
        service: The service to scale.
        version: The version of it to scale.
        settle: How long the platform may take until what it accepted is true.
        most: How many instances it can have, at most; 1 or more.

    Raises:
        AssertionError: Names every rule that is broken, and how.
        DefinitionError: An argument makes no sense, which is no fault of the platform.
    """
    settle_s = seconds(settle, what="settle=")
    check_text(service, "service=")
    check_text(version, "version=")
    if type(most) is not int or most < 1:
        raise DefinitionError("most=", [f"{shown(most)} instances; give a whole number from 1"])
    world = _World(service, version, settle_s, most)
    guard_s = GUARD_S + SETTLINGS_MAX * settle_s
    await check_async_rules(_RULES, make, world, guard_s=guard_s)


async def _observes(platform: Platform, world: _World) -> None:
    """`observe` returns the `ServiceState` of the service that it was asked about."""
    state = expect_a(ServiceState, await platform.observe(world.service))
    same(state.service, world.service)


async def _lists_instances(platform: Platform, world: _World) -> None:
    """The instances are a tuple of `Instance`s, each with an id of its own."""
    state = await _scaled(platform, world, min(2, world.most))
    expect_a(tuple, state.instances)
    ids = [expect_a(Instance, instance).id for instance in state.instances]
    same(sorted(ids), sorted(set(ids)))


async def _can_be_recorded(platform: Platform, world: _World) -> None:
    """What is observed before and after an effect can be recorded as a change, as JSON data."""
    for instances in dict.fromkeys((1, min(2, world.most))):
        state = await _scaled(platform, world, instances)
        encode(dataclasses.asdict(state), "state")
        expect_a(str, state.generation)
        for instance in state.instances:
            expect_a(str, instance.id)
            expect_a(str, instance.version)
            expect_a(bool, instance.ready)


async def _scales(platform: Platform, world: _World) -> None:
    """After `scale` there come to be exactly that many instances, all of them ready."""
    for instances in dict.fromkeys(min(n, world.most) for n in (1, 3, 2)):
        await _scaled(platform, world, instances)


async def _scales_once(platform: Platform, world: _World) -> None:
    """Asking for what already is keeps the instances and the generation."""
    before = await _scaled(platform, world, min(2, world.most))
    await platform.scale(world.service, world.version, min(2, world.most))

    await _expect_still(platform, world, before)


async def _tells_changes(platform: Platform, world: _World) -> None:
    """The generation changes when the service does."""
    fewer = min(1, world.most - 1)
    few = await _scaled(platform, world, fewer)
    more = await _scaled(platform, world, fewer + 1)
    if few.generation == more.generation:
        raise AssertionError(f"{fewer} and {fewer + 1} instances are both {shown(few.generation)}")


async def _only_looks(platform: Platform, world: _World) -> None:
    """Observing changes nothing: two looks at what has settled are equal."""
    await _expect_still(platform, world, await _scaled(platform, world, 1))


async def _refuses_negative_numbers(platform: Platform, world: _World) -> None:
    """A negative number of instances is refused, and changes nothing."""
    before = await _scaled(platform, world, 1)
    await expect_refusal(platform.scale(world.service, world.version, -1), "-1 instances")

    await _expect_still(platform, world, before)


async def _leaves_others(platform: Platform, world: _World) -> None:
    """Other versions are left alone."""
    before = _others(await platform.observe(world.service), world)
    for instances in (min(2, world.most), 0):
        same(_others(await _scaled(platform, world, instances), world), before)


async def _removes(platform: Platform, world: _World) -> None:
    """Scaling to zero removes the version."""
    await _scaled(platform, world, min(2, world.most))
    await _scaled(platform, world, 0)


async def _scaled(platform: Platform, world: _World, instances: int) -> ServiceState:
    """Scale, and return what is observed once that has come about."""

    def problem(state: ServiceState) -> str | None:
        mine = [i for i in state.instances if i.version == world.version]
        ready = sum(i.ready for i in mine)
        if (len(mine), ready) == (instances, instances):
            return None
        return f"{len(mine)} instances ran and {ready} were ready, expected {instances}"

    await platform.scale(world.service, world.version, instances)
    return await settled(lambda: platform.observe(world.service), problem, settle_s=world.settle_s)


async def _expect_still(platform: Platform, world: _World, before: ServiceState) -> None:
    for wait_s in (0.0, pause_s(world.settle_s)):
        await asyncio.sleep(wait_s)
        state = await platform.observe(world.service)
        same(state.instances, before.instances)
        same(state.generation, before.generation)


def _others(state: ServiceState, world: _World) -> list[str]:
    return [i.id for i in state.instances if i.version != world.version]


_RULES: tuple[Callable[[Platform, _World], Coroutine[Any, Any, None]], ...] = (
    _observes,
    _lists_instances,
    _can_be_recorded,
    _scales,
    _scales_once,
    _tells_changes,
    _only_looks,
    _refuses_negative_numbers,
    _leaves_others,
    _removes,
)
"""The last one leaves nothing of the version behind."""

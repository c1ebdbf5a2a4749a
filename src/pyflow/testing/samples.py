"""Samples: a rollout by each strategy, and a world in which it can be tried.

They stand behind the fixtures of the pytest plugin. Tests of code that starts,
watches or reports rollouts need one, and seldom care which service it moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pyflow.strategies import (
    Service,
    StateChange,
    Target,
    blue_green,
    canary,
    progressive,
    release_train,
    rolling,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyflow.strategies import RolloutWorkflow
    from pyflow.testing.world import World

__all__ = ["SAMPLES", "Sample"]

OLD, NEW = "1.0", "2.0"


class Maker(Protocol):
    """Makes a rollout in a world that has a shop; *options* are those of its strategy."""

    def __call__(self, world: World, /, **options: Any) -> RolloutWorkflow: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """A rollout of a shop from 1.0 to 2.0, and the `World` in which it runs."""

    world: World
    """Where it runs: a shop of four instances, under 200 requests a second."""

    maker: Maker
    """Makes the rollout."""

    @property
    def workflow(self) -> RolloutWorkflow:
        """The rollout, made anew at each look."""
        return self.make()

    def make(self, **options: Any) -> RolloutWorkflow:
        """Return the rollout with more *options* of its strategy; as it is, a factory for `explore`."""
        return self.maker(self.world, **options)

    @classmethod
    def of(cls, strategy: str, world: World) -> Sample:
        """Return the sample of *strategy* in *world*, to which it adds the services that it needs.

        Raises:
            KeyError: There is no sample of that name.
        """
        maker, services = SAMPLES[strategy], {"shop": 4, **BESIDE.get(strategy, {})}
        for name, instances in services.items():
            if name not in world.services:
                world.service(name, version=OLD, instances=instances)
                world.release(name, NEW, startup="30s")
                world.traffic(name, rps=50 * instances)
        return cls(world, maker)


def _blue_green(world: World, /, **options: Any) -> RolloutWorkflow:
    given: dict[str, Any] = {
        "preview_checks": [world.probe("shop", NEW)],
        "bake": "5m",
        **_ports(world),
    }
    return blue_green("shop", NEW, **{**given, **options})


def _canary(world: World, /, **options: Any) -> RolloutWorkflow:
    given: dict[str, Any] = {"steps": [25, 50, 100], "bake": "5m", **_ports(world)}
    return canary("shop", NEW, **{**given, **options})


def _rolling(world: World, /, **options: Any) -> RolloutWorkflow:
    given: dict[str, Any] = {"instances": 4, "max_surge": 2, "bake": "5m", **_ports(world)}
    return rolling("shop", NEW, **{**given, **options})


def _progressive(world: World, /, **options: Any) -> RolloutWorkflow:
    targets = [
        Target(name, **_ports(world), service=service)
        for name, service in (("west", "shop_west"), ("east", "shop_east"), ("home", "shop"))
    ]
    given: dict[str, Any] = {"targets": targets, "waves": [1, 2, 3], "bake": "5m"}
    return progressive("shop", NEW, **{**given, **options})


def _release_train(world: World, /, **options: Any) -> RolloutWorkflow:
    async def migrate() -> None:
        await _put(world, 1)

    async def migrate_back() -> None:
        await _put(world, 0)

    ports = _ports(world)
    given: dict[str, Any] = {
        "services": [
            Service(blue_green("api", NEW, **ports), depends_on=["schema"]),
            Service(blue_green("shop", NEW, **ports), depends_on=["api"]),
        ],
        "changes": [StateChange("schema", migrate, migrate_back, on_interrupt="rerun")],
        "bake": "5m",
    }
    return release_train(**{**given, **options})


async def _put(world: World, version: int) -> None:
    """Have *version* of the schema, and look whether it is there."""
    world.schema_version = version
    if world.schema_version != version:
        raise RuntimeError(f"the schema is {world.schema_version}, not {version}")


def _ports(world: World) -> dict[str, Any]:
    return {"platform": world.platform, "router": world.router}


SAMPLES: Mapping[str, Maker] = {
    "blue_green": _blue_green,
    "canary": _canary,
    "progressive": _progressive,
    "release_train": _release_train,
    "rolling": _rolling,
}
"""How the rollout of each sample is made, by its strategy."""

BESIDE: Mapping[str, Mapping[str, int]] = {
    "progressive": {"shop_west": 2, "shop_east": 2},
    "release_train": {"api": 2},
}
"""What services a sample needs beside the shop, and of how many instances."""

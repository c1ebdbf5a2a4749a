"""A shop for rollouts to be tried in, and every strategy in its canonical form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pyflow
from pyflow.strategies import (
    RolloutWorkflow,
    Target,
    blue_green,
    canary,
    progressive,
    release_train,
    rolling,
)
from pyflow.testing import World

OLD, NEW = "1.0", "2.0"
INSTANCES = 4
BEFORE = {"shop instances 1.0": INSTANCES, "shop weight 1.0": 100.0, "schema version": 0}
AFTER = {"shop instances 2.0": INSTANCES, "shop weight 2.0": 100.0, "schema version": 0}
Make = Callable[..., RolloutWorkflow]


def open_shop(*, routed: bool = True, **release: Any) -> World:
    """Return a shop that runs the old version under traffic."""
    world = World()
    world.service("shop", version=OLD, instances=INSTANCES, routed=routed)
    given: dict[str, Any] = {"startup": "30s", **release}
    world.release("shop", NEW, **given)
    world.traffic("shop", rps=200)
    return world


def make_blue_green(world: World, **options: Any) -> RolloutWorkflow:
    given: dict[str, Any] = {"preview_checks": [world.probe("shop", NEW)], "bake": "1m"}
    ports = {"platform": world.platform, "router": world.router}
    return blue_green("shop", NEW, **ports, **{**given, **options})


def make_canary(world: World, **options: Any) -> RolloutWorkflow:
    given: dict[str, Any] = {"steps": [25, 50, 100], "bake": "1m"}
    ports = {"platform": world.platform, "router": world.router}
    return canary("shop", NEW, **ports, **{**given, **options})


def make_release_train(
    world: World,
    *,
    bake: Any = "1m",
    checks: Any = (),
    on_failure: Any = "rollback",
    **options: Any,
) -> RolloutWorkflow:
    """Return a train of one service, so that what holds for every strategy can be held against it."""
    shop = make_blue_green(world, **{"bake": None, "on_failure": on_failure, **options})
    return release_train(services=[shop], bake=bake, checks=checks, on_failure=on_failure)


def make_rolling(world: World, **options: Any) -> RolloutWorkflow:
    router = world.router if world.services["shop"].routed else None
    given: dict[str, Any] = {"instances": INSTANCES, "max_surge": 2, "bake": "1m"}
    ports = {"platform": world.platform, "router": router}
    return rolling("shop", NEW, **ports, **{**given, **options})


def make_progressive(world: World, **options: Any) -> RolloutWorkflow:
    """Return a rollout over a depot, in a world of its own without trouble, and then the shop."""
    depot = World()
    depot.service("depot", version=OLD, instances=1)
    targets = [
        Target("shop", world.platform, world.router, criticality=1),
        Target("depot", depot.platform, depot.router, service="depot"),
    ]
    given: dict[str, Any] = {"waves": [1, 2], "bake": "1m", **options}
    return progressive("shop", NEW, targets=targets, **given)


STRATEGIES: dict[str, Make] = {
    "blue_green": make_blue_green,
    "canary": make_canary,
    "progressive": make_progressive,
    "rolling": make_rolling,
    "release_train": make_release_train,
}
WARM = ("blue_green", "canary")
"""Those that keep all of the old version to the very end, so that the way back is one change."""
CHECKS = {
    "blue_green": "post_checks",
    "canary": "checks",
    "progressive": "checks",
    "rolling": "checks",
    "release_train": "checks",
}
"""What the checks under traffic are called."""
LATE = {"progressive": {"waves": [2]}}
"""What else it takes to have the shop changed before the first check."""
EFFECTS = {
    "blue_green": ("deploy_preview#1 platform.scale#1", "switch#1 router.set_weights#1"),
    "canary": ("scale_25#1 platform.scale#1", "shift_25#1 router.set_weights#1"),
    "progressive": ("roll_shop#1 platform.scale#1", "roll_shop#1 router.set_weights#1"),
    "rolling": ("start_2#1 platform.scale#1", "shift_2_of_4#1 router.set_weights#1"),
    "release_train": (
        "shop.deploy_preview#1 platform.scale#1",
        "shop.switch#1 router.set_weights#1",
    ),
}
"""The points at which capacity and weight are changed for the first time."""


def at(span_s: float, do: Callable[[pyflow.Run], object]) -> Callable[[pyflow.Run], Any]:
    """Return an operator who does something after a while."""

    async def operator(run: pyflow.Run) -> None:
        await asyncio.sleep(span_s)
        do(run)

    return operator


def roll_back(run: pyflow.Run) -> None:
    run.roll_back(by="ann", reason="it looks bad")


def decide(then: str, *, after_s: float = 0) -> Callable[[pyflow.Run], Any]:
    """Return an operator who says what is to be done about what a run is held for."""

    async def operator(run: pyflow.Run) -> None:
        held = await run
        assert held.status == "held"
        assert held.metrics.wall_s < 300
        await asyncio.sleep(after_s)
        [task] = [name for name, task in held.tasks.items() if task.status == "failed"]
        if then == "retry":
            run.retry(task, by="ann")
        else:
            run.roll_back(by="ann")

    return operator

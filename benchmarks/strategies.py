"""Every shipped strategy in its canonical form, under all single faults and all pairs of them.

python benchmarks/strategies.py [canary | blue_green | progressive | rolling | ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from pyflow import Backoff, Workflow
from pyflow.strategies import Target, blue_green, canary, progressive, rolling
from pyflow.testing import World, explore

LIMIT_S = 60
BACKOFF = Backoff("30s", factor=1, jitter=0)


def ports(world: World) -> dict[str, Any]:
    return {"platform": world.platform, "router": world.router, "backoff": BACKOFF}


def open_shops(*names: str, instances: int, routed: bool = True) -> World:
    world = World()
    for name in names:
        world.service(name, version="1.0", instances=instances, routed=routed)
        world.release(name, "2.0", startup="30s")
        world.traffic(name, rps=50 * instances)
    return world


def make_progressive(world: World) -> Workflow:
    targets = [
        Target(name, world.platform, world.router if one.routed else None, service=name)
        for name, one in world.services.items()
    ]
    return progressive("shop", "2.0", targets=targets, waves=[1, 2, 3], backoff=BACKOFF)


def make_rolling(world: World) -> Workflow:
    given = ports(world)
    if not world.services["shop"].routed:
        del given["router"]
    return rolling("shop", "2.0", **given, instances=3)


STRATEGIES: dict[str, tuple[World, Callable[[World], Workflow]]] = {
    "blue_green": (
        open_shops("shop", instances=4),
        lambda world: blue_green(
            "shop",
            "2.0",
            **ports(world),
            preview_checks=[world.probe("shop", "2.0")],
            bake="1m",
        ),
    ),
    "canary": (
        open_shops("shop", instances=4),
        lambda world: canary("shop", "2.0", **ports(world), steps=[25, 50, 100]),
    ),
    "progressive": (open_shops("ap", "eu", "us", instances=2), make_progressive),
    "progressive_workers": (
        open_shops("ap", "eu", "us", instances=2, routed=False),
        make_progressive,
    ),
    "rolling": (open_shops("shop", instances=3), make_rolling),
    "rolling_workers": (open_shops("shop", instances=3, routed=False), make_rolling),
}


def main() -> None:
    """Explore each, print the counts, and end with 1 where something is not safe."""
    unsafe: list[str] = []
    for name in sys.argv[1:] or STRATEGIES:
        world, make = STRATEGIES[name]
        report = explore(lambda make=make, world=world: make(world), world=world, faults=2)
        print(report)
        print(f"  bar      {report.elapsed_s:.0f} s of {LIMIT_S} s\n")
        unsafe += [] if report.ok else [name]
    sys.exit(f"not safe: {', '.join(unsafe)}" if unsafe else 0)


if __name__ == "__main__":
    main()

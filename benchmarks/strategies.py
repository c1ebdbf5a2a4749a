"""Every shipped strategy in its canonical form, under all single faults and all pairs of them.

python benchmarks/strategies.py [canary | blue_green | release_train]
"""

from __future__ import annotations

import sys
from typing import Any

from pyflow import Backoff, Workflow
from pyflow.strategies import Service, StateChange, blue_green, canary, release_train
from pyflow.testing import World, explore

LIMIT_S = 60


def make_train(world: World, ports: dict[str, Any]) -> Workflow:
    """Return a schema, the api that needs it, and the shop that needs that, as one train."""

    async def put(version: int) -> None:
        world.schema_version = version
        if world.schema_version != version:
            raise RuntimeError("the schema is another one")

    async def migrate() -> None:
        await put(1)

    async def migrate_back() -> None:
        await put(0)

    return release_train(
        services=[
            Service(blue_green("api", "2.0", **ports), depends_on=["schema"]),
            Service(blue_green("shop", "2.0", **ports), depends_on=["api"]),
        ],
        changes=[StateChange("schema", migrate, migrate_back, on_interrupt="rerun")],
    )


STRATEGIES = {
    "blue_green": lambda world, ports: blue_green(
        "shop", "2.0", **ports, preview_checks=[world.probe("shop", "2.0")], bake="1m"
    ),
    "canary": lambda _, ports: canary("shop", "2.0", **ports, steps=[25, 50, 100]),
    "release_train": make_train,
}


def main() -> None:
    """Explore each, print the counts, and end with 1 where something is not safe."""
    unsafe: list[str] = []
    for name in sys.argv[1:] or STRATEGIES:
        world = World()
        world.service("shop", version="1.0", instances=4)
        world.release("shop", "2.0", startup="30s")
        world.traffic("shop", rps=200)
        if name == "release_train":
            world.service("api", version="1.0", instances=2)
            world.release("api", "2.0", startup="30s")
            world.traffic("api", rps=100)
        ports: dict[str, Any] = {
            "platform": world.platform,
            "router": world.router,
            "backoff": Backoff("30s", factor=1, jitter=0),
        }

        def make(name: str = name, world: World = world, ports: Any = ports) -> Workflow:
            return STRATEGIES[name](world, ports)

        report = explore(make, world=world, faults=2)
        print(report)
        print(f"  bar      {report.elapsed_s:.0f} s of {LIMIT_S} s\n")
        unsafe += [] if report.ok else [name]
    sys.exit(f"not safe: {', '.join(unsafe)}" if unsafe else 0)


if __name__ == "__main__":
    main()

"""Every shipped strategy in its canonical form, under all single faults and all pairs of them.

python benchmarks/strategies.py [canary | blue_green]
"""

from __future__ import annotations

import sys
from typing import Any

from pyflow import Backoff, Workflow
from pyflow.strategies import blue_green, canary
from pyflow.testing import World, explore

LIMIT_S = 60
STRATEGIES = {
    "blue_green": lambda world, ports: blue_green(
        "shop", "2.0", **ports, preview_checks=[world.probe("shop", "2.0")], bake="1m"
    ),
    "canary": lambda _, ports: canary("shop", "2.0", **ports, steps=[25, 50, 100]),
}


def main() -> None:
    """Explore each, print the counts, and end with 1 where something is not safe."""
    unsafe: list[str] = []
    for name in sys.argv[1:] or STRATEGIES:
        world = World()
        world.service("shop", version="1.0", instances=4)
        world.release("shop", "2.0", startup="30s")
        world.traffic("shop", rps=200)
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

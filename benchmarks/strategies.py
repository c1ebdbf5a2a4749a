"""Every shipped strategy in its canonical form, under all single faults and all pairs of them.

python benchmarks/strategies.py [--processes N] [canary | blue_green | progressive | ...]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyflow import Backoff, Workflow
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
from pyflow.testing import Exploration, Explored, World, explore

LIMIT_S = 60
OLD, NEW = "1.0", "2.0"
BACKOFF = Backoff("30s", factor=1, jitter=0)
Invariant = Callable[[Explored], object]


@dataclass(frozen=True)
class Case:
    """A rollout, the world in which it runs, and what has to hold besides."""

    world: World
    make: Callable[[World], Workflow]
    invariants: Sequence[Invariant] = ()

    def explore(self, processes: int) -> Exploration:
        """Explore it under all pairs of faults, to the end."""
        return explore(
            lambda: self.make(self.world),
            world=self.world,
            faults=2,
            invariants=self.invariants,
            find_all=True,
            processes=processes,
        )


def ports(world: World) -> dict[str, Any]:
    return {"platform": world.platform, "router": world.router, "backoff": BACKOFF}


def open_shops(
    *names: str, instances: int, routed: bool = True, broken: Sequence[str] = ()
) -> World:
    """Return a world of shops; in *broken* ones the new version does not start."""
    world = World()
    for name in names:
        world.service(name, version=OLD, instances=instances, routed=routed)
        world.release(name, NEW, startup="30s", starts=name not in broken)
        world.traffic(name, rps=50 * instances)
    return world


def make_canary(world: World) -> Workflow:
    """Return a canary that bakes, so that people can skip a bake, and promote."""
    return canary("shop", NEW, **ports(world), steps=[25, 50, 100], bake="1m")


def make_checked_canary(world: World) -> Workflow:
    probe = world.probe("shop", NEW)
    return canary("shop", NEW, **ports(world), steps=[25, 50, 100], bake="1m", checks=[probe])


def make_progressive(world: World, **options: Any) -> Workflow:
    targets = [
        Target(name, world.platform, world.router if one.routed else None, service=name)
        for name, one in world.services.items()
    ]
    given: dict[str, Any] = {"waves": [1, 2, 3], "backoff": BACKOFF, **options}
    return progressive("shop", NEW, targets=targets, **given)


def make_wave(world: World) -> Workflow:
    """Return a rollout of which a wave that fails is taken back, and no other."""
    return make_progressive(world, waves=[1, 2], abort_scope="wave")


def make_tolerating(world: World) -> Workflow:
    """Return a rollout that goes on where one target has failed, and is left behind."""
    return make_progressive(world, waves=[1, 2], tolerate=1)


def serves_the_old(name: str, status: str) -> Invariant:
    """Return the invariant of a target at which the new version does not start."""

    def is_not_forgotten(run: Explored) -> bool:
        """A target at which the new version does not start is served by the old one."""
        kinds = {fault.kind for fault in run.faults}
        if "lies" in kinds and "stale" in kinds:
            return True  # who wrote was lied to, and so was who looked: nobody could know
        return run.status != status or run.world.services[name].counts() == {OLD: 2}

    return is_not_forgotten


def make_rolling(world: World) -> Workflow:
    given = ports(world)
    if not world.services["shop"].routed:
        del given["router"]
    return rolling("shop", NEW, **given, instances=3)


def make_train(world: World) -> Workflow:
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
            Service(blue_green("api", NEW, **ports(world)), depends_on=["schema"]),
            Service(blue_green("shop", NEW, **ports(world)), depends_on=["api"]),
        ],
        changes=[StateChange("schema", migrate, migrate_back, on_interrupt="rerun")],
    )


STRATEGIES: dict[str, Case] = {
    "blue_green": Case(
        open_shops("shop", instances=4),
        lambda world: blue_green(
            "shop",
            NEW,
            **ports(world),
            preview_checks=[world.probe("shop", NEW)],
            bake="1m",
        ),
    ),
    "canary": Case(open_shops("shop", instances=4), make_canary),
    "canary_checked": Case(open_shops("shop", instances=4), make_checked_canary),
    "progressive": Case(open_shops("ap", "eu", "us", instances=2), make_progressive),
    "progressive_workers": Case(
        open_shops("ap", "eu", "us", instances=2, routed=False), make_progressive
    ),
    "progressive_wave": Case(
        open_shops("ap", "eu", instances=2, broken=["eu"]),
        make_wave,
        [serves_the_old("eu", "failed")],
    ),
    "progressive_tolerating": Case(
        open_shops("ap", "eu", instances=2, broken=["ap"]),
        make_tolerating,
        [serves_the_old("ap", "succeeded")],
    ),
    "rolling": Case(open_shops("shop", instances=3), make_rolling),
    "rolling_workers": Case(open_shops("shop", instances=3, routed=False), make_rolling),
    "release_train": Case(open_shops("api", "shop", instances=4), make_train),
}
COLUMNS = ("strategy", "runs", "pruned", "skipped", "violations", "CPU s", "s", "bar s")


def spent_s() -> float:
    """Return the processor time that this process and those that it made have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def row(cells: Sequence[object]) -> str:
    return f"{cells[0]!s:24}" + "".join(f"{cell!s:>11}" for cell in cells[1:])


def main() -> None:
    """Explore each, print the counts and a table of them, and end with 1 where something is not safe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="strategy", help=", ".join(STRATEGIES))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    args = parser.parse_args()
    table: list[str] = []
    unsafe: list[str] = []
    for name in args.names or STRATEGIES:
        before_s = spent_s()
        report = STRATEGIES[name].explore(args.processes)
        cpu_s, elapsed_s = spent_s() - before_s, report.elapsed_s
        counts = (report.runs, report.pruned, report.skipped, len(report.counterexamples))
        table.append(
            row(
                (
                    name,
                    *(f"{count:,}" for count in counts),
                    f"{cpu_s:.0f}",
                    f"{elapsed_s:.0f}",
                    LIMIT_S,
                )
            )
        )
        print(f"{report}\n", flush=True)
        unsafe += [] if report.ok else [name]
    print("\n".join([row(COLUMNS), *table]))
    sys.exit(f"not safe: {', '.join(unsafe)}" if unsafe else 0)


if __name__ == "__main__":
    main()

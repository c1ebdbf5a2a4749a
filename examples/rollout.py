"""A rollout in eight steps that stays safe under every pair of faults, and the proof of that.

    python examples/rollout.py

Each step looks at what it did, and each undo can be done again. Take one of the
looks out, and `explore` shows how production would have found out.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pyflow
from pyflow.probes import consistently
from pyflow.testing import World, explore

OLD, NEW = "1.0", "2.0"
INSTANCES = 4
ERROR_RATE_MAX = 0.05
CAREFUL = pyflow.Retry(4, backoff="5s")


class Mismatch(Exception):
    """What was asked for is not what is there."""


class Shop:
    """The service, and how it is changed: by asking, and then looking."""

    def __init__(self, world: World) -> None:
        self.platform = world.platform
        self.router = world.router
        self.metrics = world.metrics
        self.probes = {
            version: consistently(world.probe("shop", version, ready=INSTANCES))
            for version in (OLD, NEW)
        }

    async def check(self, ctx: pyflow.AsyncContext, version: str) -> None:
        """Wait until every instance of *version* has been ready three times in a row."""
        await ctx.poll(self.probes[version], backoff="10s", timeout="3m")

    async def scale(self, ctx: pyflow.AsyncContext, version: str, instances: int) -> None:
        """Have *instances* ready instances of *version*."""
        await self.platform.scale("shop", version, instances)
        state = await self.platform.observe("shop")
        found = sum(instance.version == version for instance in state.instances)
        if found != instances:
            raise Mismatch(f"{found} instances of {version}, not {instances}")
        if instances:
            await self.check(ctx, version)

    async def shift(self, pct: float) -> None:
        """Send *pct* percent of the traffic to the new version."""
        wanted = {version: share for version, share in ((OLD, 100 - pct), (NEW, pct)) if share}
        await self.router.set_weights("shop", wanted)
        found = await self.router.weights("shop")
        if found != wanted:
            raise Mismatch(f"weights {found}, not {wanted}")

    async def measure(self, ctx: pyflow.AsyncContext) -> None:
        """Let the new version bake; no data is no good news."""
        await ctx.sleep("10m")
        samples = await self.metrics.query(f"error_rate shop {NEW}", window=timedelta(minutes=5))
        if not samples or not all(sample.value <= ERROR_RATE_MAX for sample in samples):
            raise Mismatch(f"{len(samples)} samples, not all of them good")


def make_world() -> World:
    """Return a shop that runs the old version under traffic."""
    world = World()
    world.service("shop", version=OLD, instances=INSTANCES)
    world.release("shop", NEW, startup="30s")
    world.traffic("shop", rps=200)
    return world


def make_rollout(world: World) -> pyflow.Workflow:
    """Return the rollout of the new version."""
    shop = Shop(world)
    wf = pyflow.Workflow("rollout", locks=["service:shop/production"])
    steps = [
        ("check_infrastructure", partial(shop.check, version=OLD), None),
        ("deploy_canary", partial(shop.scale, version=NEW, instances=INSTANCES),
         partial(shop.scale, version=NEW, instances=0)),
        ("shift_5", partial(shop.shift, pct=5), partial(shop.shift, pct=0)),
        ("measure_5", shop.measure, None),
        ("shift_50", partial(shop.shift, pct=50), partial(shop.shift, pct=5)),
        ("measure_50", shop.measure, None),
        ("shift_100", partial(shop.shift, pct=100), partial(shop.shift, pct=50)),
        ("retire_old", partial(shop.scale, version=OLD, instances=0),
         partial(shop.scale, version=OLD, instances=INSTANCES)),
    ]  # fmt: skip
    before: list[str] = []
    for name, do, undo in steps:
        wf.add_task(name, do, depends_on=before, timeout="15m")
        if undo is not None:
            wf.add_recovery(name, undo, timeout="5m", retry=CAREFUL)
        before = [name]
    return wf


def main() -> None:
    """Try every fault and every pair of faults."""
    world = make_world()
    report = explore(lambda: make_rollout(world), world=world, faults=2, progress=True)
    print(report)
    raise SystemExit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
